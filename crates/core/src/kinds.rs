//! The kinds of rooms that are configured, with the logic of each.

use std::collections::HashMap;
use std::fmt;
use std::sync::Arc;

use crate::logic::{RoomLogic, StateLogic};
use crate::settings::{Kind, Mode, Nickname};

/// Makes the logic of a new room, given the room's name.
pub type LogicFactory = Arc<dyn Fn(&str) -> Box<dyn RoomLogic> + Send + Sync>;

/// All kinds of a node.
#[derive(Clone)]
pub struct Kinds {
    default: Arc<KindEntry>,
    by_name: HashMap<String, Arc<KindEntry>>,
    refuse_unknown: bool,
    /// The names of those that are counted apart, by their labels.
    labels: Vec<Box<str>>,
}

/// Kinds that are counted apart. All others are counted together, so that the number of time series is bounded.
const MOST_LABELS: usize = 32;
/// What those are called.
const OTHER: &str = "other";

/// One kind and what makes its rooms' logic.
pub(crate) struct KindEntry {
    pub(crate) kind: Kind,
    /// Its place in what is counted by kind.
    pub(crate) label: usize,
    logic: Option<LogicFactory>,
}

impl KindEntry {
    /// The logic of a new room; a `relay` room without its own has none and relays every action.
    pub(crate) fn new_logic(&self, room: &str) -> Option<Box<dyn RoomLogic>> {
        match (&self.logic, self.kind.mode) {
            (Some(logic), _) => Some(logic(room)),
            (None, Mode::State) => Some(Box::new(StateLogic::default())),
            (None, Mode::Relay) => None,
        }
    }
}

impl fmt::Debug for Kinds {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_set().entries(self.by_name.keys()).finish()
    }
}

impl Kinds {
    /// Only `default`, with its default settings.
    pub fn new(refuse_unknown: bool) -> Kinds {
        let default = Arc::new(KindEntry {
            kind: Kind::default(),
            label: 0,
            logic: None,
        });
        Kinds {
            default,
            by_name: HashMap::new(),
            refuse_unknown,
            labels: vec!["default".into()],
        }
    }

    /// What rooms are counted by, in the order of [`Stats::kinds`](crate::Stats::kinds): the names of the first kinds, and
    /// where there are more, `other` for the rest. A room of a kind that is not configured counts as `default`.
    pub fn labels(&self) -> impl Iterator<Item = &str> {
        self.labels.iter().map(|label| &**label)
    }

    fn label(&mut self, name: &str) -> usize {
        if let Some(known) = self.labels.iter().position(|label| **label == *name) {
            return known;
        }
        if self.labels.len() < MOST_LABELS {
            self.labels.push(name.into());
        } else if self.labels.len() == MOST_LABELS {
            self.labels.push(OTHER.into());
        }
        self.labels.len() - 1
    }

    /// Adds a kind, or replaces the one of that name; `logic` replaces what its mode would do.
    pub fn insert(&mut self, kind: Kind, logic: Option<LogicFactory>) {
        let label = self.label(&kind.name);
        let entry = Arc::new(KindEntry { kind, label, logic });
        if entry.kind.name == "default" {
            self.default = Arc::clone(&entry);
        }
        self.by_name.insert(entry.kind.name.clone(), entry);
    }

    /// All of them with their settings, in words that are the same wherever they are the same.
    pub fn described(&self) -> String {
        let describe = |it: &Arc<KindEntry>| format!("{:?} {}", it.kind, it.logic.is_some());
        let mut all: Vec<_> = self.by_name.values().map(describe).collect();
        all.sort_unstable();
        format!(
            "{} {} {}",
            describe(&self.default),
            self.refuse_unknown,
            all.join(", ")
        )
    }

    /// The kind whose settings a room has; none where its kind is refused.
    pub fn name_of(&self, room: &str) -> Option<&str> {
        self.of_room(room).map(|entry| &*entry.kind.name)
    }

    /// Whether the nicknames of a room's members are those of their tokens.
    pub(crate) fn bind_nickname(&self, room: &str) -> bool {
        let entry = self.of_room(room);
        entry.is_some_and(|entry| entry.kind.nickname == Nickname::Token)
    }

    /// The settings of a room, or nothing where its kind is refused.
    pub(crate) fn of_room(&self, room: &str) -> Option<&Arc<KindEntry>> {
        let kind = kind_name(room);
        match self.by_name.get(kind) {
            Some(entry) => Some(entry),
            None if kind == "default" || !self.refuse_unknown => Some(&self.default),
            None => None,
        }
    }
}

/// The kind in a room's name: what stands before the first `:`.
pub fn kind_name(room: &str) -> &str {
    room.split_once(':').map_or("default", |(kind, _)| kind)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_room_is_of_the_kind_before_the_first_colon() {
        assert_eq!(kind_name("arena:42:x"), "arena");
        assert_eq!(kind_name("room-123"), "default");
        assert_eq!(kind_name(":x"), "");
    }

    #[test]
    fn kinds_beyond_a_number_are_counted_together() {
        let mut kinds = Kinds::new(false);
        for nth in 0..100 {
            let name = format!("k{}", nth % 50);
            let kind = Kind {
                name,
                ..Kind::default()
            };
            kinds.insert(kind, None);
        }
        let label = |room: &str| kinds.of_room(room).unwrap().label;
        let labels: Vec<_> = kinds.labels().collect();
        assert_eq!(labels.len(), MOST_LABELS + 1);
        assert_eq!(labels[label("k0:1")], "k0");
        assert_eq!(labels[label("k30:1")], "k30");
        assert_eq!(
            (labels[label("k31:1")], labels[label("k49:1")]),
            (OTHER, OTHER)
        );
        assert_eq!(labels[label("nobody:1")], "default");
    }

    #[test]
    fn an_unknown_kind_takes_the_settings_of_default_or_is_refused() {
        let mut kinds = Kinds::new(false);
        kinds.insert(
            Kind {
                max_players: 2,
                ..Kind::default()
            },
            None,
        );
        assert_eq!(
            kinds.of_room("what:1").map(|entry| entry.kind.max_players),
            Some(2)
        );
        kinds.refuse_unknown = true;
        assert!(kinds.of_room("what:1").is_none());
        assert!(kinds.of_room("default:1").is_some());
        assert!(kinds.of_room("room").is_some());
    }
}
