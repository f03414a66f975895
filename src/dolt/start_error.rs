//! Owns the reasons why Dolt could not be started, each with what to do about it.

use std::path::{Path, PathBuf};

use super::errors;
use super::moves::REPLACED;

/// Why Dolt could not be started.
#[derive(Debug, thiserror::Error)]
pub enum StartError {
    /// Another Branchline uses this directory.
    #[error(
        "another Branchline{} already uses {}; stop it with `branchline stop`, or give another --data-dir and --state-dir",
        .pid.map(|pid| format!(" (pid {pid})")).unwrap_or_default(), .path.display()
    )]
    Locked {
        /// The owner's pid, if it could be read.
        pid: Option<u32>,
        /// The data directory, or the state directory.
        path: PathBuf,
    },
    /// A Dolt that is not ours serves this data directory.
    #[error(
        "a Dolt server that Branchline did not start{} holds {}; stop it first, or put Branchline in front of it with \
         --dolt-address", .pid.map(|pid| format!(" (pid {pid})")).unwrap_or_default(), .data_dir.display()
    )]
    ForeignDolt {
        /// Its pid, if it could be told.
        pid: Option<u32>,
        /// The data directory.
        data_dir: PathBuf,
    },
    /// No usable Dolt binary.
    #[error("{0}")]
    Binary(String),
    /// A directory or file of ours is not usable: which, why, and what to do.
    #[error("{what} {}: {problem}; {remedy}", .path.display())]
    Path {
        /// `data directory`, `state directory`, …
        what: &'static str,
        /// Where.
        path: PathBuf,
        /// What is wrong.
        problem: String,
        /// What to do.
        remedy: String,
    },
    /// Dolt ended, or did not answer, before it was ready.
    #[error("Dolt did not start: {reason}{}{}", quote(.output), .remedy.as_deref().unwrap_or_default())]
    Failed {
        /// What happened.
        reason: String,
        /// The end of Dolt's own output.
        output: Vec<String>,
        /// What to do, if that is known.
        remedy: Option<String>,
    },
}

impl StartError {
    /// Without anything of Dolt's own.
    pub(super) fn failed(reason: impl Into<String>) -> Self {
        Self::Failed { reason: reason.into(), output: Vec::new(), remedy: None }
    }

    /// Dolt has ended with these words.
    pub(super) fn ended(reason: String, output: Vec<String>, data_dir: &Path) -> Self {
        let named = output.iter().find_map(|line| errors::unloadable_database(line));
        let remedy = named.map(|name| remedy(name, data_dir));
        Self::Failed { reason, output, remedy }
    }

    /// Dolt does not say which database it can't open.
    pub(super) fn lacks_name(&self) -> bool {
        let Self::Failed { output, remedy: None, .. } = self else { return false };
        output.iter().any(|line| errors::is_corrupt_journal(line))
    }

    /// It is this one.
    pub(super) fn naming(self, name: &str, data_dir: &Path) -> Self {
        match self {
            Self::Failed { reason, output, .. } => {
                Self::Failed { reason, output, remedy: Some(remedy(name, data_dir)) }
            }
            other => other,
        }
    }

    /// The process's exit code by the contract: 4 already running, else 1.
    pub fn exit_code(&self) -> u8 {
        match self {
            Self::Locked { .. } | Self::ForeignDolt { .. } => 4,
            _ => 1,
        }
    }
}

fn quote(output: &[String]) -> String {
    if output.is_empty() {
        return String::new();
    }
    format!("; its last words were:\n  {}", output.join("\n  "))
}

/// What to do about a database that Dolt can't open, as a shell takes it: people copy it.
fn remedy(name: &str, data_dir: &Path) -> String {
    let [data, database] = [&*data_dir.to_string_lossy(), name].map(|text| text.replace('\'', r"'\''"));
    format!(
        "\nwith {name} as it is, Dolt serves no database at all. Move it away, start, and get it back from its remote or a \
         backup:\n  mkdir -p -m 700 '{data}/{REPLACED}' && mv '{data}/{database}' '{data}/{REPLACED}/{database}'\n  branchline \
         start\n  branchline clone URL {name}    (or: branchline restore DIR {name})"
    )
}
