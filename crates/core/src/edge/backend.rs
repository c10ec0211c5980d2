//! What an application's backend asks of an edge: to send to somebody, who is there, and to send somebody away.

use std::sync::Arc;

use roomcast_protocol::CloseCode;

use crate::backend::{Publication, Recipient as To, SessionLine};
use crate::context::Context;
use crate::direct::DirectBody;
use crate::edge::Edge;
use crate::edge::inbox::Inbox;
use crate::edge::lifecycle::AfterClose;
use crate::edge::session::Session;
use crate::host::{Encoding, Host};
use crate::id::{ClientId, ConnId, ConnRef};
use crate::letter::{DirectMessage, Receipt, Recipient};
use crate::store::Store;
use crate::time::Now;

impl<S: Store> Edge<S> {
    /// Sends a direct message of a service, which is no client. What becomes of it is told with the question's number.
    pub(crate) fn direct_of_backend<H: Host>(
        &mut self,
        ctx: &mut Context<H>,
        now: Now,
        question: u32,
        to: To,
        publication: Publication,
    ) {
        let random = [ctx.host.random(), ctx.host.random()];
        let from = publication.once.unwrap_or(ClientId::of_nobody(random));
        let (to, to_user) = match to {
            To::Client(client) => (Recipient::client(client), Box::default()),
            To::User(user) => (Recipient::User, user),
        };
        let Publication {
            message_type,
            payload_kind,
            name,
            payload,
            service,
            ..
        } = publication;
        let body = DirectBody {
            message_type,
            payload_kind,
            from,
            from_user: Box::default(),
            service,
            to_user,
            // With its sender it says which message it is.
            seq: 1,
            ephemeral: false,
            bytes: [name.as_bytes(), &payload].concat().into(),
            name_length: name.len() as u32,
        };
        let message = DirectMessage {
            to,
            from: ConnRef {
                shard: ctx.own,
                conn: ConnId::of_question(question),
            },
            from_encoding: Encoding::ALL[0],
            born: now.micros,
            window: 0,
            request_id: question,
            body: Arc::new(body),
        };
        if !Inbox::keeps(message.body.size()) {
            let code = roomcast_protocol::ErrorCode::TooLarge;
            self.tell_sender(ctx, now, &message, Receipt::Copies(1));
            return self.tell_sender(ctx, now, &message, Receipt::Failed(code));
        }
        if S::WAITS {
            return self.send_mail(ctx, now, message);
        }
        let hash = match &message.to {
            Recipient::Clients(clients) => {
                let client = clients.first().map_or("", ClientId::as_str);
                ctx.names.hash(client)
            }
            Recipient::User => ctx.names.hash(&message.body.to_user),
        };
        self.send_direct(ctx, now, ctx.home_of(hash), message);
    }

    /// The sessions that a user who is at home here has on this node.
    pub(crate) fn whose<H>(&self, ctx: &Context<H>, user: &str) -> Vec<ClientId> {
        self.users.sessions(user, ctx.names.hash(user)).to_vec()
    }

    /// Those of a user's sessions that are here.
    pub(crate) fn sessions_of<H: Host>(
        &self,
        ctx: &Context<H>,
        user: &str,
        clients: &[ClientId],
    ) -> Vec<SessionLine> {
        let line = |client: &ClientId| {
            let hash = ctx.names.hash(client.as_str());
            let (session, connected) = match self.live(hash, *client) {
                Some(id) => (
                    &self.conn(id).filter(|conn| conn.is_served())?.session,
                    true,
                ),
                None => (&self.parking.peek(hash, *client)?.session, false),
            };
            let rooms = session.memberships.iter();
            let rooms = rooms.filter_map(|it| Some(Box::from(&*self.rooms.get(it.room)?.name)));
            is_of(user, *client, session).then(|| SessionLine {
                client: *client,
                connected,
                rooms: rooms.collect(),
            })
        };
        clients.iter().filter_map(line).collect()
    }

    /// Ends those of a user's sessions that are here. Returns how many.
    pub(crate) fn disconnect<H: Host>(
        &mut self,
        ctx: &mut Context<H>,
        now: Now,
        (user, clients): (&str, &[ClientId]),
        reason: &str,
    ) -> u32 {
        let code = CloseCode::Disconnected;
        let reason = match reason {
            "" => code.as_str().to_owned(),
            reason => format!("{}; {reason}", code.as_str()),
        };
        let mut ended = 0;
        for client in clients.iter().copied() {
            let hash = ctx.names.hash(client.as_str());
            if let Some(id) = self.live(hash, client) {
                let conn = self.conn(id).filter(|conn| conn.is_served());
                if conn.is_some_and(|conn| is_of(user, client, &conn.session)) {
                    self.close(ctx, now, id, code.code(), &reason, AfterClose::End);
                    ended += 1;
                }
            } else if self
                .parking
                .peek(hash, client)
                .is_some_and(|it| is_of(user, client, &it.session))
                && let Some(parked) = self.parking.take(hash, client)
            {
                self.end_parked(ctx, now, parked);
                ended += 1;
            }
        }
        ended
    }
}

/// Whether a session is this user's. Without a token the user is the client.
pub(super) fn is_of(user: &str, client: ClientId, session: &Session) -> bool {
    match session.user_id() {
        "" => client.as_str() == user,
        id => id == user,
    }
}
