//! Owns a database whose completed rows are published, in a Branchline of the test's own process. Its Dolt and the public
//! repository are real. Does not assert anything but that what should succeed does.

use std::path::PathBuf;

use branchline::config::{LedgerConfig, RemoteOf};
use branchline::observe::progress::Progress;
use branchline::remote::ledger::state::Noted;
use branchline::remote::ledger::{self, How, LedgerError, Published, Rule, Withdrawn};

use super::client::Client;
use super::embedded::Embedded;
use super::public::PublicRemote;

/// A database `beads` whose completed issues are published.
pub struct Town {
    pub branchline: Embedded,
    pub public: PublicRemote,
    pub rule: Rule,
}

impl Town {
    pub fn start() -> Self {
        let public = PublicRemote::new();
        let config = LedgerConfig {
            remote: public.url(),
            tables: vec!["issues".to_owned()],
            filter: "status = 'closed'".to_owned(),
            columns_excluded: vec!["remarks".to_owned(), "price_of".to_owned()],
        };
        let branchline = Embedded::start(|_| {});
        let mut direct = branchline.direct("");
        for sql in [
            "CREATE DATABASE beads",
            "USE beads",
            "CREATE TABLE issues (id VARCHAR(20) PRIMARY KEY, title TEXT COMMENT 'COMMENT-OF-A-COLUMN', \
             status ENUM('open','closed','STATE-THAT-IS-SECRET') DEFAULT 'open', remarks TEXT DEFAULT ('DEFAULT-OF-NOTES'), \
             price_of VARCHAR(20), meta JSON, closed_at DATETIME, owner VARCHAR(40) DEFAULT 'DEFAULT-OF-OWNER', \
             CHECK (title <> 'CHECKED-TEXT')) COMMENT 'COMMENT-OF-THE-TABLE'",
            "CREATE TABLE private (id INT PRIMARY KEY, text TEXT)",
            "INSERT INTO private VALUES (1, 'TEXT-OF-ANOTHER-TABLE')",
            "CALL DOLT_COMMIT('-Am', 'COMMIT-MESSAGE-OF-THE-SOURCE')",
        ] {
            direct.run(sql);
        }
        let town = Self { branchline, rule: Rule::new("beads", config), public };
        town.set(&town.rule);
        town
    }

    /// The settings say this from now on.
    pub fn set(&self, rule: &Rule) {
        let remotes = &self.branchline.context.remotes;
        let mut settings = remotes.settings().as_ref().clone();
        let of = RemoteOf {
            database: rule.database.clone(),
            url: None,
            name: "origin".to_owned(),
            push: true,
            heartbeat: true,
            on_behind: None,
            peers: Vec::new(),
            ledger: Some(rule.config.clone()),
            origin: "a test".to_owned(),
        };
        settings.databases.insert(rule.database.clone(), of);
        remotes.set_settings(settings, Vec::new());
    }

    pub fn direct(&self) -> Client {
        self.branchline.direct("beads")
    }

    pub fn ledger(&self) -> Client {
        self.branchline.direct("beads_ledger")
    }

    /// These statements, and a Dolt commit.
    pub fn commit(&self, statements: &[&str]) {
        let mut direct = self.direct();
        for sql in statements {
            direct.run(sql);
        }
        // A default that a row has taken is a value like any other.
        direct.run("UPDATE issues SET owner = NULL");
        direct.run("CALL DOLT_COMMIT('-Am', 'COMMIT-MESSAGE-OF-THE-SOURCE')");
    }

    /// By these settings, which stay.
    pub fn try_publish(&self, rule: &Rule, how: How) -> Result<Published, LedgerError> {
        self.set(rule);
        self.branchline.run(ledger::publish(
            &self.branchline.context,
            rule.clone(),
            how,
            &Progress::default(),
        ))
    }

    pub fn rebuild(&self, rule: &Rule) -> Result<Published, LedgerError> {
        self.set(rule);
        let context = &self.branchline.context;
        self.branchline.run(ledger::rebuild(context, rule.clone(), &Progress::default()))
    }

    pub fn withdraw(&self, key: &[&str]) -> Result<Withdrawn, LedgerError> {
        let key: Vec<String> = key.iter().map(|value| (*value).to_owned()).collect();
        let rule = ledger::rule_of(&self.branchline.context, "beads").expect("it has a ledger");
        let context = &self.branchline.context;
        self.branchline.run(ledger::withdraw(context, rule, "issues", &key, &Progress::default()))
    }

    /// What is known of ledgers, in the state directory.
    pub fn notes(&self) -> PathBuf {
        self.branchline.context.config.state_dir.join("ledgers.json")
    }

    /// The ledger's database is lost, and all that was known of it.
    pub fn lose(&self, ledger: &str) {
        self.branchline.direct("").run(&format!("DROP DATABASE {ledger}"));
        let remotes = &self.branchline.context.remotes;
        remotes.records.forget_seen(ledger);
        remotes.ledgers.change(ledger, |noted| *noted = Noted::default());
    }

    pub fn publish(&self) -> Published {
        self.try_publish(&self.rule, How::default()).unwrap_or_else(|error| panic!("{error}"))
    }

    /// It is not published, and this is said.
    pub fn refused(&self, rule: &Rule, texts: &[&str]) {
        let error = self.try_publish(rule, How::default()).expect_err("it is refused").to_string();
        for text in texts {
            assert!(error.contains(text), "{text:?} is not in: {error}");
        }
    }

    pub fn with(&self, change: impl FnOnce(&mut LedgerConfig)) -> Rule {
        let mut config = self.rule.config.clone();
        change(&mut config);
        Rule::new("beads", config)
    }

    pub fn rows(&self) -> String {
        self.ledger().row("SELECT COALESCE(GROUP_CONCAT(CONCAT(id, '=', title) ORDER BY id), '') FROM issues")
    }

    pub fn commits(&self) -> String {
        self.ledger().row("SELECT COUNT(*) FROM dolt_log")
    }
}

pub const INSERT: &str = "INSERT INTO issues (id, title, status, remarks, price_of) VALUES";
