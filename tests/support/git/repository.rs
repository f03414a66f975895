//! Owns bare repositories as remotes: what is in them, and what their owners do to them.
//! Does not know Dolt. Always: gone with their directory.

use std::collections::BTreeMap;
use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::process::Command;

use tempfile::TempDir;

/// Where Dolt keeps its data.
pub const DATA: &str = "refs/dolt/data";

/// A bare repository.
pub struct Repository {
    path: PathBuf,
    _directory: Option<TempDir>,
}

impl Repository {
    /// In a directory of its own, with one commit on `main`.
    pub fn new() -> Self {
        let directory = tempfile::tempdir().expect("a temporary directory");
        let mut repository = Self::create(&directory.path().join("r.git"));
        repository._directory = Some(directory);
        repository
    }

    /// At this path, with one commit on `main`.
    pub fn create(path: &Path) -> Self {
        let repository = Self::empty(path);
        repository.begin();
        repository
    }

    /// At this path, without a branch.
    pub fn empty(path: &Path) -> Self {
        let parent = path.parent().expect("not the root");
        super::run(super::git(parent), &["init", "-q", "--bare", "--initial-branch=main", &text(path)]);
        let repository = Self { path: path.to_owned(), _directory: None };
        // What git-http-backend asks for, and what lets a test take refs back.
        repository.git(&["config", "http.receivepack", "true"]);
        repository.git(&["config", "core.logAllRefUpdates", "false"]);
        repository
    }

    /// The first commit on `main`.
    fn begin(&self) {
        let tree = self.git(&["hash-object", "-t", "tree", "-w", "/dev/null"]);
        let commit = self.git(&["commit-tree", "-m", "first", &tree]);
        self.git(&["update-ref", "refs/heads/main", &commit]);
    }

    /// Where it is.
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// Its name, as `r.git`.
    pub fn name(&self) -> String {
        self.path.file_name().expect("a name").to_string_lossy().into_owned()
    }

    /// As Dolt takes it.
    pub fn file_url(&self) -> String {
        format!("git+file://{}", self.path.display())
    }

    /// A git command in it that succeeds; what it prints.
    pub fn git(&self, arguments: &[&str]) -> String {
        super::run(self.command(), arguments)
    }

    /// git in it, not yet started.
    pub fn command(&self) -> Command {
        super::git(&self.path)
    }

    /// Every ref with its commit.
    pub fn refs(&self) -> BTreeMap<String, String> {
        let listed = self.git(&["for-each-ref", "--format=%(refname) %(objectname)"]);
        let pairs = listed.lines().filter_map(|line| line.split_once(' '));
        pairs.map(|(name, commit)| (name.to_owned(), commit.to_owned())).collect()
    }

    /// The commit of Dolt's data.
    pub fn data(&self) -> Option<String> {
        self.refs().remove(DATA)
    }

    /// Somebody deletes Dolt's data.
    pub fn delete_data(&self) {
        self.git(&["update-ref", "-d", DATA]);
    }

    /// Somebody moves Dolt's data to another commit, which is there.
    pub fn set_data(&self, commit: &str) {
        self.git(&["update-ref", DATA, commit]);
    }

    /// Puts a copy of another one in the place of this one.
    pub fn replace_with(&self, other: &Self) {
        let new = self.path.with_extension("new");
        super::run(super::git(other.path()), &["clone", "-q", "--mirror", ".", &text(&new)]);
        super::run(super::git(&new), &["config", "http.receivepack", "true"]);
        self.take_away();
        fs::rename(&new, &self.path).expect("renamed");
        fs::remove_dir_all(self.aside()).expect("removed");
    }

    /// A copy of it somewhere else.
    pub fn copy(&self) -> Self {
        let copy = Self::new();
        copy.replace_with(self);
        copy
    }

    /// It is gone, until `bring_back`.
    pub fn take_away(&self) {
        fs::rename(&self.path, self.aside()).expect("renamed");
    }

    /// It is there again.
    pub fn bring_back(&self) {
        fs::rename(self.aside(), &self.path).expect("renamed");
    }

    fn aside(&self) -> PathBuf {
        self.path.with_extension("aside")
    }

    /// A hook, as `pre-receive`; an empty script takes it away.
    pub fn hook(&self, name: &str, script: &str) {
        let path = self.path.join("hooks").join(name);
        if script.is_empty() {
            fs::remove_file(&path).expect("removed");
            return;
        }
        // Beside it first: it may be run at any moment.
        let new = path.with_extension("new");
        fs::create_dir_all(self.path.join("hooks")).expect("made");
        fs::write(&new, format!("#!/bin/sh\n{script}\n")).expect("written");
        fs::set_permissions(&new, fs::Permissions::from_mode(0o755)).expect("set");
        fs::rename(&new, &path).expect("renamed");
    }

    /// Refuses Dolt's data, as a server with protected refs does.
    pub fn protect_data(&self) {
        self.hook(
            "pre-receive",
            "while read -r old new ref; do\n  case $ref in refs/dolt/*)\n    \
             echo \"GL-HOOK-ERR: You are not allowed to push to the protected ref $ref.\" >&2; exit 1;;\n  esac\ndone",
        );
    }

    /// Takes pushes again.
    pub fn unprotect_data(&self) {
        self.hook("pre-receive", "");
    }

    /// Whether what git has is whole.
    pub fn check(&self) {
        self.git(&["fsck", "--full", "--connectivity-only"]);
    }
}

fn text(path: &Path) -> String {
    path.to_str().expect("a temporary directory's name is UTF-8").to_owned()
}
