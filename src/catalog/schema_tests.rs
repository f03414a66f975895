use super::schema::*;

fn object(kind: ObjectKind, name: &str, text: &str) -> Object {
    Object { kind, name: name.to_owned(), text: text.to_owned() }
}

fn names<'a>(names: impl IntoIterator<Item = &'a String>) -> Vec<&'a str> {
    names.into_iter().map(String::as_str).collect()
}

#[test]
fn what_changes_spreads_through_views_triggers_and_procedures() {
    let schema = Schema::of(Facts {
        objects: vec![
            object(ObjectKind::View, "Late", "CREATE VIEW Late AS SELECT * FROM `now_view`"),
            object(ObjectKind::View, "now_view", "CREATE VIEW now_view AS SELECT NOW() AS n"),
            object(ObjectKind::View, "of_stamped", "CREATE VIEW of_stamped AS SELECT * FROM stamped"),
            object(ObjectKind::Trigger, "r", "CREATE TRIGGER r BEFORE INSERT ON d.`T` FOR EACH ROW CALL p()"),
            object(ObjectKind::Procedure, "p", "CREATE PROCEDURE p() INSERT INTO stamped (a) VALUES (1)"),
            object(ObjectKind::Procedure, "q", "CREATE PROCEDURE q() SELECT 'NOW()'"),
            object(ObjectKind::Event, "e", "CREATE EVENT e ON SCHEDULE EVERY 1 DAY DO DELETE FROM other.t"),
        ],
        defaults: vec![
            ("stamped".to_owned(), "CURRENT_TIMESTAMP".to_owned()),
            ("keyed".to_owned(), "uuid()".to_owned()),
            ("plain".to_owned(), "'now()'".to_owned()),
            ("Late".to_owned(), "CURRENT_TIMESTAMP".to_owned()),
        ],
        ..Facts::default()
    });
    assert_eq!(names(&schema.volatile_views), ["late", "now_view"]);
    assert_eq!(names(&schema.volatile_tables), ["keyed", "stamped", "t"]);
    assert_eq!(names(&schema.volatile_procedures), ["p"]);
    assert_eq!(names(&schema.triggers_on), ["t"]);
    assert_eq!(names(&schema.views), ["late", "now_view", "of_stamped"]);
    assert_eq!(schema.by_routines.names.len(), 1, "an event runs in no session: {:?}", schema.by_routines);
    for (text, writes, volatile) in [
        ("SELECT * FROM LATE", false, true),
        ("SELECT * FROM of_stamped", false, false),
        ("SELECT * FROM keyed", false, false),
        ("INSERT INTO Keyed (a) VALUES (1)", true, true),
        ("INSERT INTO `t` VALUES (1)", true, true),
        ("CALL p()", true, true),
        ("CALL q()", true, false),
        ("INSERT INTO plain VALUES ('keyed')", true, false),
    ] {
        assert_eq!(schema.is_volatile(text.as_bytes(), writes), volatile, "{text}");
    }
    assert!(Schema::unknown().is_volatile(b"SELECT 1", false));
}

#[test]
fn what_texts_reach() {
    let schema = Schema::of(Facts {
        objects: vec![
            object(ObjectKind::View, "v", "CREATE VIEW v AS SELECT * FROM `Other/b`.t, x.y AS OF 'z'"),
            object(
                ObjectKind::Procedure,
                "p",
                "CREATE PROCEDURE p() BEGIN CALL DOLT_COMMIT('-Am', 'x'); SELECT 1; END",
            ),
        ],
        ..Facts::default()
    });
    let other = ("other".to_owned(), Some("b".to_owned()));
    assert!(
        schema.by_views.names.contains(&other) && schema.by_views.names.contains(&("x".to_owned(), None))
    );
    assert!(schema.by_views.branches && !schema.by_views.anything && !schema.unattributable);
    assert_eq!(schema.by_routines, Reach::default());
    assert_eq!(names(&schema.calls), ["dolt_commit"]);
    for text in [
        "CREATE PROCEDURE p(q TEXT) BEGIN PREPARE s FROM q; EXECUTE s; END",
        "CREATE PROCEDURE p() EXECUTE s",
    ] {
        let objects = vec![object(ObjectKind::Procedure, "p", text)];
        assert!(Schema::of(Facts { objects, ..Facts::default() }).unattributable, "{text}");
    }
    let objects = vec![object(ObjectKind::Trigger, "r", "CREATE TRIGGER r")];
    assert!(Schema::of(Facts { objects, ..Facts::default() }).unattributable, "its table is not found");
}

#[test]
fn patterns_of_nonlocal_tables() {
    let schema = |pattern: &str| Schema {
        nonlocal: vec![Nonlocal { pattern: pattern.to_owned(), target: "main".to_owned() }],
        ..Schema::default()
    };
    for (pattern, table, is) in [
        ("global", "global", true),
        ("Global", "global", true),
        ("global", "globals", false),
        ("g%", "global", true),
        ("g*l", "global", true),
        ("g*b", "global", false),
        ("%a?%", "global", true),
        ("?", "g", true),
        ("?", "", false),
        ("%", "anything", true),
        ("*a*a*b", "aaaaaaaaac", false),
        ("wisp_%", "wispx", false),
    ] {
        assert_eq!(schema(pattern).is_nonlocal(table), is, "{pattern} {table}");
    }
    let targets = |text: &[u8]| schema("g_%").nonlocal_targets(text).len();
    assert_eq!((targets(b"UPDATE `G_1` SET a = 1"), targets(b"UPDATE t SET a = 'g_1'")), (1, 0));
    let in_texts = Schema::of(Facts {
        objects: vec![object(ObjectKind::View, "v", "CREATE VIEW v AS SELECT * FROM g_1")],
        nonlocal: schema("g_%").nonlocal,
        ..Facts::default()
    });
    assert_eq!(in_texts.nonlocal_targets(b"SELECT * FROM v").len(), 1);
}
