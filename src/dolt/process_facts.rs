//! Owns what the system knows of a process by its id. Linux; elsewhere nothing is known, and whoever
//! asks must then assume that the process is not ours.

/// Moment of its start in ticks since boot: with the pid it names a process for good.
pub(super) fn start_ticks(pid: u32) -> Option<u64> {
    #[cfg(target_os = "linux")]
    {
        let stat = std::fs::read_to_string(format!("/proc/{pid}/stat")).ok()?;
        // The name in parentheses may hold anything; a zombie has ended already.
        let mut fields = stat.rsplit_once(')')?.1.split_whitespace();
        if matches!(fields.next()?, "Z" | "X") {
            return None;
        }
        fields.nth(18)?.parse().ok()
    }
    #[cfg(not(target_os = "linux"))]
    {
        let _ = pid;
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
    }
}
