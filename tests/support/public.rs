//! Owns a bare git repository as a remote, and looking at everything that is in it. Does not use Branchline for that,
//! but for Dolt's file format. Always: no network; gone when dropped.

use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use branchline::remote::RemoteUrl;
use branchline::remote::ledger::chunks;
use tempfile::TempDir;

/// A bare repository with one branch.
pub struct PublicRemote {
    directory: TempDir,
}

/// All bytes that a clone holds: files as they are, git's objects, chunks of Dolt's.
#[derive(Default)]
pub struct Everything {
    pub pieces: Vec<Vec<u8>>,
    pub chunks: usize,
}

impl Everything {
    pub fn has(&self, text: &str) -> bool {
        self.pieces.iter().any(|piece| contains(piece, text.as_bytes()))
    }

    /// Those of these texts that are somewhere.
    pub fn found<'a>(&self, texts: &[&'a str]) -> Vec<&'a str> {
        texts.iter().copied().filter(|text| self.has(text)).collect()
    }
}

fn contains(piece: &[u8], text: &[u8]) -> bool {
    let lower = piece.to_ascii_lowercase();
    let text = text.to_ascii_lowercase();
    lower.windows(text.len()).any(|window| window == text)
}

impl PublicRemote {
    pub fn new() -> Self {
        let remote = Self::empty();
        let work = remote.directory.path().join("work");
        remote.git(&["init", "-q", "--initial-branch=main", text(&work)]);
        let identity = ["-c", "user.name=t", "-c", "user.email=t@localhost"];
        remote.git(
            &[&["-C", text(&work)], &identity[..], &["commit", "-q", "--allow-empty", "-m", "first"]]
                .concat(),
        );
        remote.git(&["-C", text(&work), "push", "-q", text(&remote.path()), "main"]);
        remote
    }

    /// One without a branch.
    pub fn empty() -> Self {
        let remote = Self { directory: tempfile::tempdir().expect("a temporary directory") };
        remote.git(&["init", "-q", "--bare", "--initial-branch=main", text(&remote.path())]);
        remote
    }

    pub fn path(&self) -> PathBuf {
        self.directory.path().join("public.git")
    }

    pub fn url(&self) -> RemoteUrl {
        RemoteUrl::parse(&format!("git+file://{}", self.path().display())).expect("a URL")
    }

    /// Whether it refuses to be pushed to; it can be read.
    pub fn refuse_pushes(&self, refuse: bool) {
        let hook = self.path().join("hooks/pre-receive");
        if !refuse {
            return std::fs::remove_file(&hook).expect("removed");
        }
        std::fs::create_dir_all(hook.parent().expect("a directory")).expect("made");
        std::fs::write(&hook, "#!/bin/sh\nexit 1\n").expect("written");
        std::fs::set_permissions(&hook, std::fs::Permissions::from_mode(0o755)).expect("set");
    }

    pub fn git(&self, arguments: &[&str]) -> Vec<u8> {
        let output = Command::new("git")
            .args(arguments)
            .env("HOME", self.directory.path())
            .env("GIT_CONFIG_NOSYSTEM", "1")
            .stdin(Stdio::null())
            .output()
            .expect("git runs");
        assert!(output.status.success(), "git {arguments:?}: {}", String::from_utf8_lossy(&output.stderr));
        output.stdout
    }

    /// A fresh clone by git itself, with Dolt's refs, taken apart.
    pub fn everything(&self) -> Everything {
        let clone = tempfile::tempdir_in(self.directory.path()).expect("a temporary directory");
        let path = clone.path().join("clone.git");
        self.git(&["clone", "-q", "--bare", &format!("file://{}", self.path().display()), text(&path)]);
        self.git(&["-C", text(&path), "fetch", "-q", "origin", "+refs/*:refs/*"]);
        let mut all = Everything::default();
        files(&path, &mut all.pieces);
        let listed = self.git(&["-C", text(&path), "cat-file", "--batch-all-objects", "--batch-check"]);
        for line in String::from_utf8_lossy(&listed).lines() {
            let mut words = line.split(' ');
            let (hash, kind) = (words.next().expect("a hash"), words.next().expect("a kind"));
            let object = self.git(&["-C", text(&path), "cat-file", kind, hash]);
            if kind == "blob" {
                let count = chunks::each(&object, &mut |chunk| all.pieces.push(chunk.to_vec()));
                all.chunks += count.expect("a file of Dolt's that can be read");
            }
            all.pieces.push(object);
        }
        all
    }
}

/// All rows of all commits that a clone by Dolt itself has, as its own texts.
pub fn history_by_dolt(remote: &PublicRemote) -> String {
    let directory = tempfile::tempdir().expect("a temporary directory");
    let dolt = |arguments: &[&str], at: &Path| {
        let output = Command::new("timeout")
            .arg("60")
            .arg(super::dolt_binary())
            .args(arguments)
            .current_dir(at)
            .env("HOME", directory.path())
            .env("DOLT_ROOT_PATH", directory.path())
            .stdin(Stdio::null())
            .output()
            .expect("Dolt runs");
        assert!(output.status.success(), "dolt {arguments:?}: {}", String::from_utf8_lossy(&output.stderr));
        String::from_utf8_lossy(&output.stdout).into_owned()
    };
    for (key, value) in [("user.name", "t"), ("user.email", "t@localhost")] {
        dolt(&["config", "--global", "--add", key, value], directory.path());
    }
    dolt(&["clone", remote.url().reveal(), "clone"], directory.path());
    let clone = directory.path().join("clone");
    let sql = |sql: &str| dolt(&["sql", "-r", "csv", "-q", sql], &clone);
    let mut all = sql("SELECT * FROM dolt_log");
    for commit in sql("SELECT commit_hash FROM dolt_log").lines().skip(1) {
        for table in sql(&format!("SHOW TABLES AS OF '{commit}'")).lines().skip(1) {
            all += &sql(&format!("SHOW CREATE TABLE `{table}` AS OF '{commit}'"));
            all += &sql(&format!("SELECT * FROM `{table}` AS OF '{commit}'"));
        }
    }
    all
}

fn files(directory: &Path, pieces: &mut Vec<Vec<u8>>) {
    for entry in std::fs::read_dir(directory).expect("a directory") {
        let path = entry.expect("an entry").path();
        match path.is_dir() {
            true => files(&path, pieces),
            false => pieces.push(std::fs::read(&path).expect("a file")),
        }
    }
}

fn text(path: &Path) -> &str {
    path.to_str().expect("UTF-8")
}
