//! Tic-tac-toe: room logic of one's own, with a page of its own.
//!
//! `cargo run --release --example tic_tac_toe`, then open the address that it prints, twice.

use roomcast_server::{
    CountingAllocator, GameAction, Kind, Mode, Outcome, PlayerNum, RoomContext, RoomLogic, Server,
};

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
#[derive(Default)]
struct TicTacToe {
    cells: [&'static str; 9],
    seats: [PlayerNum; 2],
    moves: usize,
}

impl TicTacToe {
    fn mark(&self) -> &'static str {
        ["X", "O"][self.moves % 2]
    }

    fn winner(&self) -> &'static str {
        let won = LINES.iter().find(|[a, b, c]| {
            !self.cells[*a].is_empty()
                && self.cells[*a] == self.cells[*b]
                && self.cells[*b] == self.cells[*c]
        });
        won.map_or(if self.moves == 9 { "draw" } else { "" }, |line| {
            self.cells[line[0]]
        })
    }

    fn board(&self) -> String {
        let (turn, winner, [x, o]) = (self.mark(), self.winner(), self.seats);
        format!(
            r#"{{"cells":{:?},"turn":"{turn}","winner":"{winner}","x":{x},"o":{o}}}"#,
            self.cells
        )
    }
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

    fn save(&self) -> Option<Vec<u8>> {
        let [x, o] = self.seats;
        let mark = |cell: &&'static str| if cell.is_empty() { "-" } else { *cell };
        let cells: String = self.cells.iter().map(mark).collect();
        Some(format!("1 {x} {o} {cells}").into())
    }

    fn load(&mut self, _room: &mut RoomContext<'_>, saved: &[u8]) -> bool {
        let saved = String::from_utf8_lossy(saved);
        let parts: Vec<_> = saved.split(' ').collect();
        let ["1", x, o, cells] = parts[..] else {
            return false;
        };
        let (Ok(x), Ok(o)) = (x.parse(), o.parse()) else {
            return false;
        };
        self.seats = [x, o];
        for (cell, mark) in self.cells.iter_mut().zip(cells.chars()) {
            *cell = match mark {
                'X' => "X",
                'O' => "O",
                _ => continue,
            };
            self.moves += 1;
        }
        true
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
        let over = !self.winner().is_empty();
        match action.action() {
            "again" if over => {
                *self = TicTacToe {
                    seats: [self.seats[1], self.seats[0]],
                    ..TicTacToe::default()
                }
            }
            "again" => return Outcome::refused("the game is not over"),
            "place" if over => return Outcome::refused("the game is over"),
            "place" if self.seats.contains(&0) => {
                return Outcome::refused("wait for the other player");
            }
            "place" if self.seats[self.moves % 2] != player => {
                return Outcome::refused("it is not your turn");
            }
            "place" => {
                let cell = action
                    .param("cell")
                    .and_then(|cell| cell.parse::<usize>().ok());
                match cell.filter(|cell| self.cells.get(*cell).is_some_and(|mark| mark.is_empty()))
                {
                    Some(cell) => self.cells[cell] = self.mark(),
                    None => return Outcome::refused("`cell` is a free one, 0 to 8"),
                }
                self.moves += 1;
            }
            // A page that was loaded again keeps its seat, and asks for what it no longer knows.
            "look" => {
                room.send(player, "board", &self.board());
                return Outcome::Handled;
            }
            _ => return Outcome::Relay,
        }
        room.broadcast("board", &self.board());
        Outcome::Handled
    }
}

/// Counts what is in use, for `limits.memory`.
#[global_allocator]
static ALLOCATOR: CountingAllocator = CountingAllocator;

fn main() -> std::process::ExitCode {
    Server::builder()
        .kind(Kind {
            name: "tictactoe".to_owned(),
            mode: Mode::Relay,
            ..Kind::default()
        })
        .logic("tictactoe", |_room| Box::new(TicTacToe::default()))
        .page(
            "/",
            "text/html; charset=utf-8",
            include_bytes!("index.html"),
        )
        .page(
            "/tic_tac_toe.js",
            "text/javascript; charset=utf-8",
            include_bytes!("tic_tac_toe.js"),
        )
        .page(
            "/tic_tac_toe.css",
            "text/css; charset=utf-8",
            include_bytes!("tic_tac_toe.css"),
        )
        .main()
}
