mod support;
use branchline::remote::Outcome;
use std::fs;
use std::thread;
use std::time::{Duration, Instant};
use support::client::Client;
use support::git::*;
use support::town::Town;

fn marked(home: &str) -> Vec<String> {
    let mark = format!("DOLT_ROOT_PATH={home}");
    let mut found = vec![];
    for entry in fs::read_dir("/proc").unwrap().flatten() {
        let Some(pid) = entry.file_name().to_str().and_then(|n| n.parse::<u32>().ok()) else { continue };
        let Ok(env) = fs::read(entry.path().join("environ")) else { continue };
        if !env.split(|b| *b == 0).any(|e| e == mark.as_bytes()) {
            continue;
        }
        let cmd = String::from_utf8_lossy(&fs::read(entry.path().join("cmdline")).unwrap_or_default())
            .replace('\0', " ");
        if cmd.contains("sql-server") || cmd.contains("serve ") {
            continue;
        }
        let stat = fs::read_to_string(entry.path().join("stat")).unwrap_or_default();
        let rest: Vec<&str> =
            stat.rsplit_once(')').map(|(_, r)| r.split_whitespace().collect()).unwrap_or_default();
        let gd = env
            .split(|b| *b == 0)
            .find(|e| e.starts_with(b"GIT_DIR="))
            .map(|e| String::from_utf8_lossy(e).into_owned());
        found.push(format!(
            "   pid {pid} state {} ppid {} pgrp {} session {}: {} [{}]",
            rest[0],
            rest[1],
            rest[2],
            rest[3],
            cmd.chars().take(170).collect::<String>(),
            gd.unwrap_or_default()
        ));
    }
    found
}

