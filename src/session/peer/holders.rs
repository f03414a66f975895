//! Owns the search for the processes that hold a socket: one scan answers all who waited when it began.
//! Does not read processes.
//! Always: an answer rests on a scan that began after the question; "nobody" on one that trusted nothing old.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use tokio::sync::{Mutex, OwnedMutexGuard};

use super::platform::SocketTable;

/// All sockets that can be seen, with their holders.
#[derive(Debug, Default)]
pub(super) struct Holders {
    /// Scans begun since start.
    begun: Arc<AtomicU64>,
    /// Held while a scan runs: the others wait for its result.
    scanned: Arc<Mutex<Scanned>>,
}

#[derive(Debug, Default)]
struct Scanned {
    table: SocketTable,
    /// Number of the last scan, and why it failed if it did.
    last: u64,
    failure: Option<String>,
    /// Number of the last scan of all processes.
    last_of_all: u64,
}

impl Holders {
    /// Processes that hold the socket, in order. Cancel-safe.
    pub(super) async fn of(&self, inode: u32) -> Result<Vec<u32>, String> {
        let arrival = self.begun.load(Ordering::Acquire);
        for all in [false, true] {
            let scanned = self.scan_newer_than(arrival, all).await?;
            if let Some(failure) = &scanned.failure {
                return Err(failure.clone());
            }
            let holders = scanned.table.holders(inode);
            if !holders.is_empty() {
                return Ok(holders);
            }
        }
        Ok(Vec::new())
    }

    async fn scan_newer_than(&self, arrival: u64, all: bool) -> Result<OwnedMutexGuard<Scanned>, String> {
        let mut scanned = Arc::clone(&self.scanned).lock_owned().await;
        if arrival < if all { scanned.last_of_all } else { scanned.last } {
            return Ok(scanned);
        }
        let begun = Arc::clone(&self.begun);
        // The guard goes along: who gives up waiting doesn't let two scans run at once.
        let scan = tokio::task::spawn_blocking(move || {
            scanned.last = begun.fetch_add(1, Ordering::AcqRel) + 1;
            scanned.failure = scanned.table.scan(all).err();
            if all {
                scanned.last_of_all = scanned.last;
            }
            scanned
        });
        scan.await.map_err(|_| "the look-up was cut off".to_owned())
    }
}
