//! The process's limit of open files, which is a limit of connections.

/// Descriptors that are not for connections: to answer those who are refused, for the log, for looking into `/proc`.
const RESERVE: u64 = 128;

/// Raises the soft limit of open files to the hard one and returns it, where there is one.
///
/// The soft limit is 1,024 on most systems only for the sake of programs that use `select`.
#[cfg(unix)]
pub(crate) fn raise_limit() -> Option<u64> {
    use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};

    let limit = getrlimit(Resource::Nofile);
    if limit.current == limit.maximum {
        return limit.current;
    }
    // Refused on some systems when the hard limit is "unlimited": the soft one then stays.
    let _ = setrlimit(
        Resource::Nofile,
        Rlimit {
            current: limit.maximum,
            maximum: limit.maximum,
        },
    );
    getrlimit(Resource::Nofile).current
}

/// Raises the soft limit of open files to the hard one and returns it, where there is one.
#[cfg(not(unix))]
pub(crate) fn raise_limit() -> Option<u64> {
    None
}

/// How many connections fit under a limit of open files, beside those open now. At least 1; 0 means any number.
pub(crate) fn connections_under(limit: Option<u64>) -> usize {
    let Some(limit) = limit else { return 0 };
    let free = limit.saturating_sub(open_now());
    // Under a very small limit half of it is kept back.
    let connections = free - RESERVE.min(free / 2);
    usize::try_from(connections).unwrap_or(usize::MAX).max(1)
}

fn open_now() -> u64 {
    // 32 is a guess for systems without this directory.
    std::fs::read_dir("/proc/self/fd").map_or(32, |files| files.count() as u64)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn some_are_kept_back() {
        assert_eq!(connections_under(None), 0);
        assert_eq!(connections_under(Some(0)), 1);
        let many = connections_under(Some(20_000));
        assert!((19_000..20_000 - 128).contains(&many), "{many}");
    }
}
