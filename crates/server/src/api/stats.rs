//! What the API counts: for each route, how its requests ended.

use std::sync::atomic::{AtomicU64, Ordering};

use http::StatusCode;

use super::routes::all;

/// How a request may end.
pub(crate) const OUTCOMES: [&str; 5] = ["done", "unauthorized", "refused", "limited", "failed"];

/// Counters since the start of the process.
#[derive(Debug)]
pub(crate) struct ApiStats {
    requests: Box<[[AtomicU64; OUTCOMES.len()]]>,
}

impl Default for ApiStats {
    fn default() -> ApiStats {
        ApiStats {
            requests: all().map(|_| Default::default()).collect(),
        }
    }
}

/// The names of all routes.
pub(crate) fn route_names() -> impl Iterator<Item = &'static str> {
    all().map(|route| route.name)
}

impl ApiStats {
    pub(super) fn count(&self, route: &str, status: StatusCode) {
        let outcome = match status {
            status if status.is_success() => 0,
            StatusCode::UNAUTHORIZED | StatusCode::FORBIDDEN => 1,
            StatusCode::TOO_MANY_REQUESTS => 3,
            status if status.is_client_error() => 2,
            _ => 4,
        };
        let at = route_names().position(|name| name == route);
        let counters = at.and_then(|at| self.requests.get(at));
        if let Some(counter) = counters.and_then(|it| it.get(outcome)) {
            counter.fetch_add(1, Ordering::Relaxed);
        }
    }

    /// Requests of the route with this number that ended so.
    pub(crate) fn requests(&self, route: usize, outcome: usize) -> u64 {
        let counters = self.requests.get(route);
        let counter = counters.and_then(|it| it.get(outcome));
        counter.map_or(0, |it| it.load(Ordering::Relaxed))
    }
}
