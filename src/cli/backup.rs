//! `branchline backup`, `branchline backups`, `branchline restore`.

use std::path::PathBuf;

use super::client::ConsoleClient;
use super::failure::Failure;
use super::{Context, jobs, output};
use crate::config::places;
use crate::config::rule::quote;

#[derive(Debug, clap::Args)]
#[command(after_help = "\
Examples:
  branchline backup beads /srv/backups/beads

Copies the whole database: every branch with what is not committed on it, tags, stashes, ignored tables. Not in it: its
remotes. DIR must not be there, or be empty, or hold an earlier backup of this database, which keeps its place until
the new one is whole and checked. `branchline restore` makes a database from it, and so does `dolt backup restore`.")]
pub struct BackupArgs {
    /// Database
    db: String,
    /// Where the copy is made
    dir: PathBuf,
}

#[derive(Debug, clap::Args)]
#[command(after_help = "\
Examples:
  branchline restore /srv/backups/beads beads_old
  branchline restore /srv/backups/beads beads --replace

The copy is checked before anything is changed. With --replace the database that had the name is kept as
NAME_replaced_…, until you drop it; Dolt is stopped for a moment for that, and clients wait. Where the name is pushed, the
restored database is pushed: see what it says.")]
pub struct RestoreArgs {
    /// The copy
    dir: PathBuf,
    /// What the database is called
    db: String,
    /// In the place of a database of that name
    #[arg(long)]
    replace: bool,
}

pub fn backup(context: &Context, args: &BackupArgs) -> Result<(), Failure> {
    let sql = format!("BACKUP {} {}", quote(&args.db), quote(&dir(&args.dir)?));
    let made = jobs::run_job(&mut ConsoleClient::connect(context)?, &sql)?.row()?;
    if context.json {
        return output::line(&made.json()[0].to_string());
    }
    let get = |column| made.first(column).unwrap_or_default();
    let milliseconds: u64 = get("took_ms").parse().unwrap_or(0);
    output::line(&output::printable(&format!(
        "{} is in {}: {} branches, {} bytes, in {:.1} s, main is {}",
        get("database"),
        get("path"),
        get("branches"),
        get("bytes"),
        milliseconds as f64 / 1000.0,
        get("head")
    )))
}

pub fn backups(context: &Context) -> Result<(), Failure> {
    let table = ConsoleClient::connect(context)?.query("SHOW BACKUPS")?;
    if context.json {
        return output::line(&table.json().to_string());
    }
    let short = ["database", "at", "path", "bytes", "took_ms", "next", "failures"];
    output::list(
        &table.select(&short),
        false,
        "no backups; `branchline backup DB DIR` makes one, [backups] in branchline.toml makes them by itself",
    )?;
    for row in &table.rows {
        if let (Some(database), Some(error)) = (table.cell(row, "database"), table.cell(row, "error")) {
            output::line(&output::printable(&format!("{database}: {error}")))?;
        }
    }
    Ok(())
}

pub fn restore(context: &Context, args: &RestoreArgs) -> Result<(), Failure> {
    let replace = if args.replace { " REPLACE" } else { "" };
    let sql = format!("RESTORE {} {}{replace}", quote(&dir(&args.dir)?), quote(&args.db));
    let made = jobs::run_job(&mut ConsoleClient::connect(context)?, &sql)?.row()?;
    if context.json {
        return output::line(&made.json()[0].to_string());
    }
    let get = |column| made.first(column).unwrap_or_default();
    let of = match (made.first("of"), made.first("made")) {
        (Some(of), Some(at)) => format!(" (a backup of {of} of {at})"),
        _ => String::new(),
    };
    output::line(&output::printable(&format!(
        "{} is what {} holds{of}: {} branches, main is {}",
        get("database"),
        get("dir"),
        get("branches"),
        get("head")
    )))?;
    if let Some(old) = made.first("old") {
        let until = if old.contains('/') { "remove" } else { "drop" };
        output::line(&output::printable(&format!("the one before is kept as {old}, until you {until} it")))?;
    }
    match made.first("text") {
        Some(text) => output::line(&output::printable(text)),
        None => Ok(()),
    }
}

/// Below our own working directory, not Branchline's.
fn dir(dir: &std::path::Path) -> Result<String, Failure> {
    let cwd = std::env::current_dir().unwrap_or_default();
    let dir = places::absolute(dir, &cwd, None);
    match dir.to_str() {
        Some(dir) => Ok(dir.to_owned()),
        None => Err(Failure::Failed(format!(
            "{} is not UTF-8, which the console can't be told; give a link to it",
            dir.display()
        ))),
    }
}
