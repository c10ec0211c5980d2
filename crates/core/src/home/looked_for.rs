//! Rooms that backends only look at, where a store has them: one that is not there is not claimed.

use crate::context::Context;
use crate::home::Home;
use crate::home::backend::answer_absent;
use crate::home::room::Room;
use crate::host::Host;
use crate::id::HomeRoomId;
use crate::letter::OpKind;
use crate::store::Store;
use crate::time::Now;

impl<S: Store> Home<S> {
    /// The store has no such room. If it was only looked for, that is the answer; else it is claimed, and made.
    pub(super) fn absent<H: Host>(&mut self, ctx: &mut Context<H>, now: Now, id: HomeRoomId) {
        let Some(room) = self.rooms.get_mut(id) else {
            return;
        };
        if !room.is_only_looked_for() {
            // Somebody wants it since: it is asked again at once.
            self.ask_again(ctx, now, id, None);
            let room = self.rooms.get_mut(id);
            if let Some(gate) = room.and_then(|it| it.gate.as_mut()) {
                gate.cluster_changed();
            }
            return;
        }
        // The claim has its answer: nothing of it is under way, and nothing is given back.
        if let Some(gate) = &mut room.gate {
            gate.answered();
        }
        let waiting = room.take_waiting();
        self.close(now, id);
        for op in waiting {
            if let OpKind::Backend(ask) = &op.request {
                answer_absent(ctx, now, &op.head, ask);
            }
        }
    }
}

impl Room {
    /// Whether all that waits for it would be answered without it.
    pub(super) fn is_only_looked_for(&self) -> bool {
        let looks = |request: &OpKind| matches!(request, OpKind::Backend(ask) if !ask.opens());
        let is_wanted = self.gate.as_ref().is_some_and(|it| it.wanted.is_wanted());
        !self.pending.is_empty() && !is_wanted && self.pending.iter().all(|op| looks(&op.request))
    }
}
