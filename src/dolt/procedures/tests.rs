use super::*;

fn with(procedure: &str, args: &[&str]) -> Call {
    let args: Vec<String> = args.iter().map(|&arg| arg.to_owned()).collect();
    call(procedure, Some(&args)).unwrap()
}

fn branches(current: bool, named: &[&str]) -> Takes {
    Takes::Branches { current, named: named.iter().map(|&name| name.to_owned()).collect() }
}

#[test]
fn the_tables_are_sorted() {
    assert!(PROCEDURES.windows(2).all(|pair| pair[0].0 < pair[1].0));
    assert!(FUNCTIONS.windows(2).all(|pair| pair[0].0 < pair[1].0));
}

#[test]
fn what_is_taken_follows_from_the_arguments() {
    for (procedure, args, takes) in [
        ("dolt_commit", &["-Am", "a message"][..], branches(true, &[])),
        ("dolt_commit", &["-m", "x", "--branch", "b"], branches(true, &["b"])),
        ("dolt_commit", &["-m", "x", "-branch=b"], branches(true, &["b"])),
        ("dolt_add", &["."], branches(true, &[])),
        ("dolt_add", &[".", "--branch=b"], branches(true, &["b"])),
        ("dolt_branch", &["new"], branches(false, &["new"])),
        ("dolt_branch", &["new", "HEAD~1"], branches(false, &["new", "HEAD~1"])),
        ("dolt_branch", &["-f", "b", "main"], branches(false, &["b", "main"])),
        ("dolt_branch", &["-D", "a", "b"], branches(false, &["a", "b"])),
        ("dolt_branch", &["-df", "a"], branches(false, &["a"])),
        ("dolt_branch", &["--track=direct", "b"], branches(false, &["direct", "b"])),
        ("dolt_branch", &["-?", "a"], Takes::Database),
        ("dolt_checkout", &["b"], Takes::Checkout("b".to_owned())),
        ("dolt_checkout", &["."], branches(true, &["."])),
        ("dolt_checkout", &["-b", "b"], branches(true, &["b"])),
        ("dolt_checkout", &["-bb"], Takes::Database),
        ("dolt_checkout", &["--", "t"], branches(true, &["t"])),
        ("dolt_checkout", &["main", "t"], branches(true, &["main", "t"])),
        ("dolt_merge", &["b"], branches(true, &[])),
        ("dolt_rebase", &["main"], Takes::Database),
        ("dolt_pull", &["origin"], branches(true, &[])),
        ("dolt_pull", &["--rebase", "origin"], Takes::Database),
        ("dolt_backup", &["sync", "x"], Takes::Nothing),
        ("dolt_backup", &["restore", "file:///x", "db"], Takes::Server),
        ("dolt_clone", &["file:///x"], Takes::Server),
        ("dolt_push", &["origin", "main"], Takes::Nothing),
    ] {
        assert_eq!(with(procedure, args).takes, takes, "{procedure} {args:?}");
    }
    assert_eq!(call("dolt_commit", None).unwrap().takes, Takes::Database);
    assert_eq!(call("dolt_branch", None).unwrap().takes, Takes::Database);
    assert_eq!(call("dolt_merge", None).unwrap().takes, branches(true, &[]));
    assert_eq!(call("dolt_backup", None).unwrap().takes, Takes::Server);
    assert_eq!(call("dolt_nosuch", Some(&[])), None);
}

#[test]
fn where_a_push_goes_and_how() {
    let of = |args: &[&str]| {
        let args: Vec<String> = args.iter().map(|arg| (*arg).to_owned()).collect();
        (pushed_to(&args).map(str::to_owned), is_forced(&args))
    };
    let origin = Some("origin".to_owned());
    assert_eq!(of(&["origin", "main"]), (origin.clone(), false));
    assert_eq!(of(&["--force", "--user", "bob", "origin", "main"]), (origin.clone(), true));
    assert_eq!(of(&["-u", "--user=bob", "origin"]), (origin, false));
    assert_eq!(of(&["--force"]), (None, true));
    assert_eq!(of(&[]), (None, false));
}

#[test]
fn a_pull_is_a_fetch_and_a_merge() {
    let pull = with("dolt_pull", &["--user", "u", "--prune", "--no-ff", "origin", "main"]);
    let fetch = ["--user", "u", "origin", "main"].map(str::to_owned).to_vec();
    assert_eq!(pull.network, Network::FetchFirst(fetch));
    assert!(pull.commits && pull.dolt_commits && pull.changes_names && !pull.moves_head);
    assert!(with("dolt_pull", &["--rebase"]).moves_head);
    assert_eq!(call("dolt_pull", None).unwrap().network, Network::Whole);
    assert_eq!(with("dolt_push", &["origin"]).network, Network::Whole);
    assert_eq!(with("dolt_merge", &["b"]).network, Network::None);
}

#[test]
fn what_writes() {
    let is = |procedure: &str, args: &[&str]| {
        let args: Vec<String> = args.iter().map(|&arg| arg.to_owned()).collect();
        writes(procedure, Some(&args))
    };
    assert!(is("dolt_commit", &["-Am", "x"]) && is("dolt_checkout", &["-b", "x"]) && is("mine", &[]));
    assert!(is("dolt_checkout", &["."]) && is("dolt_backup", &["sync", "b"]) && is("dolt_tag", &["v1"]));
    assert!(!is("dolt_checkout", &["x"]) && !is("dolt_fetch", &[]) && !is("dolt_backup", &["add", "b", "u"]));
    assert!(writes("dolt_checkout", None));
}

#[test]
fn what_functions_and_system_tables_read() {
    assert_eq!(function("dolt_log"), Some(Reads::Database));
    assert_eq!(function("dolt_query_diff"), Some(Reads::Query));
    assert_eq!(function("dolt_new_in_a_later_dolt"), Some(Reads::Query));
    assert_eq!(function("count"), None);
    assert_eq!(system_table("dolt_log"), Some(Reads::Branch));
    assert_eq!(system_table("dolt_conflicts_t"), Some(Reads::Branch));
    assert_eq!(system_table("dolt_commit_diff_t"), Some(Reads::Database));
    assert_eq!(system_table("dolt_branches"), Some(Reads::Database));
    assert_eq!(system_table("t"), None);
}
