//! Where the server's own answers are. Requests are told apart by this list, and no page of a program that embeds the server
//! takes a path of it: what the list lacks is nobody's.

/// What the server answers with something of its own.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Own {
    /// WebSockets.
    WebSocket,
    /// Event streams, and what is posted for them.
    EventStream,
    Send,
    /// What supervisors and balancers ask.
    Health,
    Ready,
    Metrics,
    /// The admin page.
    Admin,
    /// What applications' backends ask.
    Api,
}

const PATHS: [(&str, Own); 7] = [
    ("/ws", Own::WebSocket),
    ("/ws/", Own::WebSocket),
    ("/sse", Own::EventStream),
    ("/send", Own::Send),
    ("/healthz", Own::Health),
    ("/readyz", Own::Ready),
    ("/metrics", Own::Metrics),
];

/// Each with all that is below it.
const TREES: [(&str, Own); 2] = [("/admin", Own::Admin), ("/api", Own::Api)];

impl Own {
    /// What is at a path, if it is the server's own.
    pub(super) fn at(path: &str) -> Option<Own> {
        let is_below = |tree: &str| {
            let rest = path.strip_prefix(tree);
            rest.is_some_and(|rest| rest.is_empty() || rest.starts_with('/'))
        };
        let paths = PATHS.iter().filter(|(own, _)| *own == path);
        let trees = TREES.iter().filter(|(tree, _)| is_below(tree));
        paths.chain(trees).map(|(_, own)| *own).next()
    }

    /// Asked by load balancers and supervisors.
    pub(super) fn is_probe(self) -> bool {
        matches!(self, Own::Health | Own::Ready)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn own_paths_are_told_from_those_of_pages() {
        for (path, own) in PATHS.iter().chain(&TREES) {
            assert_eq!(Own::at(path), Some(*own));
        }
        let route = format!("{}/rooms", crate::api::BASE);
        assert_eq!(Own::at(&route), Some(Own::Api));
        assert_eq!(Own::at("/admin/admin.js"), Some(Own::Admin));
        for path in [
            "/",
            "",
            "/wss",
            "/sse/",
            "/apis",
            "/administer",
            "/metrics/x",
        ] {
            assert_eq!(Own::at(path), None, "{path}");
        }
    }
}
