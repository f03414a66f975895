//! Owns the rules assigned at run time (`route set`), in memory and in `routes.json`.
//! Does not match them: `choose` does.
//! Always: what `assign` or `unassign` returned Ok for is on disk; a file that can't be read is left as it is.

use std::collections::BTreeMap;
use std::fs;
use std::io;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, RwLock};
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use serde::{Deserialize, Serialize};
use thiserror::Error;

use super::rules::{address_text, check_template, parse_address};
use crate::config::{Conditions, Glob, Rule};
use crate::state_file::replace;

/// Most rules that can be assigned.
pub const ASSIGNED_RULES_MAX: usize = 10_000;

const FILE: &str = "routes.json";
const VERSION: u32 = 1;

/// A rule that somebody assigned while Branchline ran.
#[derive(Debug, Clone)]
pub struct AssignedRule {
    /// For `route unset`.
    pub id: u32,
    /// What it matches and which branch.
    pub rule: Rule,
    /// Who: the account, or the uid on the console's socket.
    pub by: String,
    /// When, to the second.
    pub at: SystemTime,
}

/// All assigned rules.
#[derive(Debug)]
pub struct AssignedRules {
    path: PathBuf,
    rules: RwLock<Arc<[AssignedRule]>>,
    /// Next id; held by whoever changes the rules, so that those who read them never wait for the disk.
    changing: Mutex<u32>,
}

/// Why the rules could not be read or changed.
#[derive(Debug, Error)]
pub enum AssignedError {
    /// The file is there but can't be read.
    #[error("cannot read the assigned routes in {path}: {source}")]
    Read {
        /// The file.
        path: PathBuf,
        /// Why.
        source: io::Error,
    },
    /// It isn't what we write.
    #[error(
        "the assigned routes in {path} are damaged: {problem}; repair the file, or move it away to start without"
    )]
    Damaged {
        /// The file.
        path: PathBuf,
        /// What is wrong with it.
        problem: String,
    },
    /// It could not be written: nothing changed.
    #[error("cannot write the assigned routes to {path}: {source}; nothing was changed")]
    Write {
        /// The file.
        path: PathBuf,
        /// Why.
        source: io::Error,
    },
    /// The branch of a new rule can't be one.
    #[error("cannot assign this rule: {0}")]
    Branch(String),
    /// Too many.
    #[error("cannot assign this rule: there are 10000 already, the most there can be; unset some first")]
    TooMany,
}

impl AssignedRules {
    /// Reads `routes.json` in the state dir; none there means no rules.
    pub fn load(state_dir: &Path) -> Result<Self, AssignedError> {
        let path = state_dir.join(FILE);
        let stored = match fs::read(&path) {
            Ok(bytes) => {
                parse(&bytes).map_err(|problem| AssignedError::Damaged { path: path.clone(), problem })?
            }
            Err(error) if error.kind() == io::ErrorKind::NotFound => (1, Vec::new()),
            Err(source) => return Err(AssignedError::Read { path, source }),
        };
        let (next_id, rules) = stored;
        Ok(Self { path, rules: RwLock::new(rules.into()), changing: Mutex::new(next_id) })
    }

    /// The rules, first match first.
    pub fn all(&self) -> Arc<[AssignedRule]> {
        Arc::clone(&self.rules.read().unwrap_or_else(PoisonError::into_inner))
    }

    /// Adds a rule after the others, or gives the one with the same conditions a new branch.
    /// Blocks for a file write.
    pub fn assign(&self, mut rule: Rule, by: &str, at: SystemTime) -> Result<AssignedRule, AssignedError> {
        check_template(&rule.branch).map_err(AssignedError::Branch)?;
        let mut next_id = self.change();
        let mut rules = self.all().to_vec();
        let conditions = StoredRule::of(&rule).conditions();
        let same = rules.iter().position(|old| StoredRule::of(&old.rule).conditions() == conditions);
        let id = same.map_or(*next_id, |at| rules[at].id);
        rule.origin = origin(id);
        let assigned = AssignedRule { id, rule, by: by.to_owned(), at };
        match same {
            Some(at) => rules[at] = assigned.clone(),
            None if rules.len() >= ASSIGNED_RULES_MAX => return Err(AssignedError::TooMany),
            None => rules.push(assigned.clone()),
        }
        let following = (*next_id).max(id.saturating_add(1));
        self.store(following, rules)?;
        *next_id = following;
        Ok(assigned)
    }

