//! Owns the question whether a client whose lane is about to be lent to a mate of its process is stuck or
//! only slow. Stuck is one that waits for itself, and all threads of such a process sleep; on a loaded
//! machine one may wait for a CPU longer than any patience, and to take its lane would cost it a 1213.
//! Always: a doubt ends after `PATIENCE` times the usual limit, so that one busy thread stops nobody.

use std::time::{Duration, Instant};

use super::core::Core;
use super::effects::Lending;
use super::record::{Activity, Ticket};

/// So many times `same_process_idle` may a process with a running thread keep its mates waiting.
const PATIENCE: u32 = 10;
/// Until the next look at such a process.
pub(super) const LOOK_AGAIN: Duration = Duration::from_millis(10);
/// More threads than that are not looked at.
#[cfg(target_os = "linux")]
const THREADS_MAX: usize = 1000;

impl Core {
    /// The client process to be looked at before this ticket may take the lane that it waits for.
    pub(super) fn doubt(&self, ticket: Ticket, now: Instant) -> Option<u32> {
        let (at, Lending::SameProcess) = self.chances(ticket, now).0? else { return None };
        let key = &self.records.get(&ticket)?.waiting.as_ref()?.key;
        let holder = self.lanes.get(key)?.holder.as_ref()?;
        let holder = self.records.get(&holder.ticket)?;
        let Activity::Idle { since } = holder.activity else { return None };
        let limit = self.settings.same_process_idle.saturating_mul(PATIENCE);
        let doubtful = at <= now && now.saturating_duration_since(since) < limit;
        holder.who.process.filter(|_| doubtful)
    }
}

/// Whether any thread of the process runs, could run, or waits for a disk. False where nothing is known.
pub(super) async fn is_running(process: u32) -> bool {
    tokio::task::spawn_blocking(move || any_thread_runs(process)).await.unwrap_or(false)
}

#[cfg(target_os = "linux")]
fn any_thread_runs(process: u32) -> bool {
    let Ok(threads) = std::fs::read_dir(format!("/proc/{process}/task")) else { return false };
    threads.take(THREADS_MAX).flatten().any(|thread| {
        std::fs::read(thread.path().join("stat")).is_ok_and(|stat| {
            // The name in parentheses may hold anything; the state comes after it.
            let after_name = stat.iter().rposition(|byte| *byte == b')');
            let state = after_name.and_then(|name| stat.get(name + 2));
            matches!(state, Some(b'R' | b'D'))
        })
    })
}

#[cfg(not(target_os = "linux"))]
fn any_thread_runs(_: u32) -> bool {
    false
}

#[cfg(all(test, target_os = "linux"))]
mod tests {
    use super::any_thread_runs;
    use std::process::Command;

    #[test]
    fn one_that_computes_runs_and_one_that_sleeps_does_not() {
        assert!(any_thread_runs(std::process::id()), "this thread runs");
        let mut sleeper = Command::new("sleep").arg("60").spawn().expect("sleep starts");
        let pid = sleeper.id();
        let until = std::time::Instant::now() + std::time::Duration::from_secs(10);
        while any_thread_runs(pid) && std::time::Instant::now() < until {
            std::thread::yield_now();
        }
        let runs = any_thread_runs(pid);
        sleeper.kill().and_then(|()| sleeper.wait()).expect("sleep ends");
        assert!(!runs, "it sleeps");
        assert!(!any_thread_runs(pid), "it is gone");
    }
}
