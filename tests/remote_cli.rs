//! `branchline remote …` and `branchline push` as people and scripts use them: the real binary, Dolt and git; what is
//! printed, how it ends, and what is in the repository afterwards.

mod support;

use std::path::Path;
use std::process::{Command, Stdio};
use std::time::Duration;

use serde_json::Value as Json;
use support::branchline::Branchline;
use support::client::{Client, Login};
use support::git::Repository;
use support::town::Town;
use support::watch;

const DEADLINE: Duration = Duration::from_secs(60);

/// Short times: a push follows a commit within a second.
const QUICK: &str = "[remotes]\nquiet_s = 0\nheartbeat_s = 3600\nbackoff_min_s = 1\n";

/// A town with databases, each with a table and one commit.
struct Rigs(Town);

/// How a command ended.
struct Said {
    code: Option<i32>,
    text: String,
}

impl Rigs {
    fn start(config: &str, databases: &[&str]) -> Self {
        let rigs = Self(Town::start(config));
        for database in databases {
            rigs.0.database(database, &[]);
        }
        rigs
    }

    fn say(&self, arguments: &[&str]) -> Said {
        let output = Command::new(env!("CARGO_BIN_EXE_branchline"))
            .arg("--state-dir")
            .arg(self.0.branchline.state_dir())
            .args(arguments)
            .stdin(Stdio::null())
            .output()
            .expect("branchline runs");
        let [stdout, stderr] =
            [&output.stdout, &output.stderr].map(|bytes| String::from_utf8_lossy(bytes).into_owned());
        Said { code: output.status.code(), text: stdout + &stderr }
    }

    fn done(&self, arguments: &[&str]) -> String {
        let said = self.say(arguments);
        assert_eq!(said.code, Some(0), "{arguments:?}: {}", said.text);
        said.text
    }

    fn refused(&self, arguments: &[&str], texts: &[&str]) {
        let said = self.say(arguments);
        assert_eq!(said.code, Some(1), "{arguments:?}: {}", said.text);
        for text in texts {
            assert!(said.text.contains(text), "{arguments:?} doesn't say {text:?}: {}", said.text);
        }
    }

    /// The row of `remote status` of a database.
    fn status(&self, database: &str) -> Json {
        self.0.command(&["remote", "status", database])[0].clone()
    }

    fn await_state(&self, database: &str, state: &str) -> Json {
        watch::until(DEADLINE, &format!("{database} is {state}"), || {
            Some(self.status(database)).filter(|row| row["state"] == state)
        })
    }

    fn write(&self, database: &str, id: u32) -> Client {
        let mut client = self.0.client(database);
        client.run(&format!("INSERT INTO t VALUES ({id}, {id}, 'x')"));
        client.run(&format!("CALL DOLT_COMMIT('-Am', 'row {id}')"));
        client
    }

    fn commits(&self, database: &str) -> Vec<Json> {
        let log = self.0.command(&["remote", "log", database]);
        log.as_array().expect("a list").clone()
    }
}

fn has_main_of(repository: &Repository, client: &mut Client) -> bool {
    client.run("CALL DOLT_FETCH('origin', 'main')");
    repository.data().is_some()
        && client.row("SELECT dolt_hashof('main') = dolt_hashof('origin/main')") == "1"
}

