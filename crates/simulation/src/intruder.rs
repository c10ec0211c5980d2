//! Somebody with a resume token that was good once, as from a log or a stolen disk, or with that of another user.

use roomcast_core::{Access, ClientId};
use roomcast_protocol::client::{ServerBody, decode_server, encode_request};
use roomcast_protocol::{Format, Hello, Incoming, Request, VERSION};

use crate::network::NEVER;
use crate::raw_client::{Heard, RawClient};
use crate::world::World;

pub(crate) struct Intruder {
    token: Token,
    client: RawClient,
}

/// What somebody has come by.
enum Token {
    /// One that is older than the one before the newest: whose it is, and the connection that its client had then.
    Stale { victim: usize, wire: usize },
    /// The newest of a client with this name, who may be gone.
    OfOther(String),
}

impl World {
    /// Shows a token that is older than the one before the newest.
    pub(crate) fn intrude(&mut self, victim: usize) {
        let peer = &self.peers[victim];
        let stale = peer.view.tokens.iter().rev().nth(2).cloned();
        let (Some(token), Some(victim_wire), None) = (stale, peer.wire(), &self.intruder) else {
            return;
        };
        if !self.is_alive(victim, victim_wire) {
            return;
        }
        let user = peer.user;
        self.say(format_args!("somebody has a token of {victim}"));
        let wire = victim_wire;
        self.show(user, token, Token::Stale { victim, wire });
    }

    /// Shows the token of somebody who is gone, as another user: the name stays its user's.
    pub(crate) fn rob(&mut self) {
        let gone = self.facts.gone.last().cloned();
        let (Some((name, token)), None) = (gone, &self.intruder) else {
            return;
        };
        self.say(format_args!("carol has the token of {name}"));
        self.show(Some("carol"), token, Token::OfOther(name));
    }

    fn show(&mut self, user: Option<&str>, resume_token: String, token: Token) {
        let token_of_user = user.map(|user| format!("{user} 9999999999999"));
        let hello = Hello {
            version: VERSION,
            capabilities: Vec::new(),
            token: token_of_user.map(Into::into),
            resume_token: Some(resume_token.into()),
            positions: Vec::new(),
            inbox: None,
            first_direct_seq: None,
        };
        let mut message = Vec::new();
        let hello = Incoming::new(Request::Hello(Box::new(hello)));
        encode_request(Format::Json, &hello, &mut message);
        let client = self.open_raw(Access::ANONYMOUS, &[message.as_slice()]);
        self.intruder = client.map(|client| Intruder { token, client });
    }

    /// Both ends have this connection, and the network between them is whole.
    fn is_alive(&self, who: usize, wire: usize) -> bool {
        let line = &self.net.wires[wire];
        let connected = roomcast_client::session::Status::Connected { resumed: true };
        self.peers[who].wire() == Some(wire)
            && *self.peers[who].session.status() == connected
            && line.server_open
            && line.released_at == NEVER
            && !line.cut
    }

    /// Reads the answer, and goes. Whether there was anything to do.
    pub(crate) fn drive_intruder(&mut self) -> bool {
        let Some(mut intruder) = self.intruder.take() else {
            return false;
        };
        let messages = match self.hear_raw(&mut intruder.client) {
            Heard::Messages(messages) => messages,
            Heard::Nothing => {
                self.intruder = Some(intruder);
                return false;
            }
            Heard::End => return true,
        };
        let mut done = false;
        for message in messages {
            let message = decode_server(Format::Json, message.as_bytes()).unwrap();
            if let ServerBody::Welcome(welcome) = message.body {
                done = true;
                let (own, whole) = match &intruder.token {
                    Token::Stale { victim, wire } => {
                        let own = self.peers[*victim].session.client_id();
                        // A session that its store and its node have lost together, or that has ended on another node
                        // while its own stood still, an old token begins anew as the newest does.
                        let ledger = self.ledger.borrow();
                        let client = ClientId::parse(own);
                        let has_ended = client.is_some_and(|it| ledger.ended.contains(&it));
                        let is_over = has_ended || ledger.lost.has_lost(own);
                        (own, !is_over && self.is_alive(*victim, *wire))
                    }
                    Token::OfOther(name) => (&**name, true),
                };
                self.facts.intruders += u64::from(whole);
                let stolen = whole && (welcome.resumed || welcome.client_id == own);
                assert!(!stolen, "a token of {own} is believed: {welcome:?}");
            }
        }
        if !done {
            // A part of the answer: the rest comes.
            self.intruder = Some(intruder);
            return true;
        }
        self.close_raw(intruder.client);
        true
    }
}