struct Lab {
    town: Town,
    home: String,
    n: u32,
    limit: u64,
}
impl Lab {
    fn push(&mut self, db: &str, what: &str) -> String {
        let mut c = self.town.direct(db);
        self.commit(db);
        let begun = Instant::now();
        let id = c.id;
        let _ = id;
        drop(c);
        let port = self.town.branchline.dolt().port;
        let child = std::process::Command::new("mariadb")
            .args([
                "--no-defaults",
                "--batch",
                "--skip-column-names",
                "--user=root",
                "--protocol=tcp",
                "--host=127.0.0.1",
                "--port",
                &port.to_string(),
                db,
                "-e",
                "CALL DOLT_PUSH('origin','main')",
            ])
            .stdout(std::process::Stdio::piped())
            .stderr(std::process::Stdio::piped())
            .spawn()
            .unwrap();
        let h = thread::spawn(move || {
            let o = child.wait_with_output().unwrap();
            format!(
                "{} {}{}",
                if o.status.success() { "OK" } else { "ERR" },
                String::from_utf8_lossy(&o.stdout),
                String::from_utf8_lossy(&o.stderr)
            )
        });
        thread::sleep(Duration::from_millis(300));
        let id = {
            let mut k = self.town.direct("");
            k.rows("SELECT id FROM information_schema.processlist WHERE info LIKE 'CALL DOLT_PUSH%'")
                .first()
                .and_then(|r| r[0].clone())
                .unwrap_or_default()
        };
        let mut killed = String::new();
        while !h.is_finished() {
            if begun.elapsed() > Duration::from_secs(self.limit) {
                println!("--- still running after limit; processes:");
                for l in marked(&self.home) {
                    println!("{l}")
                }
                let mut k = self.town.direct("");
                let t = Instant::now();
                println!("   KILL {id}: {:?}", k.query(&format!("KILL {id}")).map(|_| ()));
                let end = Instant::now() + Duration::from_secs(10);
                while Instant::now() < end && !h.is_finished() {
                    thread::sleep(Duration::from_millis(20));
                }
                println!("   client answered: {} after {:?}", h.is_finished(), t.elapsed());
                let n =
                    k.row(&format!("SELECT COUNT(*) FROM information_schema.processlist WHERE id = {id}"));
                println!("   in processlist: {n}; processes now:");
                for l in marked(&self.home) {
                    println!("{l}")
                }
                let rt = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
                let dir = self.town.branchline.data_dir().join(db);
                let count = rt.block_on(branchline::dolt::git::end_processes(
                    std::path::Path::new(&self.home),
                    Some(&dir),
                ));
                println!("   end_processes: {count}; left: {:?}; took {:?}", marked(&self.home), t.elapsed());
                let n =
                    k.row(&format!("SELECT COUNT(*) FROM information_schema.processlist WHERE id = {id}"));
                println!("   in processlist after: {n}");
                killed = " KILLED".into();
                break;
            }
            thread::sleep(Duration::from_millis(20));
        }
        let said = h.join().unwrap_or_else(|_| "PANIC (client read deadline)".into());
        println!(
            "=== {what}: {:.2} s{killed}\n{said}\n  -> {:?}",
            begun.elapsed().as_secs_f64(),
            Outcome::of(&said)
        );
        said
    }
    fn fetch(&mut self, db: &str, what: &str) {
        let mut c = self.town.direct(db);
        let begun = Instant::now();
        let said = match c.query("CALL DOLT_FETCH('origin','main')") {
            Ok(a) => format!("OK {:?}", a.rows),
            Err(e) => format!("{e}"),
        };
        println!(
            "=== fetch: {what}: {:.2} s\n{said}\n  -> {:?}",
            begun.elapsed().as_secs_f64(),
            Outcome::of(&said)
        );
    }
    fn commit(&mut self, db: &str) {
        self.n += 1;
        let mut c = self.town.direct(db);
        c.run(&format!("INSERT INTO t VALUES ({}, 0, 'x')", self.n));
        c.run("CALL DOLT_COMMIT('-Am', 'row')");
    }
    fn db(&self, name: &str, url: &str) {
        self.town.database(name, &[]);
        self.town.direct(name).run(&format!("CALL DOLT_REMOTE('add','origin','{url}')"));
    }
    fn url(&self, name: &str, url: &str) {
        let mut c = self.town.direct(name);
        c.run("CALL DOLT_REMOTE('remove','origin')");
        c.run(&format!("CALL DOLT_REMOTE('add','origin','{url}')"));
    }
}
fn lab(ssh: &SshServer) -> Lab {
    let town = Town::start_with("[log]\nfilter = \"info\"\n", |c| {
        c.envs(ssh.environment());
    });
    let mut home = String::new();
    for entry in fs::read_dir("/proc").unwrap().flatten() {
        let Ok(env) = fs::read(entry.path().join("environ")) else { continue };
        let state = town.branchline.state_dir().display().to_string();
        for e in env.split(|b| *b == 0) {
            if let Some(v) = e.strip_prefix(b"DOLT_ROOT_PATH=") {
                let v = String::from_utf8_lossy(v).into_owned();
                if v.starts_with(&state) {
                    home = v
                }
            }
        }
    }
    println!("home {home}");
    Lab { town, home, n: 0, limit: 12 }
}
fn size(path: &std::path::Path) -> String {
    support::git::run(support::git::git(path), &["count-objects", "-v"]).replace('\n', ", ")
}

