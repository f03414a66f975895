//! Owns `alerts.json`. Always: a file that can't be used is never a reason not to start.

use std::io;
use std::path::Path;

use serde::{Deserialize, Serialize};

use super::core::Kept;
use crate::state_file::replace;

/// In the state directory.
pub(super) const NAME: &str = "alerts.json";
const VERSION: u32 = 1;

#[derive(Serialize, Deserialize)]
struct Stored {
    version: u32,
    #[serde(flatten)]
    kept: Kept,
}

/// What it says; nothing if it is not there or can't be used.
pub(super) fn read(path: &Path) -> Kept {
    let problem = match std::fs::read(path) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Kept::default(),
        Err(error) => error.to_string(),
        Ok(bytes) => match serde_json::from_slice::<Stored>(&bytes) {
            Ok(Stored { version: VERSION, kept }) => return kept,
            Ok(Stored { version, .. }) => format!("version {version} is not {VERSION}"),
            Err(error) => {
                format!("line {}, column {} is not what is written here", error.line(), error.column())
            }
        },
    };
    let aside = path.with_extension("json.damaged");
    let kept = std::fs::rename(path, &aside);
    tracing::warn!(
        file = %path.display(),
        problem,
        aside = %kept.map_or_else(|error| error.to_string(), |()| aside.display().to_string()),
        "the alerts of before can't be read; what is wrong is told again"
    );
    Kept::default()
}

/// Only our own account reads it.
pub(super) fn write(path: &Path, kept: &Kept) -> io::Result<()> {
    let stored = Stored { version: VERSION, kept: kept.clone() };
    let bytes = serde_json::to_vec_pretty(&stored).map_err(io::Error::from)?;
    replace(path, &bytes)
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::PermissionsExt;

    use super::super::Alerts;
    use super::*;
    use crate::observe::alerts::Event;
    use crate::remote::Outcome;

    #[tokio::test]
    async fn what_was_raised_is_there_after_a_restart_and_is_not_raised_again() {
        let dir = tempfile::tempdir().unwrap();
        let alerts = Alerts::load(dir.path());
        alerts.note("beads", "https://bob:hunter2@h/a", Outcome::Auth, "no https://bob:hunter2@h/a", "");
        alerts.save().await.unwrap();
        let path = dir.path().join(NAME);
        assert_eq!(std::fs::metadata(&path).unwrap().permissions().mode() & 0o777, 0o600);
        assert!(!std::fs::read_to_string(&path).unwrap().contains("hunter2"));

        let again = Alerts::load(dir.path());
        assert_eq!(again.list(false), alerts.list(false));
        assert_eq!(again.lock().waiting.len(), 1, "nobody was told");
        again.told(1, Event::Raised, "log".to_owned());
        again.save().await.unwrap();

        let again = Alerts::load(dir.path());
        again.note("beads", "https://bob:hunter2@h/a", Outcome::Auth, "no", "");
        assert_eq!((again.list(false).len(), again.lock().waiting.len()), (1, 0));
        again.note("beads", "https://bob:hunter2@h/a", Outcome::Pushed, "", "");
        assert_eq!((again.list(false).len(), again.list(true).len()), (0, 1));
        assert_eq!(again.lock().waiting.len(), 1, "its end");
    }

    #[test]
    fn a_damaged_file_is_put_aside() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join(NAME);
        for text in [
            "{\"version\": 1, \"rai",
            "{}",
            r#"{"version": 7, "last_id": 0, "raised": [], "cleared": [], "unwell": []}"#,
        ] {
            std::fs::write(&path, text).unwrap();
            assert_eq!(read(&path), Kept::default());
            assert!(!path.exists());
            assert_eq!(std::fs::read_to_string(path.with_extension("json.damaged")).unwrap(), text);
        }
        assert_eq!(read(&path), Kept::default());
    }

    #[tokio::test]
    async fn a_storm_is_bounded_and_says_so() {
        let dir = tempfile::tempdir().unwrap();
        let alerts = Alerts::load(dir.path());
        for number in 0..super::super::WAITING_MAX + 5 {
            alerts.note(&format!("db{number}"), "x", Outcome::Auth, "no", "");
        }
        assert_eq!(alerts.lock().waiting.len(), super::super::WAITING_MAX);
        let told = alerts.list(false).into_iter().filter_map(|alert| alert.raised_told).collect::<Vec<_>>();
        assert_eq!(told.len(), 5);
        assert!(told[0].contains("log only"), "{told:?}");
    }
}
