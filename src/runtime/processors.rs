//! How many processors this process has been given, which may be fewer than the machine has.

use std::fmt;

/// The variable in which SLURM says how many processors a task has.
const SLURM: &str = "SLURM_CPUS_PER_TASK";

/// The processors that this process has been given.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Processors {
    /// Those that it has been given: as many threads compute at once.
    pub given: u32,
    /// Those of the machine.
    pub machine: u32,
    /// What decided.
    pub by: Limit,
}

/// What decides how many processors a process has.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Limit {
    /// Nothing: it has all of the machine's.
    Machine,
    /// Its affinity, as `taskset`, `srun` and containers with a set of processors set it.
    Affinity,
    /// The quota of its cgroup, as containers with a share of processors have it.
    Quota,
    /// The scheduler's word, where nothing else holds the process to it.
    Scheduler,
}

impl fmt::Display for Processors {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { given, machine, by } = self;
        let why = match by {
            Limit::Machine => return write!(f, "all {machine} processors of this machine"),
            Limit::Affinity => "its affinity".to_string(),
            Limit::Quota => "the quota of its cgroup".to_string(),
            Limit::Scheduler => format!("{SLURM}={given}"),
        };
        write!(
            f,
            "{given} of this machine's {machine} processors, by {why}"
        )
    }
}

/// The processors of this process.
pub fn processors() -> Processors {
    // Rust's own count heeds affinity and quotas of both versions of cgroups.
    let available = std::thread::available_parallelism().map_or(1, |n| n.get() as u32);
    let online = std::fs::read_to_string("/sys/devices/system/cpu/online");
    let status = std::fs::read_to_string("/proc/self/status").unwrap_or_default();
    let affinity = status
        .lines()
        .find_map(|line| line.strip_prefix("Cpus_allowed_list:"));
    decide(
        online.ok().and_then(|list| counted(&list)),
        affinity.and_then(counted),
        available,
        std::env::var(SLURM)
            .ok()
            .and_then(|n| n.trim().parse().ok()),
    )
}

fn decide(
    machine: Option<u32>,
    affinity: Option<u32>,
    available: u32,
    scheduler: Option<u32>,
) -> Processors {
    let machine = machine.unwrap_or(available).max(available);
    // Those that are allowed but not there do not count.
    let affinity = affinity.map_or(machine, |n| n.min(machine)).max(available);
    let (given, by) = match scheduler {
        Some(n) if n > 0 && n < available => (n, Limit::Scheduler),
        _ if available < affinity => (available, Limit::Quota),
        _ if available < machine => (available, Limit::Affinity),
        _ => (available, Limit::Machine),
    };
    Processors { given, machine, by }
}

/// How many numbers a list as the kernel writes it has: `0-3,8`.
fn counted(list: &str) -> Option<u32> {
    let spans = list.trim().split(',').map(|span| {
        let (first, last) = span.split_once('-').unwrap_or((span, span));
        let (first, last): (u32, u32) = (first.parse().ok()?, last.parse().ok()?);
        Some(last.checked_sub(first)? + 1)
    });
    spans.sum()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_smallest_limit_decides_and_is_named() {
        let decided = |affinity, available, scheduler| {
            let found = decide(Some(8), affinity, available, scheduler);
            (found.given, found.by)
        };
        assert_eq!(decided(Some(8), 8, None), (8, Limit::Machine));
        // More may be allowed than are there.
        assert_eq!(decided(Some(64), 8, Some(8)), (8, Limit::Machine));
        assert_eq!(decided(Some(3), 3, None), (3, Limit::Affinity));
        assert_eq!(decided(Some(8), 2, None), (2, Limit::Quota));
        assert_eq!(decided(Some(4), 2, None), (2, Limit::Quota));
        assert_eq!(decided(Some(8), 8, Some(2)), (2, Limit::Scheduler));
        assert_eq!(decided(Some(2), 2, Some(2)), (2, Limit::Affinity));
        assert_eq!(decided(Some(2), 2, Some(6)), (2, Limit::Affinity));
        assert_eq!(decide(None, None, 4, None).machine, 4);
        let told = decide(Some(8), Some(8), 8, Some(2)).to_string();
        assert_eq!(
            told,
            "2 of this machine's 8 processors, by SLURM_CPUS_PER_TASK=2"
        );
    }

    #[test]
    fn lists_of_the_kernel_are_counted() {
        assert_eq!(counted("0-3,8\n"), Some(5));
        assert_eq!(counted("\t0"), Some(1));
        assert_eq!(counted(""), None);
    }
}
