use std::collections::BTreeMap;
use std::sync::Arc;

use super::attribution::*;
use super::effects::Effects;
use super::lexer::DoubleQuotes;
use crate::catalog::{Facts, Nonlocal, Object, ObjectKind, Schema};

/// Databases `d` and `e` have the branches main and b; the session is on d's b and e's main. `x` has main.
fn head(database: &str, revision: Option<&str>) -> Option<String> {
    let on = match database {
        "d" => "b",
        "e" | "x" => "main",
        _ => return None,
    };
    match revision {
        None => Some(on.to_owned()),
        Some(branch @ ("main" | "b")) => Some(branch.to_owned()),
        Some(_) => None,
    }
}

fn object(kind: ObjectKind, name: &str, text: &str) -> Object {
    Object { kind, name: name.to_owned(), text: text.to_owned() }
}

fn attribute(text: &str, schemas: &BTreeMap<&str, Arc<Schema>>, current: Option<&str>) -> Attributed {
    let effects = Effects::of(text.as_bytes(), true, DoubleQuotes::Text);
    let place = Place { database: current, head: &head };
    let plain = Arc::new(Schema::default());
    lanes_of(text.as_bytes(), &effects, &place, &|database, branch| {
        let key = format!("{database}/{branch}");
        Some(Arc::clone(schemas.get(key.as_str()).unwrap_or(&plain)))
    })
}

/// `d/b e/*`; `*` is anything.
fn show(touched: &Touched) -> String {
    let branches = touched.branches.iter().map(|(database, branch)| format!("{database}/{branch}"));
    let databases = touched.databases.iter().map(|database| format!("{database}/*"));
    let anything = touched.anything.then(|| "*".to_owned());
    branches.chain(databases).chain(anything).collect::<Vec<_>>().join(" ")
}

#[test]
fn texts_by_their_own_words() {
    for (text, writes, reads) in [
        ("SELECT 1", "", "d/b"),
        ("SELECT * FROM e.t, nosuch.t, t", "", "d/b e/main"),
        ("SELECT * FROM e.t FOR UPDATE", "d/b e/main", ""),
        ("SELECT * FROM t AS OF 'x'", "", "d/b d/*"),
        ("SELECT * FROM `e/b`.t", "", "d/b e/b"),
        ("SELECT * FROM `e/some-tag`.t", "", "d/b e/*"),
        ("SELECT * FROM dolt_test_run()", "", "d/b *"),
        ("SELECT * FROM information_schema.tables", "", "d/b *"),
        ("UPDATE t SET a = 1", "d/b", ""),
        ("INSERT INTO e.t SELECT * FROM t", "d/b e/main", ""),
        ("UPDATE `d/main`.t SET a = 1", "d/b d/main", ""),
        ("INSERT INTO t SELECT * FROM u AS OF 'main'", "d/b", "d/*"),
        ("CREATE TABLE e.t (a INT)", "d/b e/main", ""),
        ("CREATE TEMPORARY TABLE t AS SELECT * FROM e.t", "", "d/b e/main"),
        ("SELECT * FROM e.t INTO OUTFILE 'x'", "", "d/b e/main"),
        ("SET @x = (SELECT 1 FROM e.t)", "", "d/b e/main"),
        ("DROP DATABASE e", "d/b e/main d/* e/*", ""),
        ("CREATE DATABASE brand_new", "d/b brand_new/* d/*", ""),
        ("GRANT ALL ON *.* TO u", "", ""),
        ("BEGIN", "", ""),
        ("COMMIT", "", ""),
        ("USE e; UPDATE t SET a = 1", "e/main", ""),
        ("USE `e/b`; DELETE FROM t; SELECT 1", "e/b", ""),
        ("CALL mine()", "d/b", ""),
        ("CALL e.mine()", "d/b e/main", ""),
        ("CALL dolt_commit('-Am', 'e.t')", "d/b", ""),
        ("CALL dolt_commit('--branch', 'MAIN', '-Am', 'x')", "d/MAIN d/b", ""),
        ("CALL dolt_commit('--branch', 'main', '-Am', 'x')", "d/b d/main", ""),
        ("CALL dolt_branch('new')", "d/new", ""),
        ("CALL dolt_branch('-D', @x)", "d/*", ""),
        ("CALL dolt_checkout('main')", "", ""),
        ("CALL dolt_checkout('t')", "d/b d/t", ""),
        ("CALL dolt_fetch('origin')", "", ""),
        ("CALL dolt_clone('file:///x')", "*", ""),
        ("CALL dolt_rebase('main')", "d/*", ""),
    ] {
        let attributed = attribute(text, &BTreeMap::new(), Some("d"));
        assert_eq!(
            (show(&attributed.writes).as_str(), show(&attributed.reads).as_str()),
            (writes, reads),
            "{text}"
        );
        assert!(!attributed.unattributable && attributed.missing.is_empty(), "{text}");
    }
    for text in [
        "EXECUTE s",
        "nonsense",
        "SELECT 1; 'a",
        "CALL dolt_checkout('main'); UPDATE t SET a = 1",
        "SET @@d_head_ref = 'main'; UPDATE t SET a = 1",
        "CALL mine(); SELECT 1",
    ] {
        assert!(attribute(text, &BTreeMap::new(), Some("d")).unattributable, "{text}");
    }
    let without = attribute("UPDATE e.t SET a = 1", &BTreeMap::new(), None);
    assert_eq!(show(&without.writes), "e/main");
    let other_branch = attribute("UPDATE t SET a = 1", &BTreeMap::new(), Some("d/main"));
    assert_eq!(show(&other_branch.writes), "d/main");
}

