//! The rules of tic-tac-toe, as room logic. Their tests are in `crates/server/tests/tic_tac_toe.rs`: they need no server.

use roomcast_server::{
    GameAction, Outcome, PlayerNum, ReadAction, Refusal, RoomContext, RoomLogic,
};
use serde::{Deserialize, Serialize};

/// Rows, columns and diagonals.
const LINES: [[usize; 3]; 8] = [
    [0, 1, 2],
    [3, 4, 5],
    [6, 7, 8],
    [0, 3, 6],
    [1, 4, 7],
    [2, 5, 8],
    [0, 4, 8],
    [2, 4, 6],
];

/// One board. The first two players are X and O; whoever comes later watches.
#[derive(Debug, Default, Serialize, Deserialize)]
pub(crate) struct TicTacToe {
    cells: [Option<Mark>; 9],
    /// Of X and of O; 0 is free.
    seats: [PlayerNum; 2],
}

#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
enum Mark {
    X,
    O,
}

/// What players do.
#[derive(Deserialize)]
#[serde(tag = "action", rename_all = "snake_case")]
enum Move {
    Place {
        cell: usize,
    },
    Again,
    /// A page that was loaded again keeps its seat, and asks for what it no longer knows.
    Look,
}

/// The event `board`: what pages draw.
#[derive(Serialize)]
struct Board<'a> {
    cells: &'a [Option<Mark>; 9],
    turn: Mark,
    winner: Option<&'static str>,
    x: PlayerNum,
    o: PlayerNum,
}

impl RoomLogic for TicTacToe {
    fn join(&mut self, room: &mut RoomContext<'_>, player: PlayerNum) {
        if let Some(seat) = self.seats.iter_mut().find(|seat| **seat == 0) {
            *seat = player;
        }
        room.broadcast("board", &self.board());
    }

    fn leave(&mut self, room: &mut RoomContext<'_>, player: PlayerNum) {
        if let Some(seat) = self.seats.iter_mut().find(|seat| **seat == player) {
            *seat = 0;
            room.broadcast("board", &self.board());
        }
    }

    fn own_events(&self) -> &'static [&'static str] {
        // From anybody else a `board` would be believed by every page.
        &["board"]
    }

    fn action(
        &mut self,
        room: &mut RoomContext<'_>,
        player: PlayerNum,
        action: &GameAction<'_>,
    ) -> Outcome {
        let done = match action.read() {
            Ok(Move::Look) => {
                room.send(player, "board", &self.board());
                return Outcome::Handled;
            }
            Ok(Move::Place { cell }) => self.place(player, cell),
            Ok(Move::Again) => self.again(player),
            Err(refusal) => Err(refusal),
        };
        done.map(|()| room.broadcast("board", &self.board())).into()
    }

    /// What the next server of the room needs, where there are several.
    fn save(&self) -> Option<Vec<u8>> {
        serde_json::to_vec(&(1, self)).ok()
    }

    fn load(&mut self, _room: &mut RoomContext<'_>, saved: &[u8]) -> bool {
        match serde_json::from_slice(saved) {
            Ok((1, board)) => *self = board,
            _ => return false,
        }
        true
    }
}

impl TicTacToe {
    fn place(&mut self, player: PlayerNum, cell: usize) -> Result<(), Refusal> {
        if self.winner().is_some() {
            return Err(Refusal::new("the game is over"));
        }
        if self.seats.contains(&0) {
            return Err(Refusal::new("wait for the other player"));
        }
        let turn = self.turn();
        if self.seats[turn as usize] != player {
            return Err(Refusal::new("it is not your turn"));
        }
        match self.cells.get_mut(cell) {
            Some(free @ None) => *free = Some(turn),
            _ => return Err(Refusal::new("`cell` is a free one, 0 to 8")),
        }
        Ok(())
    }

    fn again(&mut self, player: PlayerNum) -> Result<(), Refusal> {
        if !self.seats.contains(&player) {
            return Err(Refusal::new("you are watching"));
        }
        if self.winner().is_none() {
            return Err(Refusal::new("the game is not over"));
        }
        let [x, o] = self.seats;
        *self = TicTacToe {
            seats: [o, x],
            ..TicTacToe::default()
        };
        Ok(())
    }

    fn turn(&self) -> Mark {
        match self.cells.iter().flatten().count() % 2 {
            0 => Mark::X,
            _ => Mark::O,
        }
    }

    fn winner(&self) -> Option<&'static str> {
        let won = LINES.iter().find_map(|[a, b, c]| {
            let mark = self.cells[*a]?;
            (self.cells[*b] == Some(mark) && self.cells[*c] == Some(mark)).then_some(mark)
        });
        match won {
            Some(Mark::X) => Some("X"),
            Some(Mark::O) => Some("O"),
            None if self.cells.iter().all(Option::is_some) => Some("draw"),
            None => None,
        }
    }

    fn board(&self) -> Board<'_> {
        let [x, o] = self.seats;
        Board {
            cells: &self.cells,
            turn: self.turn(),
            winner: self.winner(),
            x,
            o,
        }
    }
}
