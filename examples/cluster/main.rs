//! A cluster on this machine: `cargo run --release --example cluster`, then open the address that it prints. It needs
//! `redis-server`.
//!
//! It starts a Redis, three nodes and a balancer, each a process or a port of its own. The page has four players, wherever
//! the balancer has put them; each can be moved to another node, and can kill its node. A node that is dead is started
//! again. What the page asks for with its buttons goes to this launcher, on loopback; a node has nothing of the kind.

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

fn main() -> ExitCode {
    // A node is this program too, with the arguments of a server.
    if std::env::args().len() > 1 {
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

async fn launch() -> std::io::Result<()> {
    let address = std::env::var("ROOMCAST_SERVER_LISTEN");
    let page = TcpListener::bind(address.as_deref().unwrap_or("127.0.0.1:8080")).await?;
    let balancer = TcpListener::bind("127.0.0.1:0").await?;
    let (mut interrupt, mut terminate) = (
        signal(SignalKind::interrupt())?,
        signal(SignalKind::terminate())?,
    );
    // They end with this value.
    let processes = Arc::new(Processes::start(balancer.local_addr()?).await?);
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