#[test]
fn file() {
    let ssh = SshServer::start();
    let mut l = lab(&ssh);
    let r = Repository::new();
    l.db("f", &r.file_url());
    l.push("f", "file first");
    println!("{:?} {}", r.refs(), size(r.path()));
    for _ in 0..3 {
        let before = size(r.path());
        l.push("f", "file next");
        println!("{before}\n{}", size(r.path()));
    }
    l.fetch("f", "file");
    r.protect_data();
    l.push("f", "protected file");
    l.push("f", "protected file again");
    l.fetch("f", "protected");
    r.unprotect_data();
    l.push("f", "unprotected");
    r.hook("pre-receive", "echo 'fatal: sha1 file write error: No space left on device' >&2; exit 1");
    l.push("f", "hook like full disk");
    r.unprotect_data();
    r.hook("update", "echo \"error: GH006: Protected branch update failed for $1.\" >&2; case $1 in refs/dolt/*) exit 1;; esac");
    l.push("f", "update hook");
    r.hook("update", "");
    l.push("f", "well again");
    r.take_away();
    l.push("f", "taken away");
    l.fetch("f", "taken away");
    r.bring_back();
    l.push("f", "brought back");
    let other = Repository::new();
    l.db("o", &other.file_url());
    l.push("o", "other");
    r.replace_with(&other);
    l.push("f", "replaced by another database");
    l.fetch("f", "replaced");
    l.push("f", "replaced by another database, after fetch");
    let e = Repository::empty(&r.path().with_file_name("e.git"));
    l.db("e", &e.file_url());
    l.push("e", "no branch");
    l.fetch("e", "no branch");
    let d = Repository::new();
    l.db("d", &d.file_url());
    l.push("d", "to be deleted");
    d.delete_data();
    l.push("d", "deleted data");
    let rw = Repository::new();
    l.db("rw", &rw.file_url());
    l.push("rw", "1");
    let old = rw.data().unwrap();
    l.push("rw", "2");
    rw.set_data(&old);
    l.push("rw", "rewound, push without fetch");
    l.fetch("rw", "after");
    let ro = Repository::new();
    l.db("ro", &ro.file_url());
    l.push("ro", "1");
    support::git::run(
        std::process::Command::new("chattr"),
        &["+i", ro.path().join("objects").to_str().unwrap()],
    );
    l.push("ro", "immutable objects dir");
    support::git::run(
        std::process::Command::new("chattr"),
        &["-i", ro.path().join("objects").to_str().unwrap()],
    );
}
#[test]
fn ssh() {
    let ssh = SshServer::start();
    let mut l = lab(&ssh);
    let r = Repository::new();
    l.db("s", &ssh.url(&r));
    l.push("s", "ssh first");
    l.push("s", "ssh next");
    l.fetch("s", "ssh");
    for a in [Access::UnknownHost, Access::ChangedHost, Access::NoKey, Access::Passphrase] {
        ssh.grant(a);
        l.push("s", &format!("{a:?}"));
        l.fetch("s", &format!("{a:?}"));
    }
    ssh.grant(Access::Key);
    l.push("s", "well again");
    ssh.force(Some("ulimit -f 8; exec sh -c \"$SSH_ORIGINAL_COMMAND\""));
    {
        let mut c = l.town.direct("s");
        c.run("CREATE TABLE big (id INT PRIMARY KEY, b LONGBLOB)");
        let hex: String = {
            let mut v = vec![0u8; 300_000];
            rustix::rand::getrandom(&mut v, rustix::rand::GetRandomFlags::empty()).unwrap();
            v.iter().map(|b| format!("{b:02x}")).collect()
        };
        c.run(&format!("INSERT INTO big VALUES (1, x'{hex}')"));
    }
    l.push("s", "ulimit");
    l.push("s", "ulimit again");
    ssh.force(None);
    l.push("s", "after ulimit");
    // real ENOSPC
    let m = tempfile::tempdir().unwrap();
    support::git::run(
        std::process::Command::new("mount"),
        &["-t", "tmpfs", "-o", "size=600k", "x", m.path().to_str().unwrap()],
    );
    let full = Repository::create(&m.path().join("full.git"));
    l.url("s", &ssh.url(&full));
    l.push("s", "tmpfs full");
    l.push("s", "tmpfs full again");
    println!("{:?}", full.refs());
    l.url("s", &full.file_url());
    l.push("s", "tmpfs full over file");
    support::git::run(std::process::Command::new("umount"), &["-l", m.path().to_str().unwrap()]);
    l.url("s", &ssh.url(&r));
    l.push("s", "back");
    ssh.force(Some("sleep 600"));
    l.push("s", "forced command sleeps");
    ssh.force(None);
    l.push("s", "well again");
    ssh.force(Some("exit 3"));
    l.push("s", "forced command exits");
    ssh.force(Some("echo Welcome to this host; exec sh -c \"$SSH_ORIGINAL_COMMAND\""));
    l.push("s", "banner on stdout");
    ssh.force(None);
    r.take_away();
    l.push("s", "no repository");
    r.bring_back();
    l.push("s", "well again");
    let proxy = FaultyProxy::start(ssh.port());
    l.url("s", &ssh.url_at(proxy.port(), &r));
    l.push("s", "through proxy");
    println!("{} bytes {} connections", proxy.bytes(), proxy.connections());
    let (b, k) = (proxy.bytes(), proxy.connections());
    l.push("s", "through proxy");
    println!("{} bytes {} connections", proxy.bytes() - b, proxy.connections() - k);
    proxy.set(Fault::Refuse);
    l.push("s", "refused");
    for n in [10, 2000, 5000, 7000, 9000] {
        proxy.set(Fault::DropAfter(n));
        l.push("s", &format!("dropped after {n}"));
    }
    proxy.set(Fault::None);
    l.push("s", "well again");
    proxy.set(Fault::Slow(10_000));
    l.push("s", "slow 10 KB/s");
    proxy.set(Fault::Hang);
    l.push("s", "hang after connect (ConnectTimeout 10)");
    l.push("s", "hang again");
    proxy.set(Fault::None);
    l.push("s", "well again");
    r.check();
}
#[test]
fn http() {
    let ssh = SshServer::start();
    let shelf = tempfile::tempdir().unwrap();
    let r = Repository::create(&shelf.path().join("r.git"));
    let server = HttpServer::start(shelf.path());
    let locked = HttpServer::with_password(shelf.path(), "right");
    let mut l = lab(&ssh);
    l.db("h", &server.url(&r));
    l.push("h", "http first");
    l.push("h", "http next");
    l.fetch("h", "http");
    for u in [locked.url(&r), locked.url_with("wrong", &r)] {
        l.url("h", &u);
        l.push("h", "locked");
        l.fetch("h", "locked");
    }
    l.url("h", &locked.url_with("right", &r));
    l.push("h", "right password");
    locked.set_password("other");
    l.push("h", "password changed");
    locked.set_password("right");
    l.push("h", "password changed back");
    r.git(&["config", "http.receivepack", "false"]);
    l.push("h", "403 (receivepack disabled)");
    r.git(&["config", "http.receivepack", "true"]);
    r.take_away();
    l.push("h", "404");
    l.fetch("h", "404");
    r.bring_back();
    l.push("h", "well");
    r.protect_data();
    l.push("h", "protected over http");
    r.unprotect_data();
    let proxy = FaultyProxy::start(server.port());
    l.url("h", &server.url_at(proxy.port(), &r));
    l.push("h", "through proxy");
    println!("{} bytes {} connections", proxy.bytes(), proxy.connections());
    let (b, k) = (proxy.bytes(), proxy.connections());
    l.push("h", "through proxy");
    println!("{} bytes {} connections", proxy.bytes() - b, proxy.connections() - k);
    proxy.set(Fault::Refuse);
    l.push("h", "refused");
    for n in [10, 500, 1000, 2000, 3000] {
        proxy.set(Fault::DropAfter(n));
        l.push("h", &format!("dropped after {n}"));
    }
    proxy.set(Fault::None);
    l.push("h", "well again");
    proxy.set(Fault::Slow(10_000));
    l.push("h", "slow 10 KB/s");
    proxy.set(Fault::Hang);
    l.push("h", "hang after connect");
    proxy.set(Fault::None);
    l.push("h", "well again");
    l.url("h", "git+https://127.0.0.1:1/r.git");
    l.push("h", "https nobody there");
    l.url("h", &format!("git+https://127.0.0.1:{}/r.git", server.port()));
    l.push("h", "https to a http server");
    l.url("h", "git+https://no-such-host.invalid/r.git");
    l.push("h", "no such host");
    r.check();
}
#[test]
fn nogit() {
    let ssh = SshServer::start();
    let r = Repository::new();
    let bin = tempfile::tempdir().unwrap();
    let town = Town::start_with("", |c| {
        c.env("PATH", bin.path());
    });
    let mut l = Lab { town, home: "x".into(), n: 0, limit: 12 };
    l.db("n", &r.file_url());
    l.push("n", "git missing");
    l.fetch("n", "git missing");
    std::os::unix::fs::symlink("/usr/bin/git", bin.path().join("git")).unwrap();
    l.push("n", "git there, nothing else on PATH");
    let _ = ssh;
}

