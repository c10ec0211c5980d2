//! Which rooms are at home here.

use std::ops::Bound;

use crate::backend::{Found, RoomLine, RoomsQuery};
use crate::home::Home;
use crate::kinds::kind_name;
use crate::store::Store;

/// Rooms in one answer.
const MOST: usize = 1_000;
/// Bytes of their properties, but for those of the last one.
const MOST_BYTES: usize = 256 * 1024;
/// Names that are looked at for one answer.
const LOOKS: usize = 4 * MOST;

impl<S: Store> Home<S> {
    /// The rooms that have members, in the order of their names: one more than was asked for, where there are more. What it
    /// costs does not depend on how many rooms there are.
    pub(crate) fn list(&self, query: &RoomsQuery) -> Found {
        let most = (query.limit as usize).min(MOST) + 1;
        let mut rooms = Vec::new();
        let (mut from, mut last, mut bytes) = (first(query), None, 0);
        for _ in 0..LOOKS {
            let next = self
                .in_order
                .range::<str, _>((bound(&from), Bound::Unbounded));
            let Some((name, id)) = next.into_iter().next() else {
                return Found::Rooms { rooms, cut: None };
            };
            if is_behind(name, query) {
                return Found::Rooms { rooms, cut: None };
            }
            last = Some(name.clone());
            from = match kind_name(name) {
                kind if !query.kind.is_empty() && kind != &*query.kind => after_kind(name),
                _ => {
                    let room = self.rooms.get(*id).filter(|it| !it.members.is_empty());
                    if let Some(room) = room {
                        let properties = room.properties();
                        bytes += properties.len();
                        rooms.push(RoomLine {
                            room: (&**name).into(),
                            members: u32::try_from(room.members.len()).unwrap_or(u32::MAX),
                            properties: properties.into(),
                        });
                    }
                    Bound::Excluded((**name).to_owned())
                }
            };
            if bytes > MOST_BYTES {
                break;
            }
            if rooms.len() == most {
                return Found::Rooms { rooms, cut: None };
            }
        }
        Found::Rooms {
            rooms,
            cut: last.map(|name| (&*name).into()),
        }
    }
}

/// Where the first name that is asked for may be.
fn first(query: &RoomsQuery) -> Bound<String> {
    let of_kind = match &*query.kind {
        // Names without a kind are anywhere.
        "" | "default" => String::new(),
        kind => format!("{kind}:"),
    };
    let begin = of_kind.max(query.prefix.to_string());
    match *query.after >= *begin {
        true if !query.after.is_empty() => Bound::Excluded(query.after.to_string()),
        _ => Bound::Included(begin),
    }
}

/// Whether no name from here on is one that is asked for.
fn is_behind(name: &str, query: &RoomsQuery) -> bool {
    let is_past = |begin: &str| !name.starts_with(begin) && name > begin;
    let kind = &*query.kind;
    is_past(&query.prefix) || !matches!(kind, "" | "default") && is_past(&format!("{kind}:"))
}

/// Behind all names of the kind that this one is of: `;` comes behind `:`.
fn after_kind(name: &str) -> Bound<String> {
    match name.split_once(':') {
        Some((kind, _)) => Bound::Included(format!("{kind};")),
        None => Bound::Excluded(name.to_owned()),
    }
}

fn bound(bound: &Bound<String>) -> Bound<&str> {
    match bound {
        Bound::Included(name) => Bound::Included(name),
        Bound::Excluded(name) => Bound::Excluded(name),
        Bound::Unbounded => Bound::Unbounded,
    }
}
