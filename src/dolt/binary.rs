//! Owns the search for Dolt's binary and the check of its version.
//! Does not install anything: the message says how to. Always: what is returned has run and said its version.

use std::path::{Path, PathBuf};
use std::process::Stdio;
use std::time::Duration;

use super::StartError;

/// The oldest Dolt that behaves as `facts` and tests say.
const VERSION_MIN: Version = Version(1, 81, 8);
/// `dolt version` takes 0.1 s; a first start from a cold disk more.
const VERSION_TIMEOUT: Duration = Duration::from_secs(20);
const HOW_TO_GET: &str = "get it with `make dolt`, or with `go install \
     github.com/dolthub/dolt/go/cmd/dolt@v0.40.5-0.20260507221239-14b38e279fc6` (needs a C compiler and libicu-dev)";

/// `1.88.1`, ordered.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
struct Version(u64, u64, u64);

impl std::fmt::Display for Version {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{}.{}.{}", self.0, self.1, self.2)
    }
}

/// A Dolt that is new enough.
#[derive(Debug, Clone)]
pub(super) struct Binary {
    pub(super) path: PathBuf,
    pub(super) version: String,
}

/// The first of: `given` (`--dolt` or BRANCHLINE_DOLT), `.tools/bin/dolt` beside the working directory or beside
/// this program's project, PATH. `home` is Dolt's private home, so that asking its version leaves no trace.
pub(super) async fn find(given: Option<&Path>, home: &Path) -> Result<Binary, StartError> {
    let given = given.map(Path::to_path_buf).or_else(|| non_empty_var("BRANCHLINE_DOLT"));
    let path = match given {
        Some(path) if is_executable(&path) => path,
        Some(path) => {
            let problem = if path.exists() { "is not an executable file" } else { "does not exist" };
            return Err(StartError::Binary(format!(
                "the Dolt binary {} (from --dolt or BRANCHLINE_DOLT) {problem}; name one of {VERSION_MIN} or newer, or \
                 {HOW_TO_GET}",
                path.display()
            )));
        }
        None => candidates().find(|path| is_executable(path)).ok_or_else(|| {
            StartError::Binary(format!(
                "no Dolt found (looked at --dolt, BRANCHLINE_DOLT, .tools/bin/dolt and PATH); {HOW_TO_GET}"
            ))
        })?,
    };
    // Through symlinks, and independent of the working directory.
    let path = path.canonicalize().map_err(|error| {
        StartError::Binary(format!("the Dolt binary {} cannot be used: {error}", path.display()))
    })?;
    let version = version_of(&path, home).await?;
    match parse(&version) {
        Some(found) if found >= VERSION_MIN => Ok(Binary { path, version: found.to_string() }),
        Some(found) => Err(StartError::Binary(format!(
            "the Dolt at {} is {found}, but at least {VERSION_MIN} is needed; {HOW_TO_GET}",
            path.display()
        ))),
        None => Err(StartError::Binary(format!(
            "{} is no Dolt: `version` printed {:?}; {HOW_TO_GET}",
            path.display(),
            version.chars().take(80).collect::<String>()
        ))),
    }
}

fn non_empty_var(name: &str) -> Option<PathBuf> {
    std::env::var_os(name).filter(|value| !value.is_empty()).map(PathBuf::from)
}

fn candidates() -> impl Iterator<Item = PathBuf> {
    let beside = |dir: &Path| dir.join(".tools").join("bin").join("dolt");
    let working = std::env::current_dir().ok().map(|dir| beside(&dir));
    // PROJECT/target/{debug,release}/branchline
    let program = std::env::current_exe().ok();
    let project: Vec<_> =
        program.iter().flat_map(|exe| exe.ancestors().skip(1).take(4)).map(beside).collect();
    let path = std::env::var_os("PATH").unwrap_or_default();
    let in_path: Vec<_> = std::env::split_paths(&path).map(|dir| dir.join("dolt")).collect();
    working.into_iter().chain(project).chain(in_path)
}

fn is_executable(path: &Path) -> bool {
    use std::os::unix::fs::PermissionsExt;
    std::fs::metadata(path).is_ok_and(|found| found.is_file() && found.permissions().mode() & 0o111 != 0)
}

async fn version_of(path: &Path, home: &Path) -> Result<String, StartError> {
    let unusable =
        |problem: String| StartError::Binary(format!("`{} version` {problem}; {HOW_TO_GET}", path.display()));
    let run = tokio::process::Command::new(path)
        .arg("version")
        .current_dir(home)
        .env("HOME", home)
        .env("DOLT_ROOT_PATH", home)
        .env("DOLT_DISABLE_EVENT_FLUSH", "1")
        .stdin(Stdio::null())
        .stderr(Stdio::null())
        .kill_on_drop(true)
        .output();
    match tokio::time::timeout(VERSION_TIMEOUT, run).await {
        Ok(Ok(output)) => Ok(String::from_utf8_lossy(&output.stdout).into_owned()),
        Ok(Err(error)) => Err(unusable(format!("failed: {error}"))),
        Err(_) => Err(unusable(format!("did not end within {} s", VERSION_TIMEOUT.as_secs()))),
    }
}

/// `dolt version 1.88.1`, with more text and lines behind it.
fn parse(output: &str) -> Option<Version> {
    let rest = output.lines().find_map(|line| line.trim().strip_prefix("dolt version "))?;
    let end = rest.find(|c: char| !c.is_ascii_digit() && c != '.').unwrap_or(rest.len());
    let mut numbers = rest[..end].split('.').map(|part| part.parse().ok());
    Some(Version(numbers.next()??, numbers.next()??, numbers.next()??))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn versions() {
        for (output, want) in [
            ("dolt version 1.88.1\n", Some(Version(1, 88, 1))),
            (
                "dolt version 1.88.1Warning: unable to query latest released Dolt version",
                Some(Version(1, 88, 1)),
            ),
            ("note\ndolt version 2.0.0-rc1\n", Some(Version(2, 0, 0))),
            ("dolt version 1.88\n", None),
            ("git version 2.39.5\n", None),
            ("", None),
        ] {
            assert_eq!(parse(output), want, "{output:?}");
        }
        assert!(Version(1, 100, 0) > VERSION_MIN && Version(1, 81, 7) < VERSION_MIN);
    }

    async fn refusal(script: &str) -> String {
        use std::os::unix::fs::PermissionsExt;
        let dir = tempfile::tempdir().expect("temp dir");
        let path = dir.path().join("dolt");
        std::fs::write(&path, script).expect("write");
        std::fs::set_permissions(&path, std::fs::Permissions::from_mode(0o755)).expect("chmod");
        find(Some(&path), dir.path()).await.expect_err("refused").to_string()
    }

    #[tokio::test]
    async fn what_is_too_old_or_no_dolt_is_refused_with_the_way_out() {
        for (script, part) in [
            ("#!/bin/sh\necho dolt version 1.81.7\n", "is 1.81.7, but at least 1.81.8 is needed"),
            ("#!/bin/sh\necho hello\n", "is no Dolt"),
        ] {
            let message = refusal(script).await;
            assert!(message.contains(part) && message.contains("make dolt"), "{message}");
        }
        let message =
            find(Some(Path::new("/nowhere/dolt")), Path::new("/")).await.expect_err("missing").to_string();
        assert!(message.contains("/nowhere/dolt") && message.contains("does not exist"), "{message}");
    }
}
