//! One connection to one Redis: made, logged in, and asked one thing at a time. [`super::master`] asks many.

use std::time::Duration;

use tokio::io::{AsyncRead, AsyncReadExt as _, AsyncWrite, AsyncWriteExt as _};
use tokio::net::{TcpStream, UnixStream};
use tokio::time::timeout;

use super::config::{Login, RedisConfig};
use super::failure::Failure;
use super::resp::{Malformed, Reader, Value, write_command};
use super::tls;
use super::url::Endpoint;
use roomcast_core::store::Cause;

/// A socket of any kind.
pub(crate) trait Io: AsyncRead + AsyncWrite + Unpin + Send {}

impl<T: AsyncRead + AsyncWrite + Unpin + Send> Io for T {}

/// A connection that is logged in.
pub(crate) struct Connection {
    pub(crate) io: Box<dyn Io>,
    pub(crate) reader: Reader,
    response_timeout: Duration,
}

impl Connection {
    /// Connects, logs in and chooses the database.
    ///
    /// # Errors
    ///
    /// With the endpoint's name in the sentence.
    pub(crate) async fn open(
        endpoint: &Endpoint,
        config: &RedisConfig,
        login: &Login,
        database: u32,
    ) -> Result<Self, Failure> {
        let opened = timeout(config.connect_timeout, async {
            let mut connection = Self {
                io: dial(endpoint, config).await?,
                reader: Reader::new(config.answer_bytes),
                response_timeout: config.response_timeout,
            };
            connection.log_in(login).await?;
            if database != 0 {
                let number = database.to_string();
                connection.call(&["SELECT", &number]).await?;
            }
            Ok(connection)
        });
        let opened = match opened.await {
            Ok(opened) => opened,
            Err(_) => Err(Failure::timeout(format!(
                "no connection within {:?}",
                config.connect_timeout
            ))),
        };
        opened.map_err(|Failure { error, said }| Failure {
            error,
            said: format!("{endpoint}: {said}").into(),
        })
    }

    async fn log_in(&mut self, login: &Login) -> Result<(), Failure> {
        let Some(secret) = &login.password else {
            // A user without a password has none at Redis either (`nopass`): any will do.
            return match &login.user {
                Some(user) => self.call(&["AUTH", user, ""]).await.map(drop),
                None => Ok(()),
            };
        };
        let password = secret
            .read()
            .map_err(|said| Failure::again(Cause::Rights, said))?;
        match &login.user {
            Some(user) => self.call(&["AUTH", user, &password]).await,
            None => self.call(&["AUTH", &password]).await,
        }?;
        Ok(())
    }

    /// Asks for one thing, and waits for the answer.
    ///
    /// # Errors
    ///
    /// Also an error that Redis says.
    pub(crate) async fn call(&mut self, parts: &[&str]) -> Result<Value, Failure> {
        match self.ask(parts).await? {
            Value::Error(text) => Err(Failure::said(&text).0),
            value => Ok(value),
        }
    }

    /// The same, but an error that Redis says is a value.
    pub(crate) async fn ask(&mut self, parts: &[&str]) -> Result<Value, Failure> {
        let most = self.response_timeout;
        let answer = timeout(most, async {
            self.send(parts).await?;
            self.read().await
        });
        match answer.await {
            Ok(value) => value,
            Err(_) => Err(Failure::timeout(format!(
                "no answer to {} within {most:?}",
                parts[0]
            ))),
        }
    }

    /// Sends a command whose answer is read later.
    pub(crate) async fn send(&mut self, parts: &[&str]) -> Result<(), Failure> {
        let mut out = Vec::new();
        write_command(&mut out, parts.iter().map(|part| part.as_bytes()));
        self.io.write_all(&out).await.map_err(Failure::connection)?;
        self.io.flush().await.map_err(Failure::connection)
    }

    /// The next value. It may be given up at any await and called again.
    pub(crate) async fn read(&mut self) -> Result<Value, Failure> {
        loop {
            if let Some(value) = self.reader.read().map_err(malformed)? {
                return Ok(value);
            }
            let read = self.io.read_buf(self.reader.buffer()).await;
            if read.map_err(Failure::connection)? == 0 {
                return Err(Failure::connection("Redis closed the connection"));
            }
        }
    }
}

pub(crate) fn malformed(problem: Malformed) -> Failure {
    Failure::again(
        Cause::Protocol,
        format!("what answers does not speak Redis's protocol ({problem:?})"),
    )
}

async fn dial(endpoint: &Endpoint, config: &RedisConfig) -> Result<Box<dyn Io>, Failure> {
    let (host, port, tls) = match endpoint {
        Endpoint::Unix(path) => {
            let socket = UnixStream::connect(path)
                .await
                .map_err(Failure::connection)?;
            return Ok(Box::new(socket));
        }
        Endpoint::Tcp { host, port, tls } => (host.as_str(), *port, *tls),
    };
    let tcp = TcpStream::connect((host, port))
        .await
        .map_err(Failure::connection)?;
    tcp.set_nodelay(true).map_err(Failure::connection)?;
    match tls {
        false => Ok(Box::new(tcp)),
        true => match tls::shake_hands(tcp, host, &config.tls).await {
            Ok(stream) => Ok(Box::new(stream)),
            Err(said) => Err(Failure::connection(said)),
        },
    }
}
