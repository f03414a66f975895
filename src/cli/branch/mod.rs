//! `branchline branch …`, and what is so common that it has a name of its own: `sling`, `done`, `nuke`.

mod conflicts;
mod create;
mod finish;
mod gone;
mod history;
mod list;
mod main_table;

use super::client::ConsoleClient;
use super::failure::Failure;
use super::{Context, jobs, output};
use crate::config::rule::quote;

pub use create::CreateArgs;
pub use finish::DoneArgs;
pub use gone::DropArgs;

#[derive(Debug, clap::Subcommand)]
pub enum Command {
    /// Make a branch with all that main holds now; prints the environment to set
    Create(CreateArgs),
    /// Bring a branch to main, with its uncommitted rows and ignored tables, and delete it
    Done(DoneArgs),
    /// Delete a branch
    Drop(DropArgs),
    /// Bring back a branch that was dropped
    Undrop(gone::UndropArgs),
    /// Branches: worker, age, commits ahead and behind of main, sessions, orphan or not
    List(list::ListArgs),
    /// Delete branches whose worker is gone and that have nothing unmerged
    Reap(list::ReapArgs),
    /// What both main and the branch changed, and what the rules would do about it
    Conflicts(conflicts::ConflictsArgs),
    /// Decide about a conflicted row; the next `branch done` does it
    Resolve(conflicts::ResolveArgs),
    /// Tables that are always main's, on every branch
    MainTable {
        #[command(subcommand)]
        command: main_table::Command,
    },
    /// Commits of a branch that main doesn't have, and where it was forked
    Log(history::LogArgs),
    /// What a branch would bring to main
    Diff(history::DiffArgs),
}

pub fn run(context: &Context, command: &Command) -> Result<(), Failure> {
    match command {
        Command::Create(args) => create::run(context, args),
        Command::Done(args) => finish::run(context, args),
        Command::Drop(args) => gone::drop_branch(context, args),
        Command::Undrop(args) => gone::undrop(context, args),
        Command::List(args) => list::list(context, args),
        Command::Reap(args) => list::reap(context, args),
        Command::Conflicts(args) => conflicts::show(context, args),
        Command::Resolve(args) => conflicts::resolve(context, args),
        Command::MainTable { command } => main_table::run(context, command),
        Command::Log(args) => history::log(context, args),
        Command::Diff(args) => history::diff(context, args),
    }
}

/// The same as `branch create`.
pub fn sling(context: &Context, args: &CreateArgs) -> Result<(), Failure> {
    create::run(context, args)
}

/// The same as `branch done`.
pub fn done(context: &Context, args: &DoneArgs) -> Result<(), Failure> {
    finish::run(context, args)
}

/// The same as `branch drop`.
pub fn nuke(context: &Context, args: &DropArgs) -> Result<(), Failure> {
    gone::drop_branch(context, args)
}

/// The first characters of a commit's hash, for people.
fn short(commit: &str) -> &str {
    commit.get(..12).unwrap_or(commit)
}

/// `1 row`, `2 rows`
fn count(number: u64, one: &str) -> String {
    match (number, one.strip_suffix('y')) {
        (1, _) => format!("1 {one}"),
        (_, Some(stem)) if !one.ends_with("ay") && !one.ends_with("ey") => format!("{number} {stem}ies"),
        (_, _) if one.ends_with("ch") => format!("{number} {one}es"),
        _ => format!("{number} {one}s"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn words_for_people() {
        assert_eq!(short("0123456789abcdefghij"), "0123456789ab");
        assert_eq!(short("é"), "é");
        let all = [count(1, "branch"), count(2, "branch"), count(0, "row"), count(3, "day")];
        assert_eq!(all, ["1 branch", "2 branches", "0 rows", "3 days"]);
    }
}