#[test]
fn a_database_gets_a_remote_and_each_commit_on_main_reaches_it() {
    let rigs = Rigs::start(QUICK, &["beads"]);
    let directory = tempfile::tempdir().expect("a temporary directory");
    let repository = Repository::empty(&directory.path().join("beads.git"));
    let url = repository.file_url();
    assert!(rigs.done(&["remote", "list"]).contains("no remotes"));
    rigs.refused(&["push"], &["no database has a remote"]);
    rigs.refused(&["push", "beads"], &["beads has no remote", "branchline remote add"]);
    rigs.refused(&["remote", "add", "beads", &url], &["has no branch", "--init"]);
    assert!(
        rigs.0.client("beads").rows("SELECT * FROM dolt_remotes").is_empty(),
        "a refusal changes nothing"
    );
    let added = rigs.done(&["remote", "add", "beads", &url, "--init"]);
    assert!(added.contains("from now on, as origin") && added.contains("no Dolt data yet"), "{added}");
    rigs.await_state("beads", "up to date");
    assert!(has_main_of(&repository, &mut rigs.0.client("beads")));

    let mut client = rigs.write("beads", 1);
    watch::until(DEADLINE, "the commit is there", || has_main_of(&repository, &mut client).then_some(()));
    let pushes = rigs.commits("beads");
    let commit = pushes.iter().find(|push| push["why"] == "commit").expect("one by the commit");
    assert_eq!((&commit["outcome"], &commit["commits"]), (&"pushed".into(), &1.into()), "{pushes:?}");
    assert!(commit["bytes"].as_u64().is_some_and(|bytes| bytes > 0), "{commit}");

    // Rows that no Dolt commit has, and other branches, are nobody's business.
    let before = repository.data();
    client.run("INSERT INTO t VALUES (2, 2, 'uncommitted')");
    let mut polecat = rigs.0.on("polecat-a", "beads");
    polecat.run("INSERT INTO t VALUES (3, 3, 'x')");
    polecat.run("CALL DOLT_COMMIT('-Am', 'of a polecat')");
    let asked = rigs.0.command(&["push", "beads"]);
    assert_eq!(asked[0]["outcome"], "up to date", "{asked}");
    assert_eq!(repository.data(), before);

    let removed = rigs.done(&["remote", "remove", "beads"]);
    assert!(removed.contains("no more; what is there stays"), "{removed}");
    assert!(rigs.done(&["remote", "list"]).contains("no remotes"));
    assert!(client.rows("SELECT * FROM dolt_remotes").is_empty());
    rigs.refused(&["push", "beads"], &["beads has no remote"]);
    rigs.refused(&["remote", "remove", "beads"], &["beads has no remote"]);
    assert_eq!(repository.data(), before);
}

#[test]
fn what_can_be_told_beforehand_is_refused_and_changes_nothing() {
    let rigs = Rigs::start(QUICK, &["a", "b"]);
    let (first, second) = (Repository::new(), Repository::new());
    rigs.done(&["remote", "add", "a", &first.file_url()]);
    rigs.await_state("a", "up to date");
    rigs.refused(
        &["remote", "add", "b", &first.file_url()],
        &["is the remote of a already", "one of its own"],
    );
    // The same repository by another name.
    let link = tempfile::tempdir().expect("a temporary directory");
    std::os::unix::fs::symlink(first.path(), link.path().join("l.git")).expect("a link");
    let other_name = format!("file://{}/l.git", link.path().display());
    rigs.refused(&["remote", "add", "b", &other_name], &["is the remote of a already"]);
    rigs.done(&["remote", "remove", "a"]);
    rigs.refused(&["remote", "add", "b", &first.file_url()], &["has the data of another database"]);
    assert!(rigs.0.client("b").rows("SELECT * FROM dolt_remotes").is_empty());
    rigs.refused(&["remote", "add", "none", &second.file_url()], &["there is no database none"]);
    let missing = format!("file://{}/none.git", link.path().display());
    rigs.refused(&["remote", "add", "b", &missing], &["can't be used", "git ls-remote"]);
    for (url, told) in [
        ("--upload-pack=touch", "begins with -"),
        ("ext::sh -c touch", "percent-encoded"),
        ("ext::sh", "transport helpers"),
        ("git+file:///a b", "percent-encoded"),
        ("git+file:///a'b", "percent-encoded"),
        ("http://127.0.0.1/x", "git+http"),
        ("git+http://example.org/x", "only to this machine"),
        ("ssh://u:hunter2@127.0.0.1/x", "no password from a URL"),
        ("/tmp/x.git", "is no URL"),
    ] {
        rigs.refused(&["remote", "add", "b", "--", url], &[told]);
    }
    rigs.refused(&["remote", "add", "b", &second.file_url(), "--name=-x"], &["no name for a remote"]);
    // A password in a URL is shown nowhere.
    let secret = "https://u:hunter2@127.0.0.1:1/x.git";
    let said = rigs.say(&["remote", "add", "b", secret]);
    assert!(
        said.text.contains("https://***@127.0.0.1:1/x.git") && !said.text.contains("hunter2"),
        "{}",
        said.text
    );
    let jobs = rigs.done(&["jobs"]);
    assert!(jobs.contains("***") && !jobs.contains("hunter2"), "{jobs}");
    assert!(!rigs.0.branchline.stderr().contains("hunter2"));
    assert_eq!((first.refs().len() > 1, second.data()), (true, None));
}

/// A Branchline in a directory that outlives it.
struct Alone(Branchline);

impl Alone {
    fn start_in(directory: &Path) -> Self {
        Self(Branchline::start_in(directory, |_| {}))
    }

    fn json(&self, arguments: &[&str]) -> Json {
        let text = self.text(&[arguments, &["--json"]].concat());
        serde_json::from_str(&text).unwrap_or_else(|error| panic!("{arguments:?}: {error}: {text}"))
    }

