//! Owns which lane rules hold for a connection, by the conditions that routing rules have too.
//! Always: a condition on something that isn't known doesn't hold; the first rule that says counts.

use super::rules::{Absent, Facts, holds};
use crate::config::{LaneRules, LanesConfig};
use crate::session::identity::Identity;

impl LanesConfig {
    /// What holds for this client while `database` is its current one.
    pub fn choose(&self, identity: &Identity, database: Option<&str>) -> LaneRules {
        let facts = self.facts(identity, database);
        let matching = || self.rules.iter().filter(|rule| holds(&rule.conditions, &facts).is_ok());
        let default = LaneRules { auto_commit: self.auto_commit, ..LaneRules::default() };
        LaneRules {
            own_rows: matching().find_map(|rule| rule.own_rows).unwrap_or(default.own_rows),
            auto_commit: matching().find_map(|rule| rule.auto_commit).unwrap_or(default.auto_commit),
        }
    }

    /// Whether knowing the client's process could change what `choose` says.
    pub fn needs_process(&self, identity: &Identity, database: Option<&str>) -> bool {
        let facts = self.facts(identity, database);
        let (mut own_rows, mut auto_commit) = (false, false);
        for rule in &self.rules {
            let adds = rule.own_rows.is_some() && !own_rows || rule.auto_commit.is_some() && !auto_commit;
            match holds(&rule.conditions, &facts) {
                Err(Absent::NotLooked) if adds => return true,
                Err(_) => {}
                Ok(()) => {
                    own_rows |= rule.own_rows.is_some();
                    auto_commit |= rule.auto_commit.is_some();
                }
            }
        }
        false
    }

    fn facts<'a>(&'a self, identity: &'a Identity, database: Option<&'a str>) -> Facts<'a> {
        Facts { identity, database: database.unwrap_or_default(), env_exclude: &self.env_exclude }
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use super::*;
    use crate::config::{AutoCommit, Conditions, Glob, LaneRule, OwnRows};
    use crate::session::identity::{PeerAddress, PeerProcess, ProcessEnvironment, ProcessIdentity};

    fn lanes(rules: Vec<LaneRule>) -> LanesConfig {
        let env_exclude = vec!["gt".to_owned()];
        LanesConfig { auto_commit: AutoCommit::Dolt, rules, env_exclude, ..LanesConfig::default() }
    }

    fn rule(conditions: Conditions, own_rows: Option<OwnRows>, auto_commit: Option<AutoCommit>) -> LaneRule {
        LaneRule { conditions, own_rows, auto_commit, origin: "b.toml:1".to_owned() }
    }

    fn glob(text: &str) -> Option<Glob> {
        Some(Glob::new(text))
    }

    fn program(name: &str) -> Conditions {
        Conditions { program: glob(name), ..Conditions::default() }
    }

    fn identity(process: PeerProcess) -> Identity {
        Identity {
            user: "root".to_owned(),
            user_branch: None,
            attributes: BTreeMap::new(),
            address: PeerAddress::Unix,
            process,
        }
    }

    fn process(program: &str) -> PeerProcess {
        let environment = ProcessEnvironment { bd_actor: Some("mayor".to_owned()), ..Default::default() };
        PeerProcess::Found(ProcessIdentity {
            pid: 1,
            start_ticks: 1,
            program: program.to_owned(),
            environment: Ok(environment),
        })
    }

    #[test]
    fn the_first_match_counts_for_each_setting() {
        let database = Conditions { database: glob("led*"), ..Conditions::default() };
        let config = lanes(vec![
            rule(program("bd"), Some(OwnRows::Always), None),
            rule(program("b*"), Some(OwnRows::Never), Some(AutoCommit::Sql)),
            rule(database, Some(OwnRows::Never), None),
        ]);
        let chosen = |program: &str, database: Option<&str>| {
            let rules = config.choose(&identity(process(program)), database);
            (rules.own_rows, rules.auto_commit)
        };
        assert_eq!(chosen("bd", Some("ledger")), (OwnRows::Always, AutoCommit::Sql));
        assert_eq!(chosen("bx", Some("x")), (OwnRows::Never, AutoCommit::Sql));
        assert_eq!(chosen("python3", Some("LEDGER")), (OwnRows::Never, AutoCommit::Dolt));
        assert_eq!(chosen("python3", Some("x")), (OwnRows::Learn, AutoCommit::Dolt));
        assert_eq!(chosen("python3", None), (OwnRows::Learn, AutoCommit::Dolt));
    }

    #[test]
    fn programs_that_speak_for_others_lend_nobody_their_environment() {
        let actor = Conditions { actor: glob("mayor"), ..Conditions::default() };
        let config = lanes(vec![rule(actor, Some(OwnRows::Never), None)]);
        assert_eq!(config.choose(&identity(process("bd")), None).own_rows, OwnRows::Never);
        assert_eq!(config.choose(&identity(process("gt")), None).own_rows, OwnRows::Learn);
    }

    #[test]
    fn a_process_is_looked_up_only_where_it_could_matter() {
        let not_looked = identity(PeerProcess::NotLooked);
        let all = || Conditions::default();
        let (always, sql) = (Some(OwnRows::Always), Some(AutoCommit::Sql));
        let other = Conditions { account: glob("other"), ..program("bd") };
        for (rules, want) in [
            (vec![], false),
            (vec![rule(program("bd"), always, None)], true),
            (vec![rule(all(), always, sql), rule(program("bd"), always, None)], false),
            (vec![rule(all(), always, None), rule(program("bd"), always, None)], false),
            (vec![rule(all(), always, None), rule(program("bd"), always, sql)], true),
            (vec![rule(other, always, None)], false),
        ] {
            let config = lanes(rules);
            assert_eq!(config.needs_process(&not_looked, Some("x")), want, "{:?}", config.rules);
            assert!(!config.needs_process(&identity(process("bd")), Some("x")), "it was looked up");
            if !want {
                let with = config.choose(&identity(process("bd")), Some("x"));
                assert_eq!(config.choose(&not_looked, Some("x")), with);
            }
        }
    }
}
