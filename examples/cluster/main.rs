//! A cluster on this machine: `cargo run --release --example cluster`, then open the address that it prints. It needs
//! `redis-server`.
//!
//! It starts a Redis, three nodes and a balancer, each a process or a port of its own. The page has four players, wherever
//! the balancer has put them; each can be moved to another node, and can kill its node. A node that is dead is started
//! again. `--listen ADDR:PORT` is where the page is; each node gets all other flags. What the page asks for with its buttons goes to this launcher, on loopback; a node has nothing of the kind.

mod balancer;
mod control;
mod processes;

use std::process::ExitCode;
use std::sync::Arc;

use roomcast_server::{CountingAllocator, Server};
use tokio::net::TcpListener;
use tokio::signal::unix::{SignalKind, signal};

use processes::Processes;

/// Counts what is in use, for `limits.memory`.
#[global_allocator]
static ALLOCATOR: CountingAllocator = CountingAllocator;

/// Set for a node, which is this program too.
pub(crate) const NODE: &str = "CLUSTER_EXAMPLE_NODE";

fn main() -> ExitCode {
    if std::env::var_os(NODE).is_some() {
        return Server::builder().main();
    }
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build();
    match runtime.and_then(|runtime| runtime.block_on(launch())) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("cluster: {error}");
            ExitCode::FAILURE
        }
    }
}

/// Where the page is to be, and what is for the nodes.
fn arguments() -> std::io::Result<(String, Vec<String>)> {
    let listen = std::env::var("ROOMCAST_SERVER_LISTEN");
    let mut listen = listen.unwrap_or_else(|_| "127.0.0.1:8080".to_owned());
    let mut more = Vec::new();
    let mut arguments = std::env::args().skip(1);
    while let Some(argument) = arguments.next() {
        if let Some(address) = argument.strip_prefix("--listen=") {
            listen = address.to_owned();
        } else if argument == "--listen" {
            let lacks = || std::io::Error::other("--listen lacks its value");
            listen = arguments.next().ok_or_else(lacks)?;
        } else {
            more.push(argument);
        }
    }
    Ok((listen, more))
}

async fn launch() -> std::io::Result<()> {
    let (listen, more) = arguments()?;
    let page = TcpListener::bind(&listen).await?;
    let balancer = TcpListener::bind("127.0.0.1:0").await?;
    let (mut interrupt, mut terminate) = (
        signal(SignalKind::interrupt())?,
        signal(SignalKind::terminate())?,
    );
    // They end with this value.
    let processes = Arc::new(Processes::start(balancer.local_addr()?, &more).await?);
    println!("Open http://{}/ (Ctrl-C ends all)", page.local_addr()?);
    tokio::select! {
        () = processes.watch() => {}
        () = balancer::run(balancer, &processes) => {}
        () = control::run(page, &processes) => {}
        _ = interrupt.recv() => {}
        _ = terminate.recv() => {}
    }
    Ok(())
}
