//! Who works on a run: a process, told apart from all others on whichever machine.

use std::fs;
use std::path::Path;

use rand::RngExt;
use serde::{Deserialize, Serialize};

use super::file_system::FileSystem;

/// A process that works on a run.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Holder {
    /// Its machine's name.
    pub host: String,
    /// Its number.
    pub process: u32,
    /// When it began, in its machine's own count.
    begun: Option<u64>,
    /// Which start of the machine it belongs to.
    boot: Option<String>,
    /// Where its number counts.
    namespace: Option<String>,
    /// The file system that it reaches the folder through.
    pub file_system: String,
    /// Whether that is a disk of its machine.
    pub local: bool,
    /// The mount that it reaches the folder through.
    device: u64,
    /// Nobody else has the same.
    token: u64,
    /// The job that it is of, where a scheduler says, and how often that was queued again.
    #[serde(default)]
    job: Option<Job>,
    /// Whether it gives a sign of life all the time that it runs, and not only when it stores.
    #[serde(default)]
    pub beats: bool,
}

/// A scheduler's job. One job has one process at a time that works on a run.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
struct Job {
    /// Its name, the cluster's included.
    name: String,
    /// How often it was queued again.
    restarts: u32,
}

impl Job {
    fn own() -> Option<Self> {
        let value = |name| std::env::var(name).ok();
        let cluster = value("SLURM_CLUSTER_NAME").unwrap_or_default();
        let restarts = value("SLURM_RESTART_COUNT").and_then(|n| n.parse().ok());
        Some(Self {
            name: format!("{cluster}/{}", value("SLURM_JOB_ID")?),
            restarts: restarts.unwrap_or(0),
        })
    }
}

/// What can be told of a holder from here.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum State {
    /// It runs.
    Alive,
    /// It has ended.
    Over,
    /// It ran on another machine, or in another container.
    Unknown,
}

impl Holder {
    /// This process, which reaches `folder` through `system`.
    pub fn own(folder: &Path, system: &FileSystem) -> Self {
        let process = std::process::id();
        Self {
            host: host(),
            process,
            begun: begun(process),
            boot: boot(),
            namespace: namespace(),
            file_system: system.name.clone(),
            local: system.local,
            device: device(folder),
            token: rand::rng().random(),
            job: Job::own(),
            beats: !system.local,
        }
    }

    /// The same process as if it were one of another machine.
    #[cfg(test)]
    pub fn on_another_machine(&self, host: &str) -> Self {
        Self {
            host: host.into(),
            boot: Some("another".into()),
            local: false,
            ..self.clone()
        }
    }

    /// The same process as one of a job that was queued again so often.
    #[cfg(test)]
    pub fn of_job(&self, name: &str, restarts: u32) -> Self {
        Self {
            job: Some(Job {
                name: name.into(),
                restarts,
            }),
            ..self.clone()
        }
    }

    /// What can be told of this holder by `seer`, a process of this machine that has the kernel's
    /// lock on the folder.
    pub fn seen_by(&self, seer: &Self) -> State {
        let same_boot = self.boot.is_some() && self.boot == seer.boot;
        // The kernel's lock, which ends with its process, decides where both would meet at it. A
        // local disk belongs to one kernel at a time.
        if (same_boot && self.device == seer.device) || (self.local && seer.local) {
            return State::Over;
        }
        // The scheduler has ended a job before it queues it again.
        if let (Some(job), Some(own)) = (&self.job, &seer.job)
            && job.name == own.name
            && job.restarts < own.restarts
        {
            return State::Over;
        }
        let same_numbers = self.namespace.is_some() && self.namespace == seer.namespace;
        if !(same_boot && same_numbers) {
            return State::Unknown;
        }
        match is_running(self.process) && self.begun == begun(self.process) {
            true => State::Alive,
            false => State::Over,
        }
    }
}

#[cfg(unix)]
pub(super) fn host() -> String {
    let name = rustix::system::uname();
    name.nodename().to_string_lossy().into_owned()
}

#[cfg(not(unix))]
pub(super) fn host() -> String {
    std::env::var("COMPUTERNAME").unwrap_or_default()
}

#[cfg(unix)]
fn device(folder: &Path) -> u64 {
    use std::os::unix::fs::MetadataExt;
    fs::metadata(folder).map_or(0, |about| about.dev())
}

