//! Owns what was read of processes.
//! Does not read.
//! Always: at most 1,024 processes; what it gives is of the same process, not of another by its pid.

use std::collections::HashMap;

use super::Program;
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
    program: Program,
    process: ProcessIdentity,
}

impl Cache {
    pub(super) fn get(&mut self, pid: u32, uid: u32, program: &Program) -> Option<ProcessIdentity> {
        let entry = self.by_pid.get_mut(&pid)?;
        if entry.uid != uid || entry.program != *program {
            return None;
        }
        self.uses += 1;
        entry.used = self.uses;
        Some(entry.process.clone())
    }

    pub(super) fn insert(&mut self, uid: u32, program: Program, process: ProcessIdentity) {
        if self.by_pid.len() >= PROCESSES_MAX && !self.by_pid.contains_key(&process.pid) {
            let oldest = self.by_pid.iter().min_by_key(|(_, entry)| entry.used).map(|(pid, _)| *pid);
            oldest.and_then(|pid| self.by_pid.remove(&pid));
        }
        self.uses += 1;
        self.by_pid.insert(process.pid, Entry { used: self.uses, uid, program, process });
    }
}

#[cfg(test)]
mod tests {
    use super::super::Image;
    use super::*;
    use crate::session::identity::ProcessEnvironment;

    fn process(pid: u32) -> ProcessIdentity {
        let environment = Ok(ProcessEnvironment::default());
        ProcessIdentity { pid, start_ticks: 100, program: "bd".to_owned(), environment }
    }

    fn program(executable: &str, start_ticks: u64, environment: u64) -> Program {
        let image = Image { start_ticks, environment: (environment, environment + 1) };
        Program { image, executable: executable.into() }
    }

    #[test]
    fn only_the_same_program_is_remembered() {
        let mut cache = Cache::default();
        cache.insert(7, program("/bin/bd", 100, 1), process(1));
        assert_eq!(cache.get(1, 7, &program("/bin/bd", 100, 1)), Some(process(1)));
        assert_eq!(cache.get(1, 7, &program("/bin/bd", 101, 1)), None, "the pid was reused");
        assert_eq!(cache.get(1, 7, &program("/bin/gt", 100, 1)), None, "it became another program");
        assert_eq!(cache.get(1, 7, &program("/bin/bd", 100, 2)), None, "it started the same program again");
        assert_eq!(cache.get(1, 8, &program("/bin/bd", 100, 1)), None, "the connection is another user's");
        assert_eq!(cache.get(2, 7, &program("/bin/bd", 100, 1)), None);
    }

    #[test]
    fn the_longest_unused_goes_first() {
        let mut cache = Cache::default();
        let bd = || program("/bin/bd", 100, 1);
        let max = u32::try_from(PROCESSES_MAX).expect("small");
        for pid in 0..max {
            cache.insert(7, bd(), process(pid));
        }
        assert!(cache.get(0, 7, &bd()).is_some());
        cache.insert(7, bd(), process(max));
        assert_eq!(cache.by_pid.len(), PROCESSES_MAX);
        assert!(cache.get(0, 7, &bd()).is_some() && cache.get(max, 7, &bd()).is_some());
        assert_eq!(cache.get(1, 7, &bd()), None);
    }
}
