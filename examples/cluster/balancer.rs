//! A balancer without stickiness: each connection goes to any node that is ready. It looks at the request's first line, to
//! know whose connection it is; a real one need not.

use std::sync::Arc;

use tokio::io::copy_bidirectional;
use tokio::net::{TcpListener, TcpStream};

use crate::processes::Processes;

pub(crate) async fn run(listener: TcpListener, processes: &Arc<Processes>) {
    loop {
        if let Ok((stream, _)) = listener.accept().await {
            tokio::spawn(carry(stream, processes.clone()));
        }
    }
}

async fn carry(mut near: TcpStream, processes: Arc<Processes>) {
    let player = player_of(&near).await;
    for (node, port) in processes.nodes_for(player.as_deref()) {
        let Ok(mut far) = TcpStream::connect(("127.0.0.1", port)).await else {
            continue;
        };
        let _ = (near.set_nodelay(true), far.set_nodelay(true));
        let Some(player) = &player else {
            let _ = copy_bidirectional(&mut near, &mut far).await;
            return;
        };
        let (connection, mut cuts) = processes.connected(player, node);
        tokio::select! {
            _ = copy_bidirectional(&mut near, &mut far) => {}
            _ = cuts.changed() => {}
        }
        processes.disconnected(player, connection);
        return;
    }
}

/// `GET /ws?player=ID HTTP/1.1`
async fn player_of(stream: &TcpStream) -> Option<String> {
    let mut head = [0; 512];
    let length = stream.peek(&mut head).await.ok()?;
    let head = std::str::from_utf8(&head[..length]).ok()?;
    let target = head.lines().next()?.split(' ').nth(1)?;
    let (_, player) = target.split_once("?player=")?;
    Some(player.to_owned())
}
