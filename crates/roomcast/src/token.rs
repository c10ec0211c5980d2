//! `roomcast token`: a token for trying.

use std::process::ExitCode;

use roomcast_server::auth::{self, NewToken, Signer};
use roomcast_server::config::{Config, exit};

use crate::check;
use crate::cli::TokenArgs;

pub(crate) fn run(args: TokenArgs) -> ExitCode {
    let loaded = match check::load(&args.settings()) {
        Ok(loaded) => loaded,
        Err(code) => return code,
    };
    match make(args, &loaded.config) {
        Ok(token) => {
            // What the server would say is no reason not to print it: it may be for another one.
            if let Some(sentence) =
                auth::refusal(&loaded.config.auth, &loaded.config.core.message, &token)
            {
                eprintln!("roomcast: with these settings the server refuses it: {sentence}");
            }
            check::print(&format!("{token}\n"))
        }
        Err(message) => {
            eprintln!("roomcast: {message}");
            ExitCode::from(exit::FAILURE)
        }
    }
}

fn make(args: TokenArgs, config: &Config) -> Result<String, String> {
    let signer = match &args.key {
        Some(path) => {
            let shown = path.display();
            let pem =
                std::fs::read(path).map_err(|error| format!("cannot read {shown}: {error}"))?;
            Signer::from_pem(&pem).map_err(|wrong| format!("{shown}: {wrong}"))?
        }
        None => match config.auth.hs256_secret.expose() {
            "" => return Err(NO_KEY.to_owned()),
            secret => Signer::from_secret(secret.as_bytes())?,
        },
    };
    signer.sign(&NewToken {
        user: args.user,
        name: args.name,
        rooms: args.room,
        allow: args.allow,
        ttl: args.ttl,
        audience: args
            .audience
            .or_else(|| config.auth.audience.first().cloned()),
        issuer: args.issuer.or_else(|| config.auth.issuer.first().cloned()),
        key_id: args.kid,
    })
}

const NO_KEY: &str = "there is nothing to sign with: give --key FILE, or set a secret that the server has too, such as

  openssl rand -base64 48 > secret
  export ROOMCAST_AUTH_HS256_SECRET_FILE=secret";
