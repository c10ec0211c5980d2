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

    /// The sessions of a user that are here. It looks at each session.
    pub(crate) fn sessions_of(&mut self, user: &str) -> Vec<SessionLine> {
        let line = |client: ClientId, session: &Session, connected: bool| {
            let rooms = session.memberships.iter();
            let rooms = rooms.filter_map(|it| Some(Box::from(&*self.rooms.get(it.room)?.name)));
            SessionLine {
                client,
                connected,
                rooms: rooms.collect(),
            }
        };
        let conns = self.conns.rows().filter(|conn| conn.is_served());
        let live = conns.filter(|conn| is_of(user, conn.pooled.client_id, &conn.session));
        let live = live.map(|conn| line(conn.pooled.client_id, &conn.session, true));
        let parked = self.parking.iter();
        let parked = parked.filter(|it| is_of(user, it.client_id, &it.session));
        let parked = parked.map(|it| line(it.client_id, &it.session, false));
        live.chain(parked).collect()
    }

    /// Ends the sessions of a user that are here. Returns how many.
    pub(crate) fn disconnect<H: Host>(
        &mut self,
        ctx: &mut Context<H>,
        now: Now,
        user: &str,
        reason: &str,
    ) -> u32 {
        let parked = self.parking.iter();
        let parked = parked.filter(|it| is_of(user, it.client_id, &it.session));
        let parked: Vec<_> = parked.map(|it| (it.hash, it.client_id)).collect();
        let conns = self.conns.rows().filter(|conn| conn.is_served());
        let live = conns.filter(|conn| is_of(user, conn.pooled.client_id, &conn.session));
        let live: Vec<_> = live.map(|conn| conn.id).collect();
        let ended = parked.len() + live.len();
        for (hash, client) in parked {
            if let Some(parked) = self.parking.take(hash, client) {
                self.end_parked(ctx, now, parked);
            }
        }
        let code = CloseCode::Disconnected;
        let reason = match reason {
            "" => code.as_str().to_owned(),
            reason => format!("{}; {reason}", code.as_str()),
        };
        for id in live {
            self.close(ctx, now, id, code.code(), &reason, AfterClose::End);
        }
        u32::try_from(ended).unwrap_or(u32::MAX)
    }
}

/// Whether a session is this user's. Without a token the user is the client.
pub(super) fn is_of(user: &str, client: ClientId, session: &Session) -> bool {
    match session.user_id() {
        "" => client.as_str() == user,
        id => id == user,
    }
}
