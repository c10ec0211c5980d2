//! A connection to a Redis that asks one thing after the other: scripts by their text, and anything else.

use std::io::{Read, Write};
use std::net::TcpStream;
use std::time::Duration;

use roomcast_core::store::{Answer, Cause, Request, StoreError, StoreId};
use roomcast_engine::redis::{Commands, Reader, ScriptCommands, Value, write_command};

/// Bytes of an answer, at most.
const MOST: usize = 64 << 20;

pub struct RedisClient {
    stream: TcpStream,
    reader: Reader,
    pub commands: ScriptCommands,
    pub store: StoreId,
}

impl RedisClient {
    pub fn connect(port: u16, prefix: &str) -> RedisClient {
        let stream = TcpStream::connect(("127.0.0.1", port)).expect("the server is there");
        stream.set_nodelay(true).expect("an option");
        let patience = Some(Duration::from_secs(20));
        stream.set_read_timeout(patience).expect("a time");
        let mut client = RedisClient {
            stream,
            reader: Reader::new(MOST),
            commands: ScriptCommands::new(prefix),
            store: StoreId::default(),
        };
        client.meet();
        client
    }

    /// Reads which store it is: the first half of a hash of run id and replication id.
    pub fn meet(&mut self) {
        let text = "local info = redis.call('INFO', 'server', 'replication') \
            return redis.sha1hex(info:match('run_id:(%x+)') .. ':' .. info:match('master_replid:(%x+)'))";
        let hash = self.ask(&[b"EVAL", text.as_bytes(), b"0"]);
        let hash = hash.as_str().expect("a hash");
        self.store = StoreId(u128::from_str_radix(&hash[..32], 16).expect("a number"));
    }

    /// What a store answers that is reached over this connection.
    pub fn apply(&mut self, request: &Request) -> Result<Answer, StoreError> {
        let command = self.commands.command(request, "");
        if command.store.is_some_and(|it| it != self.store) {
            return Err(StoreError::Again(Cause::OtherStore));
        }
        let text = command.script.text(self.store);
        let keys = command.keys.len().to_string();
        let mut parts: Vec<&[u8]> = vec![b"EVAL", text.as_bytes(), keys.as_bytes()];
        parts.extend(command.keys.iter().chain(&command.args).map(Vec::as_slice));
        self.send(&parts);
        let behind: Vec<&[u8]> = command.behind.iter().map(Vec::as_slice).collect();
        if !behind.is_empty() {
            self.send(&behind);
        }
        let mut value = self.receive();
        if !behind.is_empty() {
            value = match (value, self.receive()) {
                (error @ Value::Error(_), _) | (_, error @ Value::Error(_)) => error,
                (first, second) => Value::Array(vec![first, second]),
            };
        }
        match value {
            Value::Error(it) if it.starts_with("OOM") => Err(StoreError::Again(Cause::Memory)),
            Value::Error(it) if it.starts_with("NOSCRIPT") => {
                Err(StoreError::Again(Cause::OtherStore))
            }
            Value::Error(it) if it.starts_with("NEWER") => Err(StoreError::Never(Cause::Protocol)),
            // In the words of Redis, and of Valkey.
            Value::Error(it)
                if it.contains("can't run this command") || it.contains("ACL failure") =>
            {
                Err(StoreError::Never(Cause::Rights))
            }
            Value::Error(error) => panic!("{}: {error}", command.script.name),
            value => self.commands.answer(request, value),
        }
    }

    /// Asks anything that Redis knows.
    pub fn ask(&mut self, parts: &[&[u8]]) -> Value {
        self.send(parts);
        self.receive()
    }

    /// The server's time, milliseconds since the Unix epoch.
    pub fn time(&mut self) -> u64 {
        let time = self.ask(&[b"TIME"]);
        let number = |it: &Value| it.as_str()?.parse::<u64>().ok();
        match time.as_array().expect("a time") {
            [seconds, micros] => {
                let [seconds, micros] = [seconds, micros].map(|it| number(it).expect("a number"));
                seconds * 1_000 + micros / 1_000
            }
            _ => panic!("no time: {time:?}"),
        }
    }

    pub fn send(&mut self, parts: &[&[u8]]) {
        let mut bytes = Vec::new();
        write_command(&mut bytes, parts.iter().copied());
        self.stream.write_all(&bytes).expect("the server reads");
    }

    pub fn receive(&mut self) -> Value {
        loop {
            if let Some(value) = self.reader.read().expect("RESP") {
                return value;
            }
            let mut bytes = [0; 16 * 1024];
            let length = self.stream.read(&mut bytes).expect("the server answers");
            assert_ne!(length, 0, "the server has closed the connection");
            self.reader.buffer().extend_from_slice(&bytes[..length]);
        }
    }
}