    fn text(&self, arguments: &[&str]) -> String {
        let mut command = Command::new(env!("CARGO_BIN_EXE_branchline"));
        command.args(arguments).arg("--state-dir").arg(self.0.state_dir());
        let output = command.output().expect("branchline runs");
        String::from_utf8_lossy(&output.stdout).into_owned() + &String::from_utf8_lossy(&output.stderr)
    }

    fn client(&self, database: &str) -> Client {
        Client::connect(self.0.addr(), &Login::root(database))
    }

    fn database(&self, name: &str) {
        let mut client = self.client("");
        client.run(&format!("CREATE DATABASE {name}"));
        client.run(&format!("USE {name}"));
        client.run("CREATE TABLE t (id INT PRIMARY KEY)");
        client.run("CALL DOLT_COMMIT('-Am', 'one')");
    }

    fn await_listed(&self, texts: &[&str]) {
        watch::until(DEADLINE, &format!("{texts:?} are listed"), || {
            let listed = self.text(&["remote", "list"]);
            texts.iter().all(|text| listed.contains(text)).then_some(())
        });
    }

    fn await_up_to_date(&self, database: &str) {
        watch::until(DEADLINE, "up to date", || {
            let status = self.json(&["remote", "status", database]);
            (status[0]["state"] == "up to date").then_some(())
        });
    }
}