#[test]
fn texts_by_what_names_mean() {
    let of = |objects: Vec<Object>| Arc::new(Schema::of(Facts { objects, ..Facts::default() }));
    let trigger = |body: &str| {
        vec![object(
            ObjectKind::Trigger,
            "r",
            &format!("CREATE TRIGGER r AFTER INSERT ON t FOR EACH ROW {body}"),
        )]
    };
    let d = |schema: &Arc<Schema>| BTreeMap::from([("d/b", Arc::clone(schema))]);
    let view = of(vec![object(ObjectKind::View, "v", "CREATE VIEW v AS SELECT * FROM e.w")]);
    assert_eq!(show(&attribute("SELECT * FROM v", &d(&view), Some("d")).reads), "d/b e/main");
    // By way of e to x.
    let schemas = BTreeMap::from([
        ("d/b", Arc::clone(&view)),
        ("e/main", of(vec![object(ObjectKind::View, "w", "CREATE VIEW w AS SELECT NOW() FROM x.t")])),
    ]);
    let both = attribute("SELECT * FROM v", &schemas, Some("d"));
    assert_eq!(show(&both.reads), "d/b e/main x/main");
    let schema = of(trigger("INSERT INTO e.log VALUES (UUID())"));
    let fired = attribute("INSERT INTO t VALUES (1)", &d(&schema), Some("d"));
    assert_eq!(show(&fired.writes), "d/b e/main");
    assert!(fired.hidden_changing && !attribute("SELECT * FROM t", &d(&schema), Some("d")).hidden_changing);
    let schema = of(trigger("CALL dynamic()"));
    assert!(!attribute("INSERT INTO t VALUES (1)", &d(&schema), Some("d")).unattributable);
    let dynamic = object(ObjectKind::Procedure, "dynamic", "CREATE PROCEDURE dynamic() EXECUTE s");
    let schema = of(vec![dynamic.clone()]);
    assert!(attribute("CALL dynamic()", &d(&schema), Some("d")).unattributable);
    // Nothing but a CALL or a trigger runs it.
    assert!(!attribute("INSERT INTO t VALUES (1)", &d(&schema), Some("d")).unattributable);
    let schema = of([trigger("CALL dynamic()"), vec![dynamic]].concat());
    assert!(attribute("INSERT INTO t VALUES (1)", &d(&schema), Some("d")).unattributable);
    assert!(!attribute("SELECT 1", &d(&schema), Some("d")).unattributable);
    let commits = "CREATE PROCEDURE p() BEGIN CALL DOLT_CHECKOUT('x'); CALL DOLT_COMMIT('-Am', 'x'); END";
    let schema = of(vec![object(ObjectKind::Procedure, "p", commits)]);
    assert_eq!(show(&attribute("CALL p()", &d(&schema), Some("d")).writes), "d/b d/*");
    let nonlocal = vec![Nonlocal { pattern: "g_%".to_owned(), target: "main".to_owned() }];
    let schema = Arc::new(Schema { nonlocal, ..Schema::default() });
    assert_eq!(show(&attribute("UPDATE g_1 SET a = 1", &d(&schema), Some("d")).writes), "d/b d/main");
    assert_eq!(show(&attribute("UPDATE t SET a = 1", &d(&schema), Some("d")).writes), "d/b");
    let unknown = attribute("SELECT 1", &d(&Arc::new(Schema::unknown())), Some("d"));
    assert!(unknown.unattributable && unknown.hidden_changing);
}

#[test]
fn what_is_not_loaded_is_asked_for() {
    let text = b"SELECT * FROM e.t";
    let effects = Effects::of(text, true, DoubleQuotes::Text);
    let place = Place { database: Some("d"), head: &head };
    let attributed = lanes_of(text, &effects, &place, &|database, _| {
        (database == "d").then(|| Arc::new(Schema::default()))
    });
    assert_eq!(attributed.missing.into_iter().collect::<Vec<_>>(), [("e".to_owned(), "main".to_owned())]);
}
