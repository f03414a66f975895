//! Owns looking at processes from outside: memory, descriptors, leftovers; and waiting for a condition.
//! Does not start or signal anything.
//! Always: every wait has a deadline and says what it waited for.

use std::fs;
use std::path::Path;
use std::thread;
use std::time::{Duration, Instant};

/// Between two looks.
const LOOK_EVERY: Duration = Duration::from_millis(20);

/// Waits until `condition` returns something; panics with `what` at the deadline.
pub fn until<T>(deadline: Duration, what: &str, mut condition: impl FnMut() -> Option<T>) -> T {
    let end = Instant::now() + deadline;
    loop {
        if let Some(found) = condition() {
            return found;
        }
        assert!(Instant::now() < end, "not within {deadline:?}: {what}");
        thread::sleep(LOOK_EVERY);
    }
}

/// A field of `/proc/PID/status` in KiB, as `VmRSS` and `VmHWM`.
pub fn memory_kib(pid: u32, field: &str) -> u64 {
    let path = format!("/proc/{pid}/status");
    let text = fs::read_to_string(&path).unwrap_or_else(|error| panic!("{path}: {error}"));
    let value = text.lines().find_map(|line| line.strip_prefix(field)?.strip_prefix(':'));
    let number = value.and_then(|value| value.split_whitespace().next()?.parse().ok());
    number.unwrap_or_else(|| panic!("{path} has no {field}"))
}

/// Makes `VmHWM` start again from now.
pub fn reset_peak(pid: u32) {
    let path = format!("/proc/{pid}/clear_refs");
    fs::write(&path, "5").unwrap_or_else(|error| panic!("{path}: {error}"));
}

/// Open descriptors.
pub fn descriptors(pid: u32) -> usize {
    let path = format!("/proc/{pid}/fd");
    fs::read_dir(&path).unwrap_or_else(|error| panic!("{path}: {error}")).count()
}

/// Whether the process is there and no zombie.
pub fn is_running(pid: u32) -> bool {
    let stat = fs::read_to_string(format!("/proc/{pid}/stat")).unwrap_or_default();
    let state = stat.rsplit_once(')').and_then(|(_, rest)| rest.trim_start().chars().next());
    !matches!(state, None | Some('Z' | 'X'))
}

/// Processes that run with `directory` in their command line or work in it.
pub fn processes_of(directory: &Path) -> Vec<String> {
    let name = directory.to_str().expect("a temporary directory's name is UTF-8");
    let pids = fs::read_dir("/proc").expect("/proc").filter_map(Result::ok);
    let pids = pids.filter_map(|entry| entry.file_name().to_str()?.parse::<u32>().ok());
    pids.filter(|pid| is_running(*pid))
        .filter_map(|pid| {
            let command = fs::read(format!("/proc/{pid}/cmdline")).unwrap_or_default();
            let command = String::from_utf8_lossy(&command).replace('\0', " ");
            let works_there =
                fs::read_link(format!("/proc/{pid}/cwd")).is_ok_and(|path| path.starts_with(directory));
            (command.contains(name) || works_there).then(|| format!("{pid}: {command}"))
        })
        .collect()
}
