//! What a process has used, from /proc, and where it may run.

use std::fs;
use std::time::Duration;

use rustix::process::{Pid, Resource, Rlimit, getrlimit, setrlimit};
use rustix::thread::{CpuSet, sched_getaffinity, sched_setaffinity};
use rustix::time::{ClockId, clock_gettime};

/// Processor time that a process has used since it began, its threads together.
///
/// schedstat counts nanoseconds, and time in the kernel for the process is part of it, the network's receiving side on
/// loopback included.
pub(crate) fn cpu(pid: u32) -> Option<Duration> {
    let mut sum = 0;
    for task in fs::read_dir(format!("/proc/{pid}/task")).ok()? {
        let Ok(stat) = fs::read_to_string(task.ok()?.path().join("schedstat")) else {
            continue;
        };
        sum += stat.split(' ').next()?.parse::<u64>().ok()?;
    }
    Some(Duration::from_nanos(sum))
}

/// Processor time that this process has used.
pub(crate) fn own_cpu() -> Duration {
    let time = clock_gettime(ClockId::ProcessCPUTime);
    Duration::new(time.tv_sec as u64, time.tv_nsec as u32)
}

/// Processor time that everything on this machine has used, in hundredths of a second.
pub(crate) fn machine_cpu() -> Duration {
    let stat = fs::read_to_string("/proc/stat").unwrap_or_default();
    let line = stat.lines().next().unwrap_or_default();
    let times: Vec<u64> = line
        .split_whitespace()
        .skip(1)
        .filter_map(|ticks| ticks.parse().ok())
        .collect();
    // user nice system idle iowait irq softirq steal; those of guests are in user.
    let busy = times.iter().take(8).sum::<u64>() - times.iter().skip(3).take(2).sum::<u64>();
    Duration::from_millis(busy * 10)
}

/// Proportional set size of a process in bytes: its own memory and its part of what it shares, the kernel's memory (its
/// sockets' buffers) not counted.
pub(crate) fn pss(pid: u32) -> Option<u64> {
    let rollup = fs::read_to_string(format!("/proc/{pid}/smaps_rollup")).ok()?;
    let line = rollup.lines().find(|line| line.starts_with("Pss:"))?;
    let kib: u64 = line.split_whitespace().nth(1)?.parse().ok()?;
    Some(kib * 1024)
}

/// Memory in bytes that the kernel holds for all TCP sockets of this machine.
pub(crate) fn socket_memory() -> Option<u64> {
    let stat = fs::read_to_string("/proc/net/sockstat").ok()?;
    let line = stat.lines().find(|line| line.starts_with("TCP:"))?;
    let pages: u64 = line
        .split_whitespace()
        .skip_while(|&word| word != "mem")
        .nth(1)?
        .parse()
        .ok()?;
    Some(pages * rustix::param::page_size() as u64)
}

/// Bytes of memory that this machine has for what comes.
pub(crate) fn memory_available() -> Option<u64> {
    meminfo(&["MemAvailable"])
}

/// Bytes that the kernel holds for its own tables: sockets, open files and what belongs to them.
pub(crate) fn kernel_memory() -> Option<u64> {
    meminfo(&["Slab", "KernelStack", "PageTables", "Percpu"])
}

fn meminfo(names: &[&str]) -> Option<u64> {
    let info = fs::read_to_string("/proc/meminfo").ok()?;
    let kib = info.lines().filter_map(|line| {
        let (name, value) = line.split_once(':')?;
        let value = value.split_whitespace().next()?.parse::<u64>().ok()?;
        names.contains(&name).then_some(value)
    });
    Some(kib.sum::<u64>() * 1024)
}

/// Connections that found a listener's queue full so far, on all of this machine: TCP tries again after a second.
pub(crate) fn listen_overflows() -> Option<u64> {
    let stat = fs::read_to_string("/proc/net/netstat").ok()?;
    let mut lines = stat.lines().filter(|line| line.starts_with("TcpExt:"));
    let (names, values) = (lines.next()?, lines.next()?);
    let mut pairs = names.split(' ').zip(values.split(' '));
    let (_, count) = pairs.find(|(name, _)| *name == "ListenOverflows")?;
    count.parse().ok()
}

/// Threads of a process.
pub(crate) fn threads(pid: u32) -> Option<usize> {
    Some(fs::read_dir(format!("/proc/{pid}/task")).ok()?.count())
}

/// Open file descriptors of a process, nearly all of which are its connections.
pub(crate) fn descriptors(pid: u32) -> Option<usize> {
    Some(fs::read_dir(format!("/proc/{pid}/fd")).ok()?.count())
}

/// Raises the soft limit of open files to the hard one, and returns it.
pub(crate) fn raise_file_limit() -> u64 {
    let limit = getrlimit(Resource::Nofile);
    // What can't be raised is found out when a connection is refused for it.
    let _ = setrlimit(
        Resource::Nofile,
        Rlimit {
            current: limit.maximum,
            ..limit
        },
    );
    getrlimit(Resource::Nofile).current.unwrap_or(u64::MAX)
}

/// The processors that this process may use.
pub(crate) fn processors() -> Vec<usize> {
    let Ok(set) = sched_getaffinity(None) else {
        return Vec::new();
    };
    (0..CpuSet::MAX_CPU)
        .filter(|&cpu| set.is_set(cpu))
        .collect()
}

/// Keeps this thread, and the processes that it starts from now on, to these processors.
pub(crate) fn run_on(processors: &[usize]) {
    let mut set = CpuSet::new();
    for &processor in processors {
        set.set(processor);
    }
    // Where it isn't allowed the figures are only less steady.
    let _ = sched_setaffinity(None::<Pid>, &set);
}

/// Lets this thread go before others (below 0) or behind them (above), as `nice` counts. Whether that was allowed.
pub(crate) fn set_priority(nice: i32) -> bool {
    // Linux keeps it by thread, and takes none to mean the one that asks.
    rustix::process::setpriority_process(None, nice).is_ok()
}

/// What the machine is, in a line.
pub(crate) fn machine() -> String {
    let info = fs::read_to_string("/proc/cpuinfo").unwrap_or_default();
    let model = info
        .lines()
        .find_map(|line| line.strip_prefix("model name")?.split_once(": "));
    let model = model.map_or("unknown processor", |(_, model)| model);
    let kernel = fs::read_to_string("/proc/sys/kernel/osrelease").unwrap_or_default();
    format!(
        "{model}, {} cores, Linux {}",
        processors().len(),
        kernel.trim()
    )
}