#[cfg(not(unix))]
fn device(_: &Path) -> u64 {
    0
}

#[cfg(not(target_os = "macos"))]
fn boot() -> Option<String> {
    let id = fs::read_to_string("/proc/sys/kernel/random/boot_id").ok()?;
    Some(id.trim().to_string())
}

#[cfg(target_os = "macos")]
fn boot() -> Option<String> {
    let told = std::process::Command::new("/usr/sbin/sysctl")
        .args(["-n", "kern.bootsessionuuid"])
        .output()
        .ok()?;
    let id = String::from_utf8_lossy(&told.stdout).trim().to_string();
    (!id.is_empty()).then_some(id)
}

#[cfg(not(target_os = "macos"))]
fn namespace() -> Option<String> {
    let link = fs::read_link("/proc/self/ns/pid").ok()?;
    Some(link.to_string_lossy().into_owned())
}

/// There are no others.
#[cfg(target_os = "macos")]
fn namespace() -> Option<String> {
    Some(String::new())
}

#[cfg(unix)]
fn is_running(process: u32) -> bool {
    let id = i32::try_from(process)
        .ok()
        .and_then(rustix::process::Pid::from_raw);
    id.is_some_and(|id| {
        let asked = rustix::process::test_kill_process(id);
        // One of another user's may not be asked, but is there.
        asked != Err(rustix::io::Errno::SRCH)
    })
}

/// Not known; the kernel's lock decides.
#[cfg(not(unix))]
fn is_running(_: u32) -> bool {
    true
}

/// When a process began: the 22nd field of `/proc/PID/stat`, in ticks since the machine started.
/// The second field, the program's name in brackets, may hold anything. A process that has ended
/// and that its parent has not asked about began at no time.
fn begun(process: u32) -> Option<u64> {
    let stat = fs::read_to_string(format!("/proc/{process}/stat")).ok()?;
    let (_, fields) = stat.rsplit_once(')')?;
    let mut fields = fields.split_whitespace();
    let ended = matches!(fields.next()?, "Z" | "X");
    fields.nth(18)?.parse().ok().filter(|_| !ended)
}

#[cfg(all(test, target_os = "linux"))]
mod tests {
    use super::*;

    fn own() -> Holder {
        let folder = std::env::temp_dir();
        Holder::own(&folder, &FileSystem::of(&folder).unwrap())
    }

    #[test]
    fn a_process_is_known_by_more_than_its_number() {
        let seer = own();
        let through = |changed: fn(&mut Holder)| {
            let mut holder = Holder {
                device: seer.device + 1,
                local: false,
                ..own()
            };
            changed(&mut holder);
            holder.seen_by(&seer)
        };
        assert_eq!(through(|_| {}), State::Alive);
        let later = |h: &mut Holder| h.begun = h.begun.map(|ticks| ticks + 1);
        assert_eq!(through(later), State::Over);
        // The largest number that a process may have is 2^22.
        assert_eq!(through(|h| h.process = 1 << 23), State::Over);
        assert_eq!(through(|h| h.boot = Some("another".into())), State::Unknown);
        assert_eq!(through(|h| h.boot = None), State::Unknown);
        assert_eq!(
            through(|h| h.namespace = Some("another".into())),
            State::Unknown
        );
    }

    #[test]
    fn a_job_that_was_queued_again_follows_itself() {
        let elsewhere = own().on_another_machine("far").of_job("c/7", 0);
        let seen = |name, restarts| elsewhere.seen_by(&own().of_job(name, restarts));
        assert_eq!(seen("c/7", 1), State::Over);
        assert_eq!(seen("c/7", 0), State::Unknown);
        assert_eq!(seen("c/8", 1), State::Unknown);
    }

    #[test]
    fn where_the_kernel_s_lock_would_hold_it_decides() {
        let seer = own();
        let same_mount = Holder {
            local: false,
            ..own()
        };
        assert_eq!(same_mount.seen_by(&seer), State::Over);
        let same_disk = Holder {
            local: true,
            boot: Some("the one before".into()),
            device: seer.device + 1,
            ..own()
        };
        let seer = Holder {
            local: true,
            ..seer
        };
        assert_eq!(same_disk.seen_by(&seer), State::Over);
        let by_network = Holder {
            local: false,
            ..same_disk
        };
        assert_eq!(by_network.seen_by(&seer), State::Unknown);
    }
}
