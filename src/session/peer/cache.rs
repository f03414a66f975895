//! Owns what was read of processes.
//! Does not read.
//! Always: at most 1,024 processes; what it gives is of the same process, not of another by its pid.

use std::collections::HashMap;
use std::path::{Path, PathBuf};

use crate::session::identity::ProcessIdentity;

pub(super) const PROCESSES_MAX: usize = 1024;

#[derive(Debug, Default)]
pub(super) struct Cache {
    by_pid: HashMap<u32, Entry>,
    /// Counts uses, to tell which is the oldest.
    uses: u64,
}

#[derive(Debug)]
struct Entry {
    used: u64,
    /// Of the socket for which it was read: decides whether the environment counts.
    uid: u32,
    executable: PathBuf,
    process: ProcessIdentity,
}

impl Cache {
    pub(super) fn get(
        &mut self,
        pid: u32,
        start_ticks: u64,
        uid: u32,
        executable: &Path,
    ) -> Option<ProcessIdentity> {
        let entry = self.by_pid.get_mut(&pid)?;
        let same =
            entry.process.start_ticks == start_ticks && entry.uid == uid && entry.executable == executable;
        if !same {
            return None;
        }
        self.uses += 1;
        entry.used = self.uses;
        Some(entry.process.clone())
    }

    pub(super) fn insert(&mut self, uid: u32, executable: PathBuf, process: ProcessIdentity) {
        if self.by_pid.len() >= PROCESSES_MAX && !self.by_pid.contains_key(&process.pid) {
            let oldest = self.by_pid.iter().min_by_key(|(_, entry)| entry.used).map(|(pid, _)| *pid);
            oldest.and_then(|pid| self.by_pid.remove(&pid));
        }
        self.uses += 1;
        self.by_pid.insert(process.pid, Entry { used: self.uses, uid, executable, process });
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::session::identity::ProcessEnvironment;

    fn process(pid: u32, start_ticks: u64) -> ProcessIdentity {
        let environment = Ok(ProcessEnvironment::default());
        ProcessIdentity { pid, start_ticks, program: "bd".to_owned(), environment }
    }

    #[test]
    fn only_the_same_process_is_remembered() {
        let mut cache = Cache::default();
        let exe = Path::new("/usr/bin/bd");
        cache.insert(7, exe.to_owned(), process(1, 100));
        assert_eq!(cache.get(1, 100, 7, exe), Some(process(1, 100)));
        assert_eq!(cache.get(1, 101, 7, exe), None, "the pid was reused");
        assert_eq!(cache.get(1, 100, 7, Path::new("/usr/bin/gt")), None, "it became another program");
        assert_eq!(cache.get(1, 100, 8, exe), None, "the connection is another user's");
        assert_eq!(cache.get(2, 100, 7, exe), None);
    }

    #[test]
    fn the_longest_unused_goes_first() {
        let mut cache = Cache::default();
        let exe = Path::new("/usr/bin/bd");
        let max = u32::try_from(PROCESSES_MAX).expect("small");
        for pid in 0..max {
            cache.insert(7, exe.to_owned(), process(pid, 1));
        }
        assert!(cache.get(0, 1, 7, exe).is_some());
        cache.insert(7, exe.to_owned(), process(max, 1));
        assert_eq!(cache.by_pid.len(), PROCESSES_MAX);
        assert!(cache.get(0, 1, 7, exe).is_some() && cache.get(max, 1, 7, exe).is_some());
        assert_eq!(cache.get(1, 1, 7, exe), None);
    }
}
