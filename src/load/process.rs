//! CPU time and resident memory of the process that is measured, and of this one, as Linux tells them.
//!
//! CPU time is the sum over the threads that live, from `schedstat` (nanoseconds) where the kernel has it, else from
//! `stat` (ticks of 10 ms). Resident memory is from `smaps_rollup`, which counts pages, or from `statm`, whose counters
//! may be off by some pages a core.

use std::fs;
use std::time::Duration;

use super::LoadError;

/// Nanoseconds of a tick in `stat`: the unit of that file is 1/100 s on every platform Linux runs on today.
const TICK_NANOS: u64 = 10_000_000;

/// Octets of a page in `statm`.
const PAGE_BYTES: u64 = 4096;

/// A process that is measured.
#[derive(Clone, Debug)]
pub struct Process {
    pid: u32,
}

/// The CPU time of a process up to one moment.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub struct Usage {
    /// By thread: its id, its name, its CPU time.
    pub threads: Vec<(u32, String, Duration)>,
}

/// What a process has used between two moments.
#[derive(Clone, PartialEq, Debug, Default)]
pub struct Spent {
    /// CPU time of all threads.
    pub cpu: Duration,
    /// The thread that used most: its name and CPU time.
    pub busiest: (String, Duration),
    /// Resident memory at the end, in octets.
    pub resident_bytes: u64,
}

impl Process {
    /// The process with that id, if it can be measured.
    pub fn new(pid: u32) -> Result<Process, LoadError> {
        let process = Process { pid };
        if process.usage().threads.is_empty() {
            let what = format!(
                "there is no process {pid}, or it may not be measured: give the router's id to --pid"
            );
            return Err(LoadError::Process(what));
        }
        Ok(process)
    }

    /// What it has used so far; nothing if it has ended.
    pub fn usage(&self) -> Usage {
        Usage { threads: threads(self.pid) }
    }

    /// Its resident memory now, in octets. The kernel counts for milliseconds: not for a moment that is measured.
    pub fn resident_bytes(&self) -> u64 {
        resident_bytes(self.pid)
    }
}

impl Usage {
    /// What was used since an earlier moment. Resident memory is the caller's to fill in.
    pub fn since(&self, before: &Usage) -> Spent {
        let mut spent = Spent::default();
        for (id, name, time) in &self.threads {
            let old =
                before.threads.iter().find(|(old, ..)| old == id).map_or(Duration::ZERO, |(.., old)| *old);
            let time = time.saturating_sub(old);
            spent.cpu += time;
            if time >= spent.busiest.1 {
                spent.busiest = (name.clone(), time);
            }
        }
        spent
    }
}

/// CPU time of the thread that asks.
pub fn own_cpu() -> Duration {
    thread_cpu("/proc/thread-self").unwrap_or_default()
}

fn threads(pid: u32) -> Vec<(u32, String, Duration)> {
    let Ok(tasks) = fs::read_dir(format!("/proc/{pid}/task")) else { return Vec::new() };
    let threads = tasks.flatten().filter_map(|task| {
        let id = task.file_name().to_str()?.parse().ok()?;
        let path = task.path();
        let path = path.to_str()?;
        let name = fs::read_to_string(format!("{path}/comm")).ok()?;
        Some((id, name.trim().to_owned(), thread_cpu(path)?))
    });
    threads.collect()
}

fn thread_cpu(path: &str) -> Option<Duration> {
    let schedstat = fs::read_to_string(format!("{path}/schedstat")).ok();
    let nanos = schedstat.and_then(|text| text.split_whitespace().next()?.parse().ok());
    if let Some(nanos) = nanos.filter(|nanos| *nanos > 0) {
        return Some(Duration::from_nanos(nanos));
    }
    let stat = fs::read_to_string(format!("{path}/stat")).ok()?;
    Some(Duration::from_nanos(stat_ticks(&stat)? * TICK_NANOS))
}

/// User and system time. The name, second of the fields, may hold spaces and parentheses.
fn stat_ticks(stat: &str) -> Option<u64> {
    let (_, fields) = stat.rsplit_once(')')?;
    let mut fields = fields.split_whitespace().skip(11);
    let user: u64 = fields.next()?.parse().ok()?;
    let system: u64 = fields.next()?.parse().ok()?;
    Some(user + system)
}

fn resident_bytes(pid: u32) -> u64 {
    let rollup = fs::read_to_string(format!("/proc/{pid}/smaps_rollup")).ok();
    if let Some(bytes) = rollup.as_deref().and_then(rollup_bytes) {
        return bytes;
    }
    let statm = fs::read_to_string(format!("/proc/{pid}/statm")).unwrap_or_default();
    let pages: u64 = statm.split_whitespace().nth(1).and_then(|pages| pages.parse().ok()).unwrap_or(0);
    pages * PAGE_BYTES
}

fn rollup_bytes(rollup: &str) -> Option<u64> {
    let line = rollup.lines().find_map(|line| line.strip_prefix("Rss:"))?;
    let kibibytes: u64 = line.split_whitespace().next()?.parse().ok()?;
    Some(kibibytes * 1024)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn fields_are_found_behind_any_name() {
        let stat = "17 (a ) b) S 1 2 3 4 5 6 7 8 9 10 250 50 0 0 20 0 1 0 99";
        assert_eq!(stat_ticks(stat), Some(300));
        assert_eq!(stat_ticks("17 (cut) S 1"), None);
        let rollup = "5586-7ffe ---p 00000000 00:00 0  [rollup]\nRss:                1234 kB\nPss: 1 kB\n";
        assert_eq!(rollup_bytes(rollup), Some(1234 * 1024));
    }

    #[test]
    fn this_process_is_measured_and_a_missing_one_is_told() {
        let own = Process::new(std::process::id()).unwrap();
        let before = own.usage();
        let mut sum = 0_u64;
        while own_cpu() < Duration::from_millis(20) {
            sum = sum.wrapping_mul(31).wrapping_add(7);
        }
        assert!(sum != 1);
        let spent = own.usage().since(&before);
        assert!(own.resident_bytes() > 100_000 && spent.cpu >= spent.busiest.1, "{spent:?}");
        assert!(Process::new(u32::MAX).is_err());
    }

    #[test]
    fn the_busiest_thread_is_told() {
        let thread = |id, name: &str, ms| (id, name.to_owned(), Duration::from_millis(ms));
        let before = Usage { threads: vec![thread(1, "main", 900), thread(2, "shard-0", 5)] };
        let after =
            Usage { threads: vec![thread(1, "main", 901), thread(2, "shard-0", 25), thread(3, "new", 3)] };
        let spent = after.since(&before);
        assert_eq!(spent.cpu, Duration::from_millis(24));
        assert_eq!(spent.busiest, ("shard-0".to_owned(), Duration::from_millis(20)));
    }
}