#[test]
fn the_config_file_and_daemon_json_are_taken_up_while_running() {
    let town = tempfile::tempdir().expect("a temporary directory");
    std::fs::create_dir(town.path().join("mayor")).expect("a directory");
    let say = |name: &str, text: &str| std::fs::write(town.path().join(name), text).expect("written");
    let branchline = Alone::start_in(town.path());
    ["a", "b"].iter().for_each(|name| branchline.database(name));
    let (first, second, third) = (Repository::new(), Repository::new(), Repository::new());
    let list = |databases: &str, enabled: bool| {
        let head = format!(r#""enabled": {enabled}, "push_on_heartbeat": true"#);
        say("mayor/daemon.json", &format!(r#"{{"dolt_remotes": {{{head}, "databases": {databases}}}}}"#));
    };
    list(&format!(r#"{{"a": "{}", "b": "{}"}}"#, first.file_url(), second.file_url()), true);
    branchline.await_listed(&[&first.file_url(), &second.file_url(), "mayor/daemon.json"]);
    for repository in [&first, &second] {
        watch::until(DEADLINE, "it is pushed", || repository.data());
    }
    // What somebody added wins over the town, and the config file over both.
    let added = branchline.text(&["remote", "add", "a", &third.file_url()]);
    assert!(added.contains("from now on"), "{added}");
    watch::until(DEADLINE, "it is pushed", || third.data());
    let fourth = Repository::new();
    say("state/branchline.toml", &format!("[remotes.a]\nurl = \"{}\"\n", fourth.file_url()));
    branchline.await_listed(&[&fourth.file_url(), "branchline.toml:1"]);
    watch::until(DEADLINE, "it is pushed", || fourth.data());
    let refused = branchline.text(&["remote", "add", "a", &first.file_url()]);
    assert!(refused.contains("set by branchline.toml:1"), "{refused}");
    // A broken file changes nothing, and its repair does.
    say("mayor/daemon.json", "{");
    say("state/branchline.toml", "[remotes]\nquiet_s = \"soon\"\n");
    watch::until(DEADLINE, "the broken files are told", || {
        let log = branchline.0.stderr();
        (log.contains("no JSON at line 1") && log.contains("remotes.quiet_s")).then_some(())
    });
    branchline.await_listed(&[&fourth.file_url(), &second.file_url()]);
    list("{}", false);
    std::fs::remove_file(town.path().join("state/branchline.toml")).expect("removed");
    watch::until(DEADLINE, "b is pushed no more, a where it was added", || {
        let listed = branchline.text(&["remote", "list"]);
        (!listed.contains(&second.file_url()) && listed.contains(&third.file_url())).then_some(())
    });
}

#[test]
fn two_databases_with_one_repository_are_told_and_only_one_is_pushed() {
    let repository = Repository::new();
    let config =
        format!("{QUICK}[remotes.a]\nurl = \"{0}\"\n[remotes.b]\nurl = \"{0}\"\n", repository.file_url());
    let rigs = Rigs::start(&config, &["a", "b"]);
    rigs.await_state("a", "up to date");
    // At first the database is not there yet.
    watch::until(DEADLINE, "b is told why it is not pushed", || {
        let b = rigs.status("b");
        let is_told = b["text"].as_str().is_some_and(|text| text.contains("is a's repository already"));
        (b["state"] == "not pushed" && is_told).then_some(())
    });
    rigs.refused(&["push", "b"], &["b can't be pushed", "is a's repository already"]);
    let before = repository.data();
    let mut client = rigs.0.client("b");
    client.run(&format!("CALL DOLT_REMOTE('add', 'up', '{}')", repository.file_url()));
    let refused = client.err("CALL DOLT_PUSH('--force', 'up', 'main')");
    assert!(refused.code == 1290 && refused.message.contains("is the repository of a"), "{refused}");
    assert_eq!(repository.data(), before);
}

/// Whoever asks, and however Dolt has it.
#[test]
fn a_database_goes_to_no_repository_but_its_own() {
    let (public, peer, free) = (Repository::new(), Repository::new(), Repository::new());
    let own = Repository::new();
    let urls = [&public, &peer, &free].map(Repository::file_url);
    let config = format!(
        "{QUICK}[remotes.a.ledger]\nremote = \"{0}\"\ntables = [\"t\"]\nwhere = \"v = 'never'\"\n\
         [[remotes.b.peers]]\nname = \"alice\"\nurl = \"{1}\"\n[remotes.c]\npush = false\nurl = \"{2}\"\n\
         [[remotes.d.peers]]\nname = \"alice\"\nurl = \"{1}\"\n",
        urls[0], urls[1], urls[2]
    );
    let rigs = Rigs::start(&config, &["a", "b", "c", "d"]);
    for ((database, url), told) in ["a", "b", "c"].into_iter().zip(&urls).zip([
        "is where the public ledger of a goes",
        "is its peer alice, which is only read",
        "c is not pushed, as branchline.toml",
    ]) {
        rigs.0.client(database).run(&format!("CALL DOLT_REMOTE('add', 'origin', '{url}')"));
        rigs.done(&["branch", "create", database, "polecat-x"]);
        rigs.0.on("polecat-x", database).run("INSERT INTO t VALUES (7, 7, 'private')");
        let said = rigs.say(&["branch", "done", database, "polecat-x", "--push"]).text;
        assert!(said.contains(told), "{database}: {said}");
    }
    for database in ["a", "b"] {
        for push in
            ["CALL DOLT_PUSH('origin', 'main')", "call dolt_push('--force', 'origin', 'polecat-x:main')"]
        {
            let refused = rigs.0.client(database).err(push);
            assert!(refused.code == 1290 && refused.message.contains("is not pushed there"), "{refused}");
        }
    }
    // Where it goes is known of a prepared one too, and nothing else is refused for it.
    let mut client = rigs.0.client("b");
    client.run(&format!("CALL DOLT_REMOTE('add', 'own', '{}')", own.file_url()));
    let push = client.prepare("CALL DOLT_PUSH(?, ?)").expect("prepared");
    for (remote, is_refused) in [("origin", true), ("own", false)] {
        let answer = client.execute(push, &[remote, "main"], true);
        assert_eq!(answer.err().map(|error| error.code), is_refused.then_some(1290), "{remote}");
    }
    assert!(own.data().is_some());
    let several = client.all("SELECT 1; CALL DOLT_PUSH('own', 'main')");
    let refused = several.into_iter().find_map(Result::err).expect("refused");
    assert!(refused.code == 1290 && refused.message.contains("by itself"), "{refused}");
    // As a clone leaves it: that somebody's main is fetched does not say that ours goes anywhere.
    rigs.0.client("d").run(&format!("CALL DOLT_REMOTE('add', 'origin', '{}')", urls[2]));
    rigs.write("d", 8);
    rigs.refused(&["push", "d"], &["d has no remote that it is pushed to"]);
    rigs.refused(&["remote", "add", "a", &urls[0]], &["is where the public ledger of a goes"]);
    rigs.refused(&["remote", "add", "b", &urls[1]], &["is its peer alice"]);
    rigs.refused(&["remote", "add", "b", &urls[2], "--name", "alice"], &["alice is the name of a peer of b"]);
    // Not even the ledger, as long as the private database has its repository as a remote.
    for repository in [&public, &peer, &free] {
        assert_eq!(repository.data(), None);
    }
}

#[test]
fn a_repository_whose_data_have_no_main_is_used_if_they_are_this_databases() {
    let rigs = Rigs::start(QUICK, &["a", "b"]);
    let repository = Repository::new();
    let mut client = rigs.0.client("a");
    client.run("CALL DOLT_BRANCH('side')");
    client.run(&format!("CALL DOLT_REMOTE('add', 'o', '{}')", repository.file_url()));
    client.run("CALL DOLT_PUSH('o', 'side')");
    rigs.refused(&["remote", "add", "b", &repository.file_url()], &["has the data of another database"]);
    rigs.done(&["remote", "add", "a", &repository.file_url()]);
    rigs.await_state("a", "up to date");
    assert!(has_main_of(&repository, &mut client));
}

#[test]
fn what_cannot_be_pushed_is_no_success() {
    let repository = Repository::new();
    let config = format!("{QUICK}[remotes.none]\nurl = \"{}\"\n[remotes.b]\n", repository.file_url());
    let rigs = Rigs::start(&config, &["a", "b"]);
    rigs.0.client("b").run("CALL DOLT_REMOTE('add', 'origin', 'file:///nowhere/of/dolt')");
    let own = Repository::new();
    rigs.done(&["remote", "add", "a", &own.file_url()]);
    watch::until(DEADLINE, "b is told why it is not pushed", || {
        let is_told = |text: &str| text.contains("is no git repository");
        rigs.status("b")["text"].as_str().is_some_and(is_told).then_some(())
    });
    let texts =
        ["none", "there is no such database", "is no git repository", "2 of 3 databases were not pushed"];
    rigs.refused(&["push"], &texts);
    rigs.done(&["push", "a"]);
    let another = Repository::new();
    let added = rigs.done(&["remote", "add", "a", &another.file_url()]);
    assert!(added.contains(&format!("and no more to {}", own.file_url())), "{added}");

    // What was added hid what the file says.
    let file = rigs.0.socket().with_file_name("branchline.toml");
    std::fs::write(&file, format!("{QUICK}[remotes.a]\nurl = \"{}\"\n", repository.file_url()))
        .expect("written");
    watch::until(DEADLINE, "the file is taken up", || {
        let listed = rigs.done(&["remote", "list"]);
        listed.contains(&repository.file_url()).then_some(())
    });
    let removed = rigs.say(&["remote", "remove", "a"]).text;
    assert!(removed.contains(&format!("is pushed to {} now", repository.file_url())), "{removed}");
}

#[test]
fn what_is_remembered_survives_a_restart_and_dolts_remotes_are_brought_in_line() {
    let repository = Repository::new();
    let directory = tempfile::tempdir().expect("a temporary directory");
    let branchline = Alone::start_in(directory.path());
    branchline.database("a");
    branchline.json(&["remote", "add", "a", &repository.file_url()]);
    branchline.await_up_to_date("a");
    drop(branchline);
    // What was last seen there is nothing that this database has: as after a restore of an older backup.
    let remembered = directory.path().join("state/pushes.json");
    let mut pushes: Json =
        serde_json::from_str(&std::fs::read_to_string(&remembered).expect("it is there")).expect("JSON");
    pushes["databases"]["a"]["seen"]["head"] = "0123456789abcdefghijklmnopqrstuv".into();
    std::fs::write(&remembered, pushes.to_string()).expect("written");
    let branchline = Alone::start_in(directory.path());
    let looked = branchline.json(&["push", "a"]);
    assert_eq!(looked[0]["outcome"], "up to date", "{looked}");
    branchline.await_up_to_date("a");
    let log = branchline.json(&["remote", "log", "a"]);
    assert!(log.as_array().is_some_and(|log| log.iter().any(|push| push["outcome"] == "pushed")), "{log}");
    // Somebody changes it in Dolt: the next push puts it right.
    let mut root = branchline.client("a");
    root.run("CALL DOLT_REMOTE('remove', 'origin')");
    root.run("CALL DOLT_REMOTE('add', 'origin', 'file:///nowhere')");
    let pushed = branchline.json(&["push", "a"]);
    assert_eq!(pushed[0]["outcome"], "up to date", "{pushed}");
    assert_eq!(root.row("SELECT url FROM dolt_remotes"), repository.file_url());
    drop((root, branchline));
    // The repository was emptied: nothing is pushed there until somebody says that it is meant.
    repository.delete_data();
    let branchline = Alone::start_in(directory.path());
    let refused = branchline.text(&["push", "a"]);
    assert!(refused.contains("not pushed: rewritten") && refused.contains("emptied on purpose"), "{refused}");
    branchline.json(&["remote", "add", "a", &repository.file_url()]);
    watch::until(DEADLINE, "it is filled anew", || repository.data());
    branchline.await_up_to_date("a");
}
