//! The model of a server: its sessions, and their inboxes.

use roomcast_protocol::{
    Body, ErrorCode, Hello, Incoming, LogPosition, MessageType, Outgoing, Payload, Request, Sender,
    Welcome, WelcomeLimits,
};

use super::server::{Server, Session};
use super::{Logged, UNANSWERED, Verdict, What};

impl Server {
    pub fn hello(&mut self, id: u64, hello: &Hello<'_>) {
        let token: Vec<u64> = hello.resume_token.as_deref().map_or(Vec::new(), |token| {
            token.split('.').map(|it| it.parse().unwrap()).collect()
        });
        let mut client = None;
        let mut resumed = false;
        if let [key, number, incarnation, generation] = token[..] {
            let named = format!("c{number}");
            if key == self.key {
                match self.sessions.get_mut(&named) {
                    None => client = Some(named),
                    Some(session)
                        if session.incarnation == incarnation
                            && session.generation.wrapping_sub(generation) <= 1 =>
                    {
                        resumed = true;
                        if generation == session.generation {
                            session.generation += 1;
                        }
                        if let Some(old) = session.conn.replace(id)
                            && let Some(old) = self.conns.get_mut(&old)
                        {
                            old.closed = Some(4501);
                        }
                        client = Some(named);
                    }
                    Some(_) => {}
                }
            }
        }
        // A new client counts from 1.
        let first = match &client {
            Some(_) => hello.first_direct_seq.unwrap_or(0),
            None => 0,
        };
        let client = client.unwrap_or_else(|| format!("c{}", self.fresh()));
        if !resumed {
            let session = Session {
                conn: Some(id),
                incarnation: self.fresh(),
                generation: 1,
                inbox_epoch: format!("i{}", self.fresh()),
                ..Session::default()
            };
            self.sessions.insert(client.clone(), session);
        }
        self.conns.get_mut(&id).unwrap().client = Some(client.clone());
        let session = self.sessions.get_mut(&client).unwrap();
        session.sent.enter(first);
        let newest = session.inbox.last().map_or(0, |it| it.offset);
        let since = hello.inbox.as_ref();
        let since = since.filter(|it| it.epoch == session.inbox_epoch && it.offset <= newest);
        let recovered = since.is_some() || hello.inbox.is_none();
        let after = since.map_or(0, |it| it.offset);
        let inbox = LogPosition {
            epoch: session.inbox_epoch.clone().into(),
            offset: after,
        };
        let number = &client[1..];
        let token = format!(
            "{}.{number}.{}.{}",
            self.key, session.incarnation, session.generation
        );
        let rooms = session.rooms.clone();
        let missed: Vec<_> = session.inbox[after as usize..].to_vec();
        let welcome = Welcome {
            client_id: &client,
            resume_token: &token,
            resumed,
            ping_interval_ms: 5_000,
            limits: WelcomeLimits {
                max_unanswered: UNANSWERED as u32,
                ..WelcomeLimits::default()
            },
            server_time: self.unix(),
            version: 1,
            seq_acked: self.acks,
            grace_ms: self.grace,
            inbox: (!missed.is_empty() || after > 0).then_some(&inbox),
            inbox_recovered: recovered,
            ..Welcome::default()
        };
        self.say(id, "", Body::Welcome(&welcome));
        for mail in missed {
            self.deliver_mail(id, &client, &inbox.epoch, &mail);
        }
        for room in rooms {
            let place = hello.positions.iter().find(|it| it.room_id == room);
            let first_seq = place.and_then(|it| it.first_seq).unwrap_or(0);
            self.numbers(&client, &room).enter(first_seq);
            let since = place.and_then(|it| it.since.clone());
            self.joined(id, &client, &room, since.as_ref());
        }
    }

    pub fn mail(&mut self, id: u64, client: &str, message: &Incoming<'_>, seq: u64) {
        let sent = &mut self.sessions.get_mut(client).unwrap().sent;
        match sent.check(seq) {
            Verdict::Next => {}
            known => return self.known(id, message, seq, known),
        }
        let (Request::Chat(payload), Some(to)) = (&message.request, &message.to_client_id) else {
            assert_eq!(message.request.message_type(), MessageType::Skip);
            sent.used(Ok(0));
            return self.say(id, "", Body::Ack(&[(seq, 0)]));
        };
        let at = self.unix();
        let Some(receiver) = self.sessions.get_mut(&**to) else {
            let sent = &mut self.sessions.get_mut(client).unwrap().sent;
            sent.used(Err(ErrorCode::RecipientNotFound));
            return self.refuse(id, message, ErrorCode::RecipientNotFound, seq, 0);
        };
        let text = String::from_utf8(payload.data.to_vec()).unwrap();
        let mail = Logged {
            offset: receiver.inbox.len() as u64 + 1,
            at,
            from: client.to_owned(),
            seq,
            what: What::Said(text.clone()),
        };
        receiver.inbox.push(mail.clone());
        let (conn, epoch) = (receiver.conn, receiver.inbox_epoch.clone());
        self.mailed.push((epoch.clone(), mail.offset, text));
        if let Some(conn) = conn {
            self.deliver_mail(conn, to, &epoch, &mail);
        }
        let sent = &mut self.sessions.get_mut(client).unwrap().sent;
        sent.used(Ok(mail.offset));
        self.say(id, "", Body::Ack(&[(seq, mail.offset)]));
    }

    pub fn deliver_mail(&mut self, id: u64, to: &str, epoch: &str, mail: &Logged) {
        let What::Said(text) = &mail.what else { return };
        let message = Outgoing {
            from: Sender::client(&mail.from),
            to_client_id: to,
            timestamp: mail.at,
            seq: mail.seq,
            offset: mail.offset,
            epoch,
            body: Body::Chat(Payload::text(text)),
            ..Outgoing::default()
        };
        self.send(id, &message);
    }
}
