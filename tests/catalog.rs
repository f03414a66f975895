//! What the catalogue says that names mean, against what a real Dolt then does: every branch whose hash a
//! statement moved is among those it was attributed to.

#[path = "support/settings.rs"]
mod settings;

use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use branchline::catalog::{Catalog, Schema};
use branchline::config::{Config, DoltSource};
use branchline::dolt::{ControlSession, Dolt};
use branchline::statement::attribution::{Attributed, Place};
use branchline::statement::effects::Effects;
use branchline::statement::lexer::DoubleQuotes;
use settings::settings;
use tempfile::TempDir;

const DEADLINE: Duration = Duration::from_secs(60);
/// All branches of the two databases.
const BRANCHES: [(&str, &str); 4] = [("d", "main"), ("d", "b"), ("e", "main"), ("e", "b")];

fn config(town: &Path) -> Config {
    settings(town, DoltSource::Private { binary: None })
}

/// The session of the tests is on d's branch b and on e's main.
fn head(database: &str, revision: Option<&str>) -> Option<String> {
    let on = match database {
        "d" => "b",
        "e" => "main",
        _ => return None,
    };
    let branch = revision.unwrap_or(on).to_lowercase();
    matches!(branch.as_str(), "main" | "b").then_some(branch)
}

struct Town {
    dolt: Dolt,
    catalog: Catalog,
    session: ControlSession,
    _directory: TempDir,
}

impl Town {
    async fn start(set_up: &[&str]) -> Self {
        let directory = tempfile::tempdir().expect("a temporary directory");
        for name in ["data", "state"] {
            std::fs::create_dir(directory.path().join(name)).expect("made");
        }
        let shim = PathBuf::from(env!("CARGO_BIN_EXE_branchline"));
        let config = config(directory.path());
        let started = tokio::time::timeout(DEADLINE, Dolt::start_through(&config, shim)).await;
        let dolt = started.expect("start ends in time").expect("Dolt starts");
        let catalog = Catalog::new(dolt.control().clone(), true);
        let session = dolt.control().dedicated().await.expect("a connection");
        let mut town = Self { dolt, catalog, session, _directory: directory };
        for sql in
            ["CREATE DATABASE d", "CREATE DATABASE e", "USE e", "CREATE TABLE log (id INT PRIMARY KEY)"]
        {
            town.run(sql).await;
        }
        town.run("CALL DOLT_COMMIT('-Am', 'e')").await;
        town.run("CALL DOLT_BRANCH('b')").await;
        for sql in ["USE d", "CREATE TABLE t (id INT PRIMARY KEY)", "CALL DOLT_COMMIT('-Am', 'd')"] {
            town.run(sql).await;
        }
        for sql in ["CALL DOLT_BRANCH('b')", "CALL DOLT_CHECKOUT('b')"].iter().chain(set_up) {
            town.run(sql).await;
        }
        town
    }

    async fn run(&mut self, sql: &str) {
        self.session.execute(sql, Vec::new()).await.unwrap_or_else(|error| panic!("{sql}: {error}"));
    }

    async fn schema(&self) -> Arc<Schema> {
        self.catalog.schema("d", "b").await
    }

    async fn attribute(&self, sql: &str) -> Attributed {
        let effects = Effects::of(sql.as_bytes(), true, DoubleQuotes::Text);
        let place = Place { database: Some("d"), head: &head };
        self.catalog.attribute(sql.as_bytes(), &effects, &place).await
    }

    /// Working set and HEAD of every branch.
    async fn hashes(&self) -> BTreeMap<(&'static str, &'static str), String> {
        let mut hashes = BTreeMap::new();
        for branch in BRANCHES {
            let mut session = self.dolt.control().dedicated().await.expect("a connection");
            let sql = format!("USE `{}/{}`", branch.0, branch.1);
            session.execute(&sql, Vec::new()).await.expect("used");
            let sql = "SELECT CONCAT(DOLT_HASHOF_DB(), DOLT_HASHOF('HEAD'))";
            let mut rows = session.rows(sql, Vec::new()).await.expect("hashes");
            hashes.insert(branch, rows.pop().and_then(|mut row| row.take(0)).expect("a hash"));
        }
        hashes
    }