    /// Removes a rule and returns it; None if there is no such id. Blocks for a file write.
    pub fn unassign(&self, id: u32) -> Result<Option<AssignedRule>, AssignedError> {
        let next_id = self.change();
        let mut rules = self.all().to_vec();
        let Some(at) = rules.iter().position(|assigned| assigned.id == id) else { return Ok(None) };
        let removed = rules.remove(at);
        self.store(*next_id, rules)?;
        Ok(Some(removed))
    }

    fn change(&self) -> MutexGuard<'_, u32> {
        self.changing.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Disk first, then memory.
    fn store(&self, next_id: u32, rules: Vec<AssignedRule>) -> Result<(), AssignedError> {
        let stored = Stored {
            version: VERSION,
            next_id,
            rules: rules
                .iter()
                .map(|assigned| StoredAssigned {
                    id: assigned.id,
                    by: assigned.by.clone(),
                    at_unix_seconds: assigned.at.duration_since(UNIX_EPOCH).unwrap_or_default().as_secs(),
                    rule: StoredRule::of(&assigned.rule),
                })
                .collect(),
        };
        serde_json::to_vec_pretty(&stored)
            .map_err(io::Error::from)
            .and_then(|bytes| replace(&self.path, &bytes))
            .map_err(|source| AssignedError::Write { path: self.path.clone(), source })?;
        *self.rules.write().unwrap_or_else(PoisonError::into_inner) = rules.into();
        Ok(())
    }
}

fn origin(id: u32) -> String {
    format!("assigned rule {id}")
}

fn parse(bytes: &[u8]) -> Result<(u32, Vec<AssignedRule>), String> {
    let stored: Stored = serde_json::from_slice(bytes).map_err(|error| error.to_string())?;
    if stored.version != VERSION {
        return Err(format!(
            "version {} is not {VERSION}, which is all this Branchline knows",
            stored.version
        ));
    }
    let mut rules: Vec<AssignedRule> = Vec::with_capacity(stored.rules.len());
    for assigned in stored.rules {
        let id = assigned.id;
        if rules.iter().any(|earlier| earlier.id == id) {
            return Err(format!("two rules have the id {id}"));
        }
        let rule = assigned.rule.read(id).map_err(|problem| format!("rule {id}: {problem}"))?;
        let at = UNIX_EPOCH.checked_add(Duration::from_secs(assigned.at_unix_seconds));
        let at = at.ok_or_else(|| format!("rule {id}: at_unix_seconds is out of range"))?;
        rules.push(AssignedRule { id, rule, by: assigned.by, at });
    }
    let past_last = rules.iter().map(|rule| rule.id.saturating_add(1)).max().unwrap_or(1);
    Ok((stored.next_id.max(past_last), rules))
}

#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct Stored {
    version: u32,
    next_id: u32,
    rules: Vec<StoredAssigned>,
}

#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct StoredAssigned {
    id: u32,
    by: String,
    at_unix_seconds: u64,
    rule: StoredRule,
}

#[derive(Serialize, Deserialize, PartialEq, Default)]
#[serde(deny_unknown_fields, default)]
struct StoredRule {
    #[serde(skip_serializing_if = "Option::is_none")]
    account: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    database: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    address: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    program: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    actor: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    polecat: Option<String>,
    #[serde(skip_serializing_if = "BTreeMap::is_empty")]
    attributes: BTreeMap<String, String>,
    branch: String,
}

impl StoredRule {
    fn of(rule: &Rule) -> Self {
        let text = |glob: &Option<Glob>| glob.as_ref().map(|glob| glob.as_str().to_owned());
        let conditions = &rule.conditions;
        Self {
            account: text(&conditions.account),
            database: text(&conditions.database),
            address: conditions.address.as_ref().map(address_text),
            program: text(&conditions.program),
            actor: text(&conditions.actor),
            polecat: text(&conditions.polecat),
            attributes: conditions
                .attributes
                .iter()
                .map(|(k, v)| (k.clone(), v.as_str().to_owned()))
                .collect(),
            branch: rule.branch.clone(),
        }
    }

    fn conditions(self) -> Self {
        Self { branch: String::new(), ..self }
    }

    fn read(self, id: u32) -> Result<Rule, String> {
        check_template(&self.branch)?;
        let address = match self.address {
            Some(text) => Some(
                parse_address(&text).ok_or_else(|| format!("{text} is not an address, a network or unix"))?,
            ),
            None => None,
        };
        let conditions = Conditions {
            account: self.account.map(Glob::new),
            database: self.database.map(Glob::new),
            address,
            program: self.program.map(Glob::new),
            attributes: self.attributes.into_iter().map(|(name, glob)| (name, Glob::new(glob))).collect(),
            actor: self.actor.map(Glob::new),
            polecat: self.polecat.map(Glob::new),
        };
        Ok(Rule { conditions, branch: self.branch, origin: origin(id) })
    }
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::PermissionsExt;

