//! The rules of the example: tested without a server.

#![allow(clippy::unwrap_used, reason = "a panic is how a test fails")]

#[path = "../../../examples/tic_tac_toe/rules.rs"]
mod rules;

use roomcast_server::{PlayerNum, Refusal, Said, TestRoom};
use rules::TicTacToe;
use serde_json::{Value, json};

type Room = TestRoom<TicTacToe>;

fn with_players() -> (Room, PlayerNum, PlayerNum) {
    let mut room = TestRoom::new("tictactoe:1", TicTacToe::default());
    let (x, o) = (room.join("x").unwrap(), room.join("o").unwrap());
    (room, x, o)
}

fn place(room: &mut Room, player: PlayerNum, cell: usize) -> Result<(), Refusal> {
    room.action(player, &json!({ "action": "place", "cell": cell }))
}

fn board(room: &mut Room) -> Value {
    let board = room.events("board").pop().unwrap();
    room.said();
    board
}

#[test]
fn a_line_wins_and_the_next_game_changes_sides() {
    let (mut room, x, o) = with_players();
    for (player, cell) in [(x, 0), (o, 4), (x, 1), (o, 8)] {
        place(&mut room, player, cell).unwrap();
    }
    assert_eq!(
        place(&mut room, x, 4).unwrap_err().message,
        "`cell` is a free one, 0 to 8"
    );
    assert_eq!(
        place(&mut room, o, 2).unwrap_err().message,
        "it is not your turn"
    );
    place(&mut room, x, 2).unwrap();
    let seen = board(&mut room);
    assert_eq!(seen["winner"], "X");
    assert_eq!(
        seen["cells"],
        json!(["X", "X", "X", null, "O", null, null, null, "O"])
    );
    assert_eq!(
        place(&mut room, o, 3).unwrap_err().message,
        "the game is over"
    );
    room.action(o, &json!({ "action": "again" })).unwrap();
    let seen = board(&mut room);
    assert_eq!((&seen["x"], &seen["o"]), (&json!(o), &json!(x)));
    assert_eq!(seen["winner"], Value::Null);
}

#[test]
fn nobody_but_the_rules_says_what_the_board_is() {
    let (mut room, x, _) = with_players();
    let watcher = room.join("watcher").unwrap();
    room.said();
    let forged = json!({ "cells": ["O", "O", "O"], "winner": "O" });
    for who in [x, watcher] {
        let refusal = room.event(who, "board", &forged).unwrap_err();
        assert_eq!(refusal.code.as_str(), "reserved_event");
    }
    let refusal = room.service_event("shop", "board", &forged).unwrap_err();
    assert_eq!(refusal.code.as_str(), "reserved_event");
    assert!(room.event(watcher, "bord", &forged).is_err());
    assert_eq!(room.said(), []);
    room.chat(watcher, "well played").unwrap();
    assert_eq!(room.said().len(), 1);
}

#[test]
fn the_board_survives_its_server_and_a_page_that_is_loaded_again() {
    let (mut room, x, o) = with_players();
    place(&mut room, x, 4).unwrap();
    room.disconnect(x);
    let mut room = room.moves_to(TicTacToe::default());
    room.reconnect(x);
    room.said();
    room.action(x, &json!({ "action": "look" })).unwrap();
    assert!(matches!(&room.said()[..], [Said::Sent { to, .. }] if *to == x));
    assert_eq!(
        place(&mut room, x, 0).unwrap_err().message,
        "it is not your turn"
    );
    place(&mut room, o, 0).unwrap();
    room.leave(x);
    assert_eq!(
        place(&mut room, o, 1).unwrap_err().message,
        "wait for the other player"
    );
}
