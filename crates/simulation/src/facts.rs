//! What happened in a schedule, in all of it.

use std::collections::{BTreeMap, BTreeSet};

use roomcast_client::{Error, code};

use crate::ledger::Ledger;

/// A direct message.
struct Mail {
    to: String,
    acked: bool,
    /// The inbox is gone that had it, and its client was told.
    excused: bool,
    received: bool,
}

#[derive(Default)]
pub(crate) struct Facts {
    /// Logs keep everything and the server lives: there is no reason for a gap.
    pub(crate) roomy: bool,
    /// Milliseconds that a session lives without a connection.
    pub(crate) grace: u64,
    /// The server has forgotten somebody.
    pub(crate) amnesia: bool,
    pub(crate) acked: u64,
    pub(crate) delivered: u64,
    pub(crate) ephemeral: u64,
    pub(crate) mail: u64,
    pub(crate) pages: u64,
    pub(crate) gaps: u64,
    pub(crate) mail_gaps: u64,
    pub(crate) recovered: u64,
    pub(crate) resumed: u64,
    pub(crate) cuts: u64,
    pub(crate) reloads: u64,
    pub(crate) restarts: u64,
    pub(crate) restarted_at: Option<u64>,
    /// Nodes of several that were killed or stopped, and ways between them that were cut.
    pub(crate) kills: u64,
    pub(crate) stops: u64,
    pub(crate) partitions: u64,
    /// How often the store has come back.
    pub(crate) store_restarts: u64,
    /// The store has come back with less than it had, and may have lost inboxes.
    pub(crate) store_has_lost: bool,
    pub(crate) intruders: u64,
    /// Clients that said goodbye: their names, and their last resume tokens.
    pub(crate) gone: Vec<(String, String)>,
    /// Requests, written by hand, that were answered.
    pub(crate) answers: u64,
    /// Times that a client was told of a room whose logic has panicked.
    pub(crate) failures: u64,
    pub(crate) outsiders: u64,
    /// Bytes of all that clients were sent, as one number: the same for the same seed.
    pub(crate) trace: u64,
    /// Each thing that a client is told is printed.
    pub(crate) trace_on: bool,
    numbers: u64,
    sent: BTreeMap<u64, Mail>,
    /// Why the sender was told that a message was not done, and whether it had given that up.
    refused: BTreeMap<u64, (String, bool)>,
    /// Messages without an answer whose senders were told that they may be done twice.
    may_repeat: BTreeSet<u64>,
    /// Who has a player's number in a life of a room.
    players: BTreeMap<(String, String, u32), String>,
    /// Rooms keep their numbers as long as their log. One without a record counts anew when it is empty.
    pub(crate) numbers_last: bool,
}

impl Facts {
    pub(crate) fn new(roomy: bool, trace_on: bool) -> Facts {
        Facts {
            roomy,
            trace_on,
            ..Facts::default()
        }
    }

    /// A number for a message: no other has it.
    pub(crate) fn number(&mut self) -> u64 {
        self.numbers += 1;
        self.numbers
    }

    pub(crate) fn mail_sent(&mut self, number: u64, to: &str) {
        let mail = Mail {
            to: to.to_owned(),
            acked: false,
            excused: false,
            received: false,
        };
        self.sent.insert(number, mail);
    }

    pub(crate) fn mail_acked(&mut self, number: u64) {
        if let Some(mail) = self.sent.get_mut(&number) {
            mail.acked = true;
        }
    }

    pub(crate) fn mail_received(&mut self, number: u64, by: &BTreeSet<String>) {
        assert!(!self.refused.contains_key(&number), "{number} was not sent");
        if let Some(mail) = self.sent.get_mut(&number) {
            mail.received |= by.contains(&mail.to);
        }
    }

    /// A client was told that a player of a room has this number: nobody else has it, or had it.
    pub(crate) fn note_player(&mut self, room: &str, epoch: &str, number: u32, player: &str) {
        if !self.numbers_last {
            return;
        }
        let key = (room.to_owned(), epoch.to_owned(), number);
        let known = self.players.entry(key).or_insert_with(|| player.to_owned());
        assert_eq!(known, player, "both are player {number} of {room}");
    }

    /// A client was told that its inbox lacks something.
    pub(crate) fn excuse_mail(&mut self, of: &BTreeSet<String>) {
        let sent = self.sent.values_mut();
        sent.filter(|mail| of.contains(&mail.to))
            .for_each(|mail| mail.excused = true);
    }

    /// A client was told that the server has no record of its answers in the room of these messages.
    pub(crate) fn repeats_possible(&mut self, numbers: impl Iterator<Item = u64>) {
        self.may_repeat.extend(numbers);
    }

    pub(crate) fn not_done(&mut self, number: u64, error: &Error, truth: &Ledger) {
        let came = self.sent.get(&number).is_some_and(|it| it.received);
        // One that was given up is the last of its tries.
        let given_up = [code::ABORTED, code::EXPIRED].contains(&error.code());
        self.refused.insert(number, (error.to_string(), given_up));
        assert!(
            !came || given_up,
            "{number} has come, and its sender was told: {error}"
        );
        self.check_refused(truth, number);
    }

    fn check_refused(&self, truth: &Ledger, number: u64) {
        for log in &truth.logs {
            let there = log.entries.iter().any(|it| it.number() == Some(number));
            let why = self.refused_for_good(number);
            assert!(
                !there || why.is_none(),
                "{number} is in {} and its sender was told: {why:?}",
                log.room
            );
        }
    }

    /// Why it is in no log. Where the store has lost what only it had, as of a room without a home, that somebody gave a
    /// number up is lost too: a home of before may have what came under it earlier.
    fn refused_for_good(&self, number: u64) -> Option<&str> {
        let (why, given_up) = self.refused.get(&number)?;
        let forgotten = *given_up && self.store_has_lost;
        (!forgotten).then_some(why)
    }

    /// What was acked is there once, what was refused is not. `clients` are those that there are at the end.
    pub(crate) fn check_end(&self, truth: &Ledger, clients: &[&str]) {
        for log in &truth.logs {
            let mut numbered = BTreeMap::new();
            for (at, entry) in log.entries.iter().enumerate() {
                let Some(number) = entry.number() else {
                    continue;
                };
                let why = self.refused_for_good(number);
                assert!(
                    why.is_none(),
                    "{number} is in {} and its sender was told: {why:?}",
                    log.room
                );
                // Where the server had forgotten its sender it may be, and receivers tell the copies by their numbers.
                let forgotten = self.amnesia || truth.lost.has_lost(&log.room);
                let forgotten = forgotten || self.may_repeat.contains(&number);
                let other = numbered.insert(number, (at, entry.seq));
                assert!(
                    other.is_none_or(|(_, seq)| forgotten && seq == entry.seq),
                    "{number} is in {} twice, at {} and {other:?}",
                    log.room,
                    at + 1
                );
            }
        }
        let lost = self.sent.iter().find(|(_, mail)| {
            !self.store_has_lost
                && mail.acked
                && !mail.excused
                && !mail.received
                && clients.contains(&&*mail.to)
        });
        let lost = lost.map(|(number, mail)| (number, &mail.to));
        assert!(
            lost.is_none(),
            "a direct message was acked and never came: {lost:?}"
        );
    }
}