#[test]
fn rejected() {
    let ssh = SshServer::start();
    let shelf = tempfile::tempdir().unwrap();
    let r = Repository::create(&shelf.path().join("r.git"));
    let server = HttpServer::start(shelf.path());
    let locked = HttpServer::with_password(shelf.path(), "right");
    let mut l = lab(&ssh);
    l.limit = 60;
    l.db("f", &r.file_url());
    l.push("f", "first");
    r.protect_data();
    l.push("f", "protected file");
    r.unprotect_data();
    r.hook("pre-receive", "echo 'fatal: sha1 file write error: No space left on device' >&2; exit 1");
    l.push("f", "hook like full disk");
    r.unprotect_data();
    r.hook("update", "echo \"error: GH006: Protected branch update failed for $1.\" >&2; case $1 in refs/dolt/*) exit 1;; esac");
    l.push("f", "update hook");
    r.hook("update", "");
    let m = tempfile::tempdir().unwrap();
    support::git::run(
        std::process::Command::new("mount"),
        &["-t", "tmpfs", "-o", "size=600k", "x", m.path().to_str().unwrap()],
    );
    let full = Repository::create(&m.path().join("full.git"));
    l.db("full", &full.file_url());
    l.push("full", "before");
    {
        let mut f = std::fs::File::create(m.path().join("filler")).unwrap();
        use std::io::Write;
        while f.write_all(&[0; 4096]).is_ok() {}
    }
    l.push("full", "tmpfs full over file");
    println!("{:?}", full.refs());
    std::fs::remove_file(m.path().join("filler")).unwrap();
    l.push("full", "emptied again");
    support::git::run(std::process::Command::new("umount"), &["-l", m.path().to_str().unwrap()]);
    l.url("f", &locked.url_with("right", &r));
    l.push("f", "right password");
    locked.set_password("other");
    l.push("f", "password changed");
    locked.set_password("right");
    r.git(&["config", "http.receivepack", "false"]);
    l.push("f", "403 (receivepack disabled)");
    r.git(&["config", "http.receivepack", "true"]);
    r.protect_data();
    l.push("f", "protected http");
    r.unprotect_data();
    let proxy = FaultyProxy::start(server.port());
    l.url("f", &server.url_at(proxy.port(), &r));
    l.push("f", "through proxy");
    for n in [1000, 2000, 3000] {
        proxy.set(Fault::DropAfter(n));
        l.push("f", &format!("dropped after {n}"));
    }
    proxy.set(Fault::None);
    l.push("f", "well again");
    let d = Repository::new();
    l.db("d", &d.file_url());
    l.push("d", "to be deleted");
    d.delete_data();
    l.push("d", "deleted data");
}
#[test]
fn rejected_ssh() {
    let ssh = SshServer::start();
    let mut l = lab(&ssh);
    l.limit = 200;
    let r = Repository::new();
    l.db("s", &ssh.url(&r));
    l.push("s", "ssh first");
    r.protect_data();
    l.push("s", "protected ssh");
    r.unprotect_data();
    ssh.force(Some("ulimit -f 8; exec sh -c \"$SSH_ORIGINAL_COMMAND\""));
    {
        let mut c = l.town.direct("s");
        c.run("CREATE TABLE big (id INT PRIMARY KEY, b LONGBLOB)");
        let hex: String = {
            let mut v = vec![0u8; 300_000];
            rustix::rand::getrandom(&mut v, rustix::rand::GetRandomFlags::empty()).unwrap();
            v.iter().map(|b| format!("{b:02x}")).collect()
        };
        c.run(&format!("INSERT INTO big VALUES (1, x'{hex}')"));
    }
    l.push("s", "ulimit");
    ssh.force(None);
}
#[test]
fn hanging_ssh() {
    let ssh = SshServer::start();
    let mut l = lab(&ssh);
    let r = Repository::new();
    l.db("s", &ssh.url(&r));
    l.push("s", "ssh first");
    l.limit = 4;
    ssh.force(Some("sleep 600"));
    l.push("s", "forced command sleeps");
    ssh.force(None);
    l.limit = 30;
    l.push("s", "well again");
    ssh.force(Some("exit 3"));
    l.push("s", "forced command exits");
    ssh.force(Some("echo Welcome to this host; exec sh -c \"$SSH_ORIGINAL_COMMAND\""));
    l.push("s", "banner on stdout");
    ssh.force(None);
    r.take_away();
    l.push("s", "no repository");
    r.bring_back();
    l.push("s", "well again");
    let proxy = FaultyProxy::start(ssh.port());
    l.url("s", &ssh.url_at(proxy.port(), &r));
    l.push("s", "through proxy");
    l.limit = 100;
    proxy.set(Fault::DropAfter(9000));
    l.push("s", "dropped after 9000");
    proxy.set(Fault::None);
    l.limit = 4;
    proxy.set(Fault::Hang);
    l.push("s", "hang after connect");
    proxy.set(Fault::None);
    l.limit = 30;
    l.push("s", "well again");
}
