//! What logic says of itself once, when its room is made.

use roomcast_protocol::ErrorCode;

use crate::logic::{Refusal, RoomLogic};

/// Names that logic holds, and whether it is asked.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct LogicRules {
    hears_events: bool,
    own_events: &'static [&'static str],
    shared_events: &'static [&'static str],
}

impl LogicRules {
    pub(crate) fn of(logic: &dyn RoomLogic) -> LogicRules {
        LogicRules {
            hears_events: logic.hears_events(),
            own_events: logic.own_events(),
            shared_events: logic.shared_events(),
        }
    }

    /// The logic holds no name, and is asked about actions alone.
    pub(crate) fn is_empty(&self) -> bool {
        !self.hears_events && self.own_events.is_empty() && self.shared_events.is_empty()
    }

    /// Whether the logic is asked about more than actions.
    pub(crate) fn hears_events(&self) -> bool {
        self.hears_events
    }

    /// Whether nobody may send an event of this name as usual.
    pub(crate) fn is_own(&self, name: &str) -> bool {
        self.own_events.contains(&name)
    }

    /// Why somebody who is not the logic may not send an event of this name. The only place where that is decided.
    pub(crate) fn holds(&self, name: &str, by_service: bool) -> Option<Refusal> {
        let is_shared = by_service && self.shared_events.contains(&name);
        (self.is_own(name) && !is_shared).then(|| {
            Refusal::new("only the room's logic sends events of this name")
                .with_code(ErrorCode::ReservedEvent)
        })
    }
}