    /// Runs it, and says which branches it moved.
    async fn moved_by(&mut self, sql: &str) -> BTreeSet<(&'static str, &'static str)> {
        let before = self.hashes().await;
        self.run(sql).await;
        let after = self.hashes().await;
        BRANCHES.into_iter().filter(|branch| before[branch] != after[branch]).collect()
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn every_branch_that_moves_was_attributed() {
    let mut town = Town::start(&[
        "CREATE TABLE copies (id INT PRIMARY KEY)",
        "CREATE TABLE child (id INT PRIMARY KEY, t INT, FOREIGN KEY (t) REFERENCES t (id) ON DELETE CASCADE)",
        "CREATE TRIGGER r AFTER INSERT ON t FOR EACH ROW INSERT INTO copies VALUES (NEW.id)",
        "CREATE PROCEDURE logs(x INT) INSERT INTO e.log VALUES (x)",
        "CREATE PROCEDURE to_main(x INT) INSERT INTO `d/main`.t VALUES (x)",
        "CREATE PROCEDURE commits() CALL DOLT_COMMIT('-Am', 'by a procedure')",
        "CREATE VIEW of_e AS SELECT * FROM e.log",
        "INSERT INTO dolt_nonlocal_tables (table_name, target_ref, options) VALUES ('common%', 'main', 'immediate')",
    ])
    .await;
    // What its rows name must be there.
    let mut main = town.dolt.control().dedicated().await.expect("a connection");
    for sql in ["USE `d/main`", "CREATE TABLE common (id INT PRIMARY KEY)"] {
        main.execute(sql, Vec::new()).await.expect(sql);
    }
    drop(main);
    town.catalog.invalidate_database("D");
    for (sql, moved) in [
        ("INSERT INTO t VALUES (1)", &[("d", "b")][..]),
        ("INSERT INTO child VALUES (1, 1)", &[("d", "b")]),
        ("DELETE FROM t WHERE id = 1", &[("d", "b")]),
        ("INSERT INTO e.log VALUES (1)", &[("e", "main")]),
        ("INSERT INTO `e/b`.log VALUES (1)", &[("e", "b")]),
        ("INSERT INTO `d/main`.t VALUES (7)", &[("d", "main")]),
        ("CALL logs(2)", &[("e", "main")]),
        ("CALL to_main(8)", &[("d", "main")]),
        ("INSERT INTO common VALUES (1)", &[("d", "main")]),
        ("UPDATE Common SET id = 2", &[("d", "main")]),
        ("CREATE TABLE e.more (id INT PRIMARY KEY)", &[("e", "main")]),
        ("CALL DOLT_COMMIT('-Am', 'x')", &[("d", "b")]),
        ("INSERT INTO t VALUES (2)", &[("d", "b")]),
        ("CALL commits()", &[("d", "b")]),
        ("INSERT INTO t VALUES (3)", &[("d", "b")]),
        ("CALL DOLT_RESET('--hard')", &[("d", "b")]),
        ("CALL DOLT_COMMIT('-Am', 'on main', '--branch', 'main')", &[("d", "main")]),
        ("CALL DOLT_MERGE('main')", &[("d", "b")]),
        ("CALL DOLT_BRANCH('-f', 'main', 'b')", &[("d", "main")]),
        ("CALL DOLT_COMMIT('--allow-empty', '-m', 'x', '--branch', 'main')", &[("d", "main")]),
        ("SELECT * FROM of_e", &[]),
    ] {
        let attributed = town.attribute(sql).await;
        assert!(!attributed.unattributable, "{sql}");
        let did = town.moved_by(sql).await;
        assert_eq!(did.iter().copied().collect::<Vec<_>>(), moved, "{sql}");
        for (database, branch) in did {
            assert!(
                attributed.writes.contains(database, branch),
                "{sql} moved {database}/{branch}: {attributed:?}"
            );
        }
        if moved.is_empty() {
            assert!(attributed.writes.is_empty(), "{sql}: {attributed:?}");
        }
    }
    let read = town.attribute("SELECT * FROM of_e").await;
    assert!(
        read.reads.contains("e", "main") && read.reads.contains("d", "b") && !read.reads.contains("e", "b")
    );
    // Coarse, but not everything.
    let write = town.attribute("UPDATE copies SET id = 5").await;
    assert!(!write.writes.contains("e", "b") && !write.writes.anything, "{write:?}");
    town.dolt.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn hidden_changing_values_are_known_and_change() {
    let mut town = Town::start(&[
        "CREATE TABLE by_default (id INT PRIMARY KEY, v VARCHAR(64) DEFAULT (UUID()))",
        "CREATE TABLE by_update (id INT PRIMARY KEY, n INT, v DATETIME(6) NULL ON UPDATE CURRENT_TIMESTAMP(6))",
        "CREATE TABLE by_trigger (id INT PRIMARY KEY, v VARCHAR(64))",
        "CREATE TRIGGER r BEFORE INSERT ON by_trigger FOR EACH ROW SET NEW.v = UUID()",
        "CREATE TABLE steady (id INT PRIMARY KEY, v VARCHAR(64) DEFAULT 'uuid()', at DATETIME)",
        "CREATE VIEW random AS SELECT RAND() AS v",
        "CREATE VIEW of_random AS SELECT v FROM random",
        "CREATE PROCEDURE keyed(x INT) INSERT INTO by_default (id) VALUES (x)",
    ])
    .await;
    let schema = town.schema().await;
    let of = |names: &BTreeSet<String>| names.iter().cloned().collect::<Vec<_>>().join(" ");
    assert_eq!(of(&schema.volatile_tables), "by_default by_trigger by_update");
    assert_eq!(of(&schema.volatile_views), "of_random random");
    assert_eq!(of(&schema.volatile_procedures), "keyed");
    assert_eq!(of(&schema.triggers_on), "by_trigger");
    town.run("INSERT INTO by_update (id, n) VALUES (1, 1)").await;
    // Twice the same from the same state: the branch's hash is another one exactly where values change.
    for (sql, changes) in [
        ("INSERT INTO by_default (id) VALUES (1)", true),
        ("UPDATE by_update SET n = n + 1", true),
        ("INSERT INTO by_trigger (id) VALUES (1)", true),
        ("CALL keyed(1)", true),
        ("INSERT INTO steady (id) VALUES (1)", false),
        ("INSERT INTO t VALUES (1)", false),
    ] {
        let mut hashes = Vec::new();
        for _ in 0..2 {
            town.run("BEGIN").await;
            town.run(sql).await;
            let mut rows = town.session.rows("SELECT DOLT_HASHOF_DB()", Vec::new()).await.expect("a hash");
            hashes.push(rows.pop().and_then(|mut row| row.take::<String, _>(0)).expect("a hash"));
            town.run("ROLLBACK").await;
        }
        assert_eq!(hashes[0] != hashes[1], changes, "{sql}");
        let attributed = town.attribute(sql).await;
        assert_eq!(attributed.hidden_changing, changes, "{sql}");
    }
    assert!(town.attribute("SELECT * FROM of_random").await.hidden_changing);
    assert!(!town.attribute("SELECT * FROM by_default").await.hidden_changing, "what is stored is stored");
    town.dolt.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_schema_is_read_once_until_it_is_invalidated() {
    let mut town = Town::start(&["INSERT INTO dolt_ignore VALUES ('w_%', 1), ('w_keep', 0)"]).await;
    assert!(town.catalog.known("d", "b").is_none());
    let both = tokio::join!(town.schema(), town.schema());
    assert!(Arc::ptr_eq(&both.0, &both.1), "two who ask at once get one");
    assert!(town.catalog.known("D", "b").is_some_and(|known| Arc::ptr_eq(&known, &both.0)));
    let ignored =
        BTreeSet::from_iter(both.0.ignored.iter().map(|(pattern, ignored)| (pattern.as_str(), *ignored)));
    assert_eq!(ignored, BTreeSet::from([("w_%", true), ("w_keep", false)]));
    town.run("CREATE VIEW v AS SELECT 1").await;
    assert!(town.schema().await.views.is_empty(), "it was not told");
    town.catalog.invalidate("d", "b");
    assert_eq!(town.schema().await.views.len(), 1);
    // Another branch has its own.
    assert!(town.catalog.schema("d", "main").await.views.is_empty());
    town.catalog.invalidate_all();
    assert!(town.catalog.known("d", "main").is_none());
    // What is not there can't be read.
    assert!(town.catalog.schema("d", "nosuch").await.is_unknown);
    // Somebody else may change a Dolt that is not ours, and a failure is no knowledge: both expire.
    let shared = Catalog::new(town.dolt.control().clone(), false);
    shared.schema("d", "b").await;
    assert!(shared.known("d", "b").is_some());
    town.dolt.stop().await;
    town.catalog.invalidate_all();
    assert!(town.schema().await.is_unknown, "Dolt is gone");
    tokio::time::timeout(DEADLINE, async {
        while shared.known("d", "b").is_some() {
            tokio::task::yield_now().await;
        }
    })
    .await
    .expect("it expires");
}
