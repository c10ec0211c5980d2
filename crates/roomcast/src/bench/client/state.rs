//! Reading positions out of a JSON `sync`, where `x` is the number of a `move` and `y` the place of who made it.

use memchr::memmem::Finder;

use super::message::FIRST_X;

/// Finds the positions in a `sync`.
pub(crate) struct Positions(Finder<'static>);

impl Positions {
    pub(crate) fn new() -> Positions {
        Positions(Finder::new(br#""position":{"x":"#))
    }

    /// Calls `seen` with the place in its room of each player who has moved, and the number of its newest move.
    pub(crate) fn read(&self, sync: &[u8], mut seen: impl FnMut(u32, u32)) {
        for at in self.0.find_iter(sync) {
            let rest = &sync[at + self.0.needle().len()..];
            let Some((x, rest)) = number(rest) else {
                continue;
            };
            let Some((y, _)) = rest.strip_prefix(br#","y":"#).and_then(number) else {
                continue;
            };
            // Who has not moved yet stands at 0.
            if let Some(counter) = x.checked_sub(FIRST_X) {
                seen(y, counter);
            }
        }
    }
}

fn number(text: &[u8]) -> Option<(u32, &[u8])> {
    let len = text
        .iter()
        .take_while(|digit| digit.is_ascii_digit())
        .count();
    let number = std::str::from_utf8(&text[..len]).ok()?.parse().ok()?;
    Some((number, &text[len..]))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn positions_of_those_who_moved_are_read() {
        let sync = br#"{"type":"sync","payload":{"players":[
            {"player_id":"a","position":{"x":100007,"y":3,"z":0},"velocity":{"x":1,"y":0,"z":0}},
            {"player_id":"b","position":{"x":0,"y":0,"z":0}},
            {"player_id":"c","position":{"x":100000,"y":12,"z":0}}]}}"#;
        let mut seen = Vec::new();
        Positions::new().read(sync, |place, counter| seen.push((place, counter)));
        assert_eq!(seen, [(3, 7), (12, 0)]);
    }
}