    use super::*;

    fn rule(account: &str, branch: &str) -> Rule {
        let conditions = Conditions {
            account: Some(Glob::new(account)),
            address: parse_address("10.0.0.0/8"),
            attributes: BTreeMap::from([("role".to_owned(), Glob::new("w*"))]),
            ..Conditions::default()
        };
        Rule { conditions, branch: branch.to_owned(), ..Rule::default() }
    }

    fn listed(rules: &AssignedRules) -> Vec<(u32, String, String)> {
        let line = |rule: &AssignedRule| (rule.id, format!("{:?}", rule.rule), rule.by.clone());
        rules.all().iter().map(line).collect()
    }

    #[test]
    fn what_was_assigned_is_there_after_a_restart() {
        let dir = tempfile::tempdir().expect("a temp dir");
        let at = UNIX_EPOCH + Duration::from_secs(1_800_000_000);
        let rules = AssignedRules::load(dir.path()).expect("none yet");
        assert!(rules.all().is_empty());
        assert_eq!(rules.assign(rule("a", "x-{polecat}"), "root@localhost", at).expect("assigned").id, 1);
        assert_eq!(rules.assign(rule("b", "y"), "uid 0", at).expect("assigned").id, 2);
        assert_eq!(rules.assign(rule("a", "z"), "uid 0", at).expect("same conditions").id, 1);
        assert_eq!(rules.all().len(), 2);

        let again = AssignedRules::load(dir.path()).expect("loads");
        assert_eq!(listed(&again), listed(&rules));
        assert_eq!(again.all()[0].at, at);
        assert_eq!(again.all()[0].rule.origin, "assigned rule 1");
        let mode = fs::metadata(dir.path().join(FILE)).expect("there").permissions().mode();
        assert_eq!(mode & 0o777, 0o600);

        assert_eq!(again.unassign(2).expect("written").map(|rule| rule.id), Some(2));
        assert!(again.unassign(2).expect("nothing to write").is_none());
        // Ids are not used twice, also after a restart.
        let last = AssignedRules::load(dir.path()).expect("loads");
        assert_eq!(last.assign(rule("c", "y"), "uid 0", at).expect("assigned").id, 3);
        assert_eq!(fs::read_dir(dir.path()).expect("a dir").count(), 1, "no leftovers");
    }

    #[test]
    fn a_damaged_file_is_told_and_kept() {
        let good = r#"{"version":1,"next_id":2,"rules":[{"id":1,"by":"x","at_unix_seconds":1,"rule":RULE}]}"#;
        for (text, says) in [
            ("{".to_owned(), "EOF"),
            (String::new(), "EOF"),
            (good.replace("RULE", r#"{"branch":"a"}"#).replace("version\":1", "version\":2"), "version 2"),
            (good.replace("RULE", r#"{"branch":"a b"}"#), "rule 1"),
            (good.replace("RULE", r#"{"branch":"a","acount":"b"}"#), "acount"),
            (good.replace("RULE", r#"{"branch":"a","address":"nowhere"}"#), "nowhere"),
            (
                good.replace("RULE", r#"{"branch":"a"}"#)
                    .replace("seconds\":1", &format!("seconds\":{}", u64::MAX)),
                "range",
            ),
        ] {
            let dir = tempfile::tempdir().expect("a temp dir");
            let path = dir.path().join(FILE);
            fs::write(&path, &text).expect("written");
            let error = AssignedRules::load(dir.path()).expect_err("damaged").to_string();
            assert!(error.contains(says) && error.contains("routes.json"), "{error}");
            assert_eq!(fs::read_to_string(&path).expect("still there"), text);
        }
    }

    #[test]
    fn what_cannot_be_written_changes_nothing() {
        let dir = tempfile::tempdir().expect("a temp dir");
        let rules = AssignedRules::load(&dir.path().join("gone")).expect("none yet");
        let error = rules.assign(rule("a", "x"), "uid 0", UNIX_EPOCH).expect_err("no such dir");
        assert!(matches!(error, AssignedError::Write { .. }), "{error}");
        assert!(rules.all().is_empty());
        let error = rules.assign(rule("a", "{nothing}"), "uid 0", UNIX_EPOCH).expect_err("no such variable");
        assert!(error.to_string().contains("{nothing}"), "{error}");
    }
}
