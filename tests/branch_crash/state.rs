//! Owns what is there after an operation, in a form that is the same for every database: rows, logs, branches, tags, and
//! where sessions are put.

use std::collections::BTreeMap;

use super::place::{BRANCH, Place};
use super::support::client::{Client, Login};

/// What is compared, by name.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Part(BTreeMap<String, Vec<String>>);

/// Everything that must be the same.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct State {
    pub main: Part,
    rest: Part,
}

const TABLES: [(&str, &str); 3] = [
    ("issues", "id, title, status, CAST(labels AS CHAR), updated_at"),
    ("notes", "id, note"),
    ("wisps", "id, note"),
];

/// Hashes, ids and times differ each time.
fn same_each_time(text: &str, database: &str) -> String {
    let text = text.replace(database, "DATABASE");
    let mut out = String::new();
    let mut word = String::new();
    for c in text.chars().chain([' ']) {
        if c.is_ascii_alphanumeric() {
            word.push(c);
            continue;
        }
        let has_digit = word.bytes().any(|byte| byte.is_ascii_digit());
        let is_number = word.len() >= 9 && word.bytes().all(|byte| byte.is_ascii_digit());
        out += if is_number || (has_digit && word.len() >= 8) { "…" } else { &word };
        word.clear();
        out.push(c);
    }
    out.trim_end().to_owned()
}

impl Part {
    fn ask(&mut self, client: &mut Client, name: &str, sql: &str, database: &str) {
        let mut told: Vec<String> = match client.query(sql) {
            Ok(answer) => {
                let row = |row: &Vec<Option<String>>| {
                    row.iter().map(|value| value.as_deref().unwrap_or("NULL")).collect::<Vec<_>>().join("|")
                };
                answer.rows.iter().map(row).collect()
            }
            Err(error) => vec![error.to_string()],
        };
        for line in &mut told {
            *line = same_each_time(line, database);
        }
        self.0.insert(name.to_owned(), told);
    }

    /// Only what is not the same.
    pub fn differing(&self, other: &Self) -> String {
        let names: std::collections::BTreeSet<_> = self.0.keys().chain(other.0.keys()).collect();
        let differ = names.into_iter().filter(|name| self.0.get(*name) != other.0.get(*name));
        differ
            .map(|name| {
                format!("  {name}: {:#?}\n    instead of {:#?}\n", self.0.get(name), other.0.get(name))
            })
            .collect()
    }

    /// Rows, what is uncommitted, and the log of one branch.
    fn of_branch(&mut self, client: &mut Client, database: &str, branch: &str) {
        for (table, columns) in TABLES {
            let from = format!("SELECT {columns} FROM `{database}/{branch}`.{table}");
            self.ask(client, &format!("{branch}: {table}"), &format!("{from} ORDER BY id"), database);
            let committed = format!("{from} AS OF '{branch}' ORDER BY id");
            self.ask(client, &format!("{branch}: {table} in HEAD"), &committed, database);
        }
        let status =
            format!("SELECT table_name, staged, status FROM `{database}/{branch}`.dolt_status ORDER BY 1, 2");
        self.ask(client, &format!("{branch}: status"), &status, database);
        let log = format!(
            "SELECT message, (SELECT COUNT(*) FROM `{database}/{branch}`.dolt_commit_ancestors a \
             WHERE a.commit_hash = l.commit_hash AND a.parent_hash IS NOT NULL) FROM `{database}/{branch}`.dolt_log l"
        );
        self.ask(client, &format!("{branch}: log"), &log, database);
    }
}

impl State {
    /// As it is now.
    pub fn of(place: &mut Place, database: &str) -> Self {
        let mut client = place.client(&Login::root(database));
        let client = &mut client;
        let (mut main, mut rest) = (Part::default(), Part::default());
        main.of_branch(client, database, "main");
        let names = |client: &mut Client, sql: &str| -> Vec<String> {
            client.rows(sql).into_iter().flatten().flatten().collect()
        };
        let branches = names(client, "SELECT name FROM dolt_branches ORDER BY name");
        for branch in branches.iter().filter(|branch| *branch != "main") {
            rest.of_branch(client, database, branch);
        }
        rest.0.insert("branches".to_owned(), branches);
        let tags = names(client, "SELECT tag_name FROM dolt_tags ORDER BY tag_name");
        for tag in &tags {
            for (table, columns) in TABLES {
                let sql = format!("SELECT {columns} FROM `{database}/{tag}`.{table} ORDER BY id");
                let name = format!("{}: {table}", same_each_time(tag, database));
                rest.ask(client, &name, &sql, database);
            }
        }
        let tags = tags.iter().map(|tag| same_each_time(tag, database)).collect();
        rest.0.insert("tags".to_owned(), tags);
        Self { main, rest }
    }

    /// And where sessions are put: one that reads, and one that writes, which must not make the branch anew.
    pub fn with_sessions(place: &mut Place, database: &str) -> Self {
        let mut state = Self::of(place, database);
        let mut session = place.client(&Login::root(database).attribute("branch", BRANCH));
        let rest = &mut state.rest;
        rest.ask(&mut session, "session", "SELECT ACTIVE_BRANCH(), DATABASE()", database);
        session.run("INSERT INTO notes VALUES (9, 'afterwards')");
        rest.ask(&mut session, "session after its write", "SELECT ACTIVE_BRANCH(), DATABASE()", database);
        rest.ask(
            &mut session,
            "branches after its write",
            "SELECT name FROM dolt_branches ORDER BY name",
            database,
        );
        state
    }

    /// Panics with what is different.
    pub fn assert_is(&self, expected: &Self, what: &str) {
        assert!(
            self == expected,
            "{what}: not as undisturbed\n{}{}",
            self.main.differing(&expected.main),
            self.rest.differing(&expected.rest)
        );
    }
}
