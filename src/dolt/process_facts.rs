//! Owns what the system knows of a process by its id. Linux; elsewhere nothing is known, and whoever
//! asks must then assume that the process is not ours.

/// Moment of its start in ticks since boot: with the pid it names a process for good.
pub(super) fn start_ticks(pid: u32) -> Option<u64> {
    stat_field(pid, 18)
}

/// Its session, by the pid of whoever leads it; 0 when the leader is outside this pid namespace, as in a container that
/// somebody else's `exec` entered. (`getsid` of rustix panics on that 0.)
pub(super) fn session(pid: u32) -> Option<u32> {
    stat_field(pid, 2)
}

/// The `n`th number behind its state in `/proc/PID/stat`; `None` for a process that is gone or has ended.
fn stat_field<T: std::str::FromStr>(pid: u32, n: usize) -> Option<T> {
    #[cfg(target_os = "linux")]
    {
        let stat = std::fs::read_to_string(format!("/proc/{pid}/stat")).ok()?;
        // The name in parentheses may hold anything; a zombie has ended already.
        let mut fields = stat.rsplit_once(')')?.1.split_whitespace();
        if matches!(fields.next()?, "Z" | "X") {
            return None;
        }
        fields.nth(n)?.parse().ok()
    }
    #[cfg(not(target_os = "linux"))]
    {
        let _ = (pid, n);
        None
    }
}

/// Its arguments.
pub(super) fn arguments(pid: u32) -> Option<Vec<String>> {
    #[cfg(target_os = "linux")]
    {
        let bytes = std::fs::read(format!("/proc/{pid}/cmdline")).ok()?;
        Some(bytes.split(|byte| *byte == 0).map(|part| String::from_utf8_lossy(part).into_owned()).collect())
    }
    #[cfg(not(target_os = "linux"))]
    {
        let _ = pid;
        None
    }
}

#[cfg(all(test, target_os = "linux"))]
mod tests {
    #[test]
    fn knows_this_process_and_no_other() {
        let pid = std::process::id();
        assert!(super::start_ticks(pid).is_some_and(|ticks| ticks > 0));
        assert!(super::arguments(pid).is_some_and(|arguments| !arguments[0].is_empty()));
        assert_eq!(super::start_ticks(u32::MAX), None);
        assert!(super::session(pid).is_some());
    }
}
