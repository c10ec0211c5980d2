//! `roomcast admin`: looks at running servers and acts on them, over their API and nothing else.

mod args;
mod client;
mod show;

use std::io::{IsTerminal as _, Write as _};
use std::process::ExitCode;

use roomcast_server::config::exit;
use serde_json::{Value, json};

pub(crate) use args::AdminArgs;
use args::{By, Command};
use client::{Client, Wrong};
use show::Show;

pub(crate) fn run(args: AdminArgs) -> ExitCode {
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build();
    let done = match runtime {
        Ok(runtime) => runtime.block_on(act(&args)),
        Err(error) => Err(Wrong::Usage(error.to_string())),
    };
    match done {
        Ok(()) => ExitCode::from(exit::OK),
        Err(wrong) => {
            eprintln!("roomcast: {wrong}");
            ExitCode::from(match wrong {
                Wrong::Usage(_) => exit::USAGE,
                _ => exit::FAILURE,
            })
        }
    }
}

async fn act(args: &AdminArgs) -> Result<(), Wrong> {
    let client = Client::new(args)?;
    match &args.command {
        Command::Nodes => {
            let answer = client.get("/nodes").await?;
            print(args, &answer, show::nodes)
        }
        Command::Rooms {
            by,
            kind,
            prefix,
            limit,
        } => {
            let query = |more: &str| format!("limit={limit}&kind={}{more}", escaped(kind));
            let path = match by {
                By::Name => {
                    let prefix = format!("&prefix={}", escaped(prefix));
                    format!("/rooms?{}", query(&prefix))
                }
                _ if !prefix.is_empty() => {
                    let sentence = "--prefix goes with --by name alone";
                    return Err(Wrong::Usage(sentence.to_owned()));
                }
                by => format!("/top/rooms?{}", query(&format!("&by={}", by.name()))),
            };
            let answer = client.get(&path).await?;
            print(args, &answer, show::rooms)
        }
        Command::Room { room, tail: true } => tail(args, &client, room).await,
        Command::Room { room, tail: false } => {
            let place = format!("/rooms/{}", escaped(room));
            let members = client.get(&format!("{place}/members")).await?;
            let connections = client
                .get(&format!("{place}/connections?limit=100"))
                .await?;
            let answer = json!({
                "room_id": room,
                "total": members["total"],
                "members": members["members"],
                "connections": connections["connections"],
            });
            print(args, &answer, show::room)
        }
        Command::User {
            user,
            disconnect,
            reason,
        } => {
            let place = format!("/users/{}", escaped(user));
            if *disconnect {
                let body = json!({ "reason": reason });
                let done = client.post(&format!("{place}/disconnect"), &body).await?;
                return print(args, &done, show::disconnected);
            }
            let sessions = client.get(&format!("{place}/sessions")).await?;
            let connections = client
                .get(&format!("{place}/connections?limit=100"))
                .await?;
            let answer = json!({
                "user": user,
                "sessions": sessions["sessions"],
                "connections": connections["connections"],
            });
            print(args, &answer, show::user)
        }
        Command::Kick { room, user, ban } => {
            let place = format!("/rooms/{}", escaped(room));
            let done = match ban {
                Some(seconds) => {
                    let body = json!({ "user": user, "seconds": seconds.as_secs() });
                    client.post(&format!("{place}/bans"), &body).await?
                }
                None => {
                    let body = json!({ "user": user });
                    client.post(&format!("{place}/kick"), &body).await?
                }
            };
            print(args, &done, show::kicked)
        }
        Command::Drain { node, wait } => drain(args, &client, node.as_deref(), *wait).await,
    }
}

/// The one that answers, unless another name is given: then that has to be the one that answers.
async fn drain(
    args: &AdminArgs,
    client: &Client,
    node: Option<&str>,
    wait: bool,
) -> Result<(), Wrong> {
    let node = match node {
        Some(node) => node.to_owned(),
        None => {
            let answer = client.get("/nodes").await?;
            let nodes = answer["nodes"].as_array();
            let own = nodes.and_then(|nodes| nodes.iter().find(|it| it["answers"] == true));
            let own = own.and_then(|it| it["node"].as_str());
            own.ok_or(Wrong::Answer)?.to_owned()
        }
    };
    let done = client.post("/drain", &json!({ "node": node })).await?;
    print(args, &done, show::draining)?;
    if wait {
        client.wait_until_gone(&node).await?;
        if !args.json {
            put("it has ended\n")?;
        }
    }
    Ok(())
}

/// Until it is interrupted.
async fn tail(args: &AdminArgs, client: &Client, room: &str) -> Result<(), Wrong> {
    let path = format!("/rooms/{}/tail", escaped(room));
    let mut last = None;
    loop {
        let mut events = client.events(&path, last.as_deref()).await?;
        while let Some(event) = events.next().await {
            if event.id.is_some() {
                last = event.id;
            }
            match (event.name.as_str(), args.json) {
                ("", true) => put(&format!("{}\n", event.data))?,
                ("", false) => put(&show::message(&event.data))?,
                ("missed", _) => eprintln!("roomcast: some messages were not read in time"),
                _ => {
                    let problem: Value = serde_json::from_str(&event.data).unwrap_or_default();
                    return Err(Wrong::of_problem(&problem));
                }
            }
        }
    }
}

fn print(args: &AdminArgs, answer: &Value, show: impl Fn(&mut Show, &Value)) -> Result<(), Wrong> {
    if args.json {
        return put(&format!("{answer:#}\n"));
    }
    let mut shown = Show::new(std::io::stdout().is_terminal());
    show(&mut shown, answer);
    put(&shown.into_text())
}

fn put(text: &str) -> Result<(), Wrong> {
    let mut out = std::io::stdout().lock();
    let put = out.write_all(text.as_bytes()).and_then(|()| out.flush());
    put.map_err(|error| Wrong::Output(error.to_string()))
}

/// As a segment of a path, or a value of a query (RFC 3986 section 2.3).
fn escaped(text: &str) -> String {
    let mut out = String::with_capacity(text.len());
    for byte in text.bytes() {
        match byte {
            b'A'..=b'Z' | b'a'..=b'z' | b'0'..=b'9' | b'-' | b'.' | b'_' | b'~' => {
                out.push(char::from(byte));
            }
            _ => out.push_str(&format!("%{byte:02X}")),
        }
    }
    out
}
