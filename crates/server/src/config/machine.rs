//! What this machine, or the container that we are in, gives us.

use std::path::Path;

/// Cores that this process may use: its affinity and its cgroup's CPU quota count. At least 1.
pub(super) fn cores() -> u32 {
    std::thread::available_parallelism().map_or(1, |cores| cores.get() as u32)
}

/// Bytes of memory that this process may use, where the system says.
pub(super) fn memory() -> Option<u64> {
    memory_under(Path::new("/"))
}

/// The smallest of the machine's memory and the limits of this process's cgroup and those above it.
fn memory_under(root: &Path) -> Option<u64> {
    let read = |path: &str| std::fs::read_to_string(root.join(path)).ok();
    let total = read("proc/meminfo").and_then(|text| meminfo_total(&text));
    let own = read("proc/self/cgroup").unwrap_or_default();
    let limits = own
        .lines()
        .filter_map(|line| line.splitn(3, ':').nth(2).zip(Some(line)));
    let limits = limits.flat_map(|(path, line)| {
        // "0::/path" is cgroup v2; v1 has a line for each controller.
        let (base, file) = match line.starts_with("0::") {
            true => ("sys/fs/cgroup", "memory.max"),
            false if line.contains(":memory:") => ("sys/fs/cgroup/memory", "memory.limit_in_bytes"),
            false => return Vec::new(),
        };
        // A container sees its own cgroup as the root, whatever /proc calls it.
        let above = Path::new(path.trim_start_matches('/')).ancestors();
        let files = above.map(|group| Path::new(base).join(group).join(file));
        files
            .filter_map(|file| read(file.to_str()?)?.trim().parse::<u64>().ok())
            .collect()
    });
    limits.chain(total).min()
}

fn meminfo_total(text: &str) -> Option<u64> {
    let line = text
        .lines()
        .find_map(|line| line.strip_prefix("MemTotal:"))?;
    let kib: u64 = line.trim().strip_suffix("kB")?.trim().parse().ok()?;
    kib.checked_mul(1024)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn tree(files: &[(&str, &str)]) -> tempfile::TempDir {
        let root = tempfile::tempdir().unwrap();
        for (path, text) in files {
            let path = root.path().join(path);
            std::fs::create_dir_all(path.parent().unwrap()).unwrap();
            std::fs::write(path, text).unwrap();
        }
        root
    }

    const MEMINFO: (&str, &str) = ("proc/meminfo", "MemTotal:        1000 kB\nMemFree: 5 kB\n");

    #[test]
    fn the_machine_counts_where_no_cgroup_limits() {
        let root = tree(&[
            MEMINFO,
            ("proc/self/cgroup", "0::/\n"),
            ("sys/fs/cgroup/memory.max", "max\n"),
        ]);
        assert_eq!(memory_under(root.path()), Some(1_024_000));
    }

    #[test]
    fn the_smallest_cgroup_on_the_way_up_counts() {
        let root = tree(&[
            MEMINFO,
            ("proc/self/cgroup", "0::/system.slice/roomcast.service\n"),
            ("sys/fs/cgroup/system.slice/memory.max", "400000\n"),
            (
                "sys/fs/cgroup/system.slice/roomcast.service/memory.max",
                "500000\n",
            ),
        ]);
        assert_eq!(memory_under(root.path()), Some(400_000));
    }

    #[test]
    fn a_container_with_cgroup_v1_finds_its_limit_at_the_root() {
        let root = tree(&[
            MEMINFO,
            (
                "proc/self/cgroup",
                "9:memory:/docker/0123\n8:cpu,cpuacct:/docker/0123\n",
            ),
            ("sys/fs/cgroup/memory/memory.limit_in_bytes", "600000\n"),
        ]);
        assert_eq!(memory_under(root.path()), Some(600_000));
    }

    #[test]
    fn a_system_that_does_not_say_has_no_answer() {
        assert_eq!(memory_under(tree(&[]).path()), None);
    }
}
