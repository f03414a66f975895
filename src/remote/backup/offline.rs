//! Owns runs of the dolt program beside the server: making a database from a copy, with every chunk's checksum, where no
//! client sees it; and the link by which Dolt is told of a directory.
//! Always: a run ends in its time, or with whoever waits for it.

use std::collections::BTreeMap;
use std::io;
use std::os::unix::fs::symlink;
use std::path::{Path, PathBuf};
use std::process::Stdio;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use rustix::process::{Pid, Signal, kill_process_group};
use serde::Deserialize;
use tokio::process::Command;

use super::super::outcome::one_line;
use crate::session::Context;

/// Where the database is that is made, below the scratch directory. Deep enough: dolt looks for a running server in its
/// directory and the one above, and would ask that to do the work.
pub const MADE: &str = "work/database";

/// Dolt takes directories as URLs and decodes those more than once: a link with a plain name stands for any directory.
#[derive(Debug)]
pub struct Link(PathBuf);

impl Link {
    /// To a directory, as long as this lives.
    pub fn to(context: &Context, dir: &Path) -> Result<Self, String> {
        static COUNT: AtomicU64 = AtomicU64::new(0);
        let state_dir = std::path::absolute(context.remotes.state_dir())
            .map_err(|error| format!("cannot tell where the state directory is: {error}"))?;
        let is_plain = |text: &str| !text.contains(['%', '?', '#']);
        if !state_dir.to_str().is_some_and(is_plain) {
            return Err(format!(
                "Dolt can't be told of a path like {} (with %, ? or #, or not UTF-8): give another --state-dir",
                state_dir.display()
            ));
        }
        let count = COUNT.fetch_add(1, Ordering::Relaxed);
        let link = state_dir.join(format!("backup-{count}.link"));
        let made = match std::fs::remove_file(&link) {
            Err(error) if error.kind() != io::ErrorKind::NotFound => Err(error),
            _ => symlink(dir, &link),
        };
        made.map_err(|error| format!("cannot make {}: {error}", link.display()))?;
        Ok(Self(link))
    }

    /// For Dolt.
    pub fn url(&self) -> String {
        format!("file://{}", self.0.display())
    }
}

impl Drop for Link {
    fn drop(&mut self) {
        let _ = std::fs::remove_file(&self.0);
    }
}

/// Makes a database at [`MADE`] below `scratch` from a copy; heads by branch.
pub async fn restore(
    context: &Context,
    link: &Link,
    scratch: &Path,
    limit: Duration,
) -> Result<BTreeMap<String, String>, String> {
    let made = scratch.join(MADE);
    let (Some(work), Some(name)) = (made.parent(), made.file_name().and_then(|name| name.to_str())) else {
        return Err("there is no place for it".to_owned());
    };
    std::fs::create_dir(work).map_err(|error| format!("cannot make {}: {error}", work.display()))?;
    dolt(context, work, &["backup", "restore", &link.url(), name], limit).await?;
    let sql = "SELECT name, hash FROM dolt_branches";
    let listed = dolt(context, &made, &["sql", "-r", "json", "-q", sql], limit).await?;
    let listed: Listed =
        serde_json::from_slice(&listed).map_err(|error| format!("its branches can't be read: {error}"))?;
    Ok(listed.rows.into_iter().map(|row| (row.name, row.hash)).collect())
}

#[derive(Deserialize)]
struct Listed {
    #[serde(default)]
    rows: Vec<BranchRow>,
}

#[derive(Deserialize)]
struct BranchRow {
    name: String,
    hash: String,
}

/// What it printed.
async fn dolt(context: &Context, dir: &Path, arguments: &[&str], limit: Duration) -> Result<Vec<u8>, String> {
    let not_ours =
        "this Dolt is not run by Branchline: make its backups where it runs, with CALL DOLT_BACKUP";
    let (Some(program), Some(home)) = (context.dolt.program(), context.dolt.home()) else {
        return Err(not_ours.to_owned());
    };
    let mut command = Command::new(program);
    command
        .args(arguments)
        .current_dir(dir)
        .env_clear()
        .envs(crate::dolt::git::environment(std::env::vars_os()))
        .env("DOLT_ROOT_PATH", home)
        .env("DOLT_DISABLE_EVENT_FLUSH", "1")
        .stdin(Stdio::null())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .process_group(0)
        .kill_on_drop(true);
    let child = command.spawn().map_err(|error| format!("cannot run dolt: {error}"))?;
    let mut group = Group(child.id().and_then(|pid| Pid::from_raw(pid.cast_signed())));
    let ended = tokio::time::timeout(limit, child.wait_with_output()).await;
    if ended.is_ok() {
        group.0 = None;
    }
    drop(group);
    match ended {
        Err(_) => {
            Err(format!("dolt {} did not end within {} s and was ended", arguments[0], limit.as_secs()))
        }
        Ok(Err(error)) => Err(format!("cannot run dolt: {error}")),
        Ok(Ok(output)) if output.status.success() => Ok(output.stdout),
        Ok(Ok(output)) => {
            let said = if output.stderr.is_empty() { &output.stdout } else { &output.stderr };
            Err(one_line(&String::from_utf8_lossy(said)))
        }
    }
}

struct Group(Option<Pid>);

impl Drop for Group {
    fn drop(&mut self) {
        if let Some(pid) = self.0 {
            let _ = kill_process_group(pid, Signal::KILL);
        }
    }
}
