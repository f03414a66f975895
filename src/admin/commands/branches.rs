//! `BRANCH …`, `SHOW BRANCHES`, `SHOW BRANCH …`, `MAIN TABLE …`.

use std::time::Duration;

use super::jobs::job_row;
use super::{Handled, branch_rows};
use crate::admin::answer::{Answer, Refusal};
use crate::admin::backend::Backend;
use crate::admin::branches::{BranchWork, Choice, CreateBranch, FinishBranches, ResolveRequest, Which};
use crate::admin::tokens::Tokens;
use crate::branch::history::DiffQuestion;
use crate::branch::main_tables::Change;

const CREATE: &str = "BRANCH CREATE 'database' ['name'] [FROM 'branch'] [COMMIT MAIN] [WORKER 'name']";
const DONE: &str = "BRANCH DONE 'database' 'branch' | ALL [PATTERN 'glob'] [PUSH] [KEEP] [WAIT seconds]";
const DROP: &str = "BRANCH DROP 'database' 'branch' [FORCE]";
const UNDROP: &str = "BRANCH UNDROP 'database' 'branch'";
const REAP: &str = "BRANCH REAP ['database'] [DRY RUN]";
const CONFLICTS: &str = "BRANCH CONFLICTS 'database' 'branch' [TABLE 'table'] [LIMIT n]";
const RESOLVE: &str = "BRANCH RESOLVE 'database' 'branch' TABLE 'table' KEY ['column' =] 'value', … \
     OURS | THEIRS | SET 'column' = 'value' | NULL, …";
const LOG: &str = "SHOW BRANCH LOG 'database' 'branch' [LIMIT n]";
const DIFF: &str = "SHOW BRANCH DIFF 'database' 'branch' [TABLE 'table'] [STAT] [LIMIT n]";
const MAIN_TABLE: &str = "MAIN TABLE ADD | REMOVE 'database' 'table or pattern'";

/// Commits of `SHOW BRANCH LOG`, rows of `SHOW BRANCH DIFF`, rows of `BRANCH CONFLICTS`.
const LIMIT_DEFAULT: usize = 100;
/// The answer is made in memory.
const LIMIT_MAX: u32 = 10_000;
/// Longest that a finish waits for open transactions.
const WAIT_SECONDS_MAX: u32 = 3600;

pub async fn handle(tokens: &mut Tokens, by: &str, backend: &dyn Backend) -> Handled {
    let answer = if tokens.take_words(&["SHOW", "BRANCHES"]) {
        show(tokens, backend).await
    } else if tokens.take_words(&["SHOW", "BRANCH", "LOG"]) {
        log(tokens, backend).await
    } else if tokens.take_words(&["SHOW", "BRANCH", "DIFF"]) {
        diff(tokens, backend).await
    } else if tokens.take_words(&["SHOW", "MAIN", "TABLES"]) {
        main_tables(tokens, backend).await
    } else {
        let work = work(tokens)?;
        match work {
            Ok(work) => backend.start(work, by).await.map(job_row),
            Err(refusal) => Err(refusal),
        }
    };
    Some(answer)
}

/// The commands that start a job.
fn work(tokens: &mut Tokens) -> Option<Result<BranchWork, Refusal>> {
    Some(if tokens.take_words(&["BRANCH", "CREATE"]) {
        create(tokens)
    } else if tokens.take_words(&["BRANCH", "DONE"]) {
        done(tokens)
    } else if tokens.take_words(&["BRANCH", "DROP"]) {
        drop_one(tokens)
    } else if tokens.take_words(&["BRANCH", "UNDROP"]) {
        undrop(tokens)
    } else if tokens.take_words(&["BRANCH", "REAP"]) {
        reap(tokens)
    } else if tokens.take_words(&["BRANCH", "CONFLICTS"]) {
        conflicts(tokens)
    } else if tokens.take_words(&["BRANCH", "RESOLVE"]) {
        resolve(tokens).map(BranchWork::Resolve)
    } else if tokens.take_words(&["MAIN", "TABLE", "ADD"]) {
        main_table(tokens, Change::Add)
    } else if tokens.take_words(&["MAIN", "TABLE", "REMOVE"]) {
        main_table(tokens, Change::Remove)
    } else {
        return None;
    })
}

fn create(tokens: &mut Tokens) -> Result<BranchWork, Refusal> {
    let mut create = CreateBranch { database: required(tokens, "BRANCH CREATE")?, ..CreateBranch::default() };
    while !tokens.is_empty() {
        if tokens.take_words(&["FROM"]) {
            create.from = Some(required(tokens, "FROM")?);
        } else if tokens.take_words(&["WORKER"]) {
            create.worker = Some(required(tokens, "WORKER")?);
        } else if tokens.take_words(&["COMMIT", "MAIN"]) {
            create.commit_main = true;
        } else if create.name.is_none() {
            create.name = Some(required(tokens, "BRANCH CREATE 'database'")?);
        } else {
            tokens.end(CREATE)?;
        }
    }
    if create.name.is_none() && create.worker.is_none() {
        return Err(Refusal::syntax(format!(
            "a name for the branch or a WORKER to make one from is missing; usage: {CREATE}"
        )));
    }
    Ok(BranchWork::Create(create))
}

fn done(tokens: &mut Tokens) -> Result<BranchWork, Refusal> {
    let database = required(tokens, "BRANCH DONE")?;
    let which = if tokens.take_words(&["ALL"]) {
        let pattern = tokens.take_words(&["PATTERN"]).then(|| required(tokens, "PATTERN")).transpose()?;
        Which::All { pattern }
    } else {
        Which::One(required(tokens, "BRANCH DONE 'database'")?)
    };
    let mut finish = FinishBranches { database, which, push: false, keep: false, wait: None };
    while !tokens.is_empty() {
        if tokens.take_words(&["PUSH"]) {
            finish.push = true;
        } else if tokens.take_words(&["KEEP"]) {
            finish.keep = true;
        } else if tokens.take_words(&["WAIT"]) {
            let seconds = tokens.id("WAIT")?;
            if seconds > WAIT_SECONDS_MAX {
                return Err(Refusal::bad_value(format!(
                    "WAIT takes seconds, at most {WAIT_SECONDS_MAX}; this is {seconds}"
                )));
            }
            finish.wait = Some(Duration::from_secs(seconds.into()));
        } else {
            tokens.end(DONE)?;
        }
    }
    Ok(BranchWork::Finish(finish))
}

fn drop_one(tokens: &mut Tokens) -> Result<BranchWork, Refusal> {
    let (database, branch) = branch(tokens, "BRANCH DROP")?;
    let force = tokens.take_words(&["FORCE"]);
    tokens.end(DROP)?;
    Ok(BranchWork::Drop { database, branch, force })
}

fn undrop(tokens: &mut Tokens) -> Result<BranchWork, Refusal> {
    let (database, branch) = branch(tokens, "BRANCH UNDROP")?;
    tokens.end(UNDROP)?;
    Ok(BranchWork::Undrop { database, branch })
}

fn reap(tokens: &mut Tokens) -> Result<BranchWork, Refusal> {
    let mut dry_run = tokens.take_words(&["DRY", "RUN"]);
    let database = if tokens.is_empty() { None } else { Some(required(tokens, "BRANCH REAP")?) };
    dry_run |= tokens.take_words(&["DRY", "RUN"]);
    tokens.end(REAP)?;
    Ok(BranchWork::Reap { database, dry_run })
}

fn conflicts(tokens: &mut Tokens) -> Result<BranchWork, Refusal> {
    let (database, branch) = branch(tokens, "BRANCH CONFLICTS")?;
    let (mut table, mut rows_max) = (None, LIMIT_DEFAULT);
    while !tokens.is_empty() {
        if tokens.take_words(&["TABLE"]) {
            table = Some(required(tokens, "TABLE")?);
        } else if tokens.take_words(&["LIMIT"]) {
            rows_max = limit(tokens)?;
        } else {
            tokens.end(CONFLICTS)?;
        }
    }
    Ok(BranchWork::Conflicts { database, branch, table, limit: rows_max })
}

fn main_table(tokens: &mut Tokens, change: Change) -> Result<BranchWork, Refusal> {
    let database = required(tokens, "MAIN TABLE")?;
    let table = required(tokens, "MAIN TABLE … 'database'")?;
    tokens.end(MAIN_TABLE)?;
    Ok(BranchWork::MainTable { change, database, table })
}

fn resolve(tokens: &mut Tokens) -> Result<ResolveRequest, Refusal> {
    let missing = |what: &str| Refusal::syntax(format!("{what} is missing; usage: {RESOLVE}"));
    let (database, branch) = branch(tokens, "BRANCH RESOLVE")?;
    if !tokens.take_words(&["TABLE"]) {
        return Err(missing("TABLE"));
    }
    let table = required(tokens, "TABLE")?;
    if !tokens.take_words(&["KEY"]) {
        return Err(missing("KEY"));
    }
    let mut key = Vec::new();
    loop {
        let first = required(tokens, "KEY")?;
        let pair = match tokens.take_mark('=') {
            true => (Some(first), required(tokens, "KEY")?),
            false => (None, first),
        };
        key.push(pair);
        if !tokens.take_mark(',') {
            break;
        }
    }
    let choice = if tokens.take_words(&["OURS"]) {
        Choice::Ours
    } else if tokens.take_words(&["THEIRS"]) {
        Choice::Theirs
    } else if tokens.take_words(&["SET"]) {
        Choice::Set(cells(tokens)?)
    } else {
        return Err(missing("OURS, THEIRS or SET"));
    };
    tokens.end(RESOLVE)?;
    Ok(ResolveRequest { database, branch, table, key, choice })
}

/// `'column' = 'value' | NULL, …`
fn cells(tokens: &mut Tokens) -> Result<Vec<(String, Option<String>)>, Refusal> {
    let mut cells = Vec::new();
    loop {
        let column = required(tokens, "SET")?;
        if !tokens.take_mark('=') {
            return Err(Refusal::syntax(format!("= is missing after SET {column}; usage: {RESOLVE}")));
        }
        let value = match tokens.take_words(&["NULL"]) {
            true => None,
            false => Some(tokens.value("=")?),
        };
        cells.push((column, value));
        if !tokens.take_mark(',') {
            return Ok(cells);
        }
    }
}

async fn show(tokens: &mut Tokens, backend: &dyn Backend) -> Result<Answer, Refusal> {
    let database = if tokens.is_empty() { None } else { Some(required(tokens, "SHOW BRANCHES")?) };
    tokens.end("SHOW BRANCHES ['database']")?;
    let rows = backend.branches(database.as_deref()).await?;
    Ok(Answer::Rows(branch_rows::branches(rows)))
}

async fn log(tokens: &mut Tokens, backend: &dyn Backend) -> Result<Answer, Refusal> {
    let (database, branch) = branch(tokens, "SHOW BRANCH LOG")?;
    let commits_max = if tokens.take_words(&["LIMIT"]) { limit(tokens)? } else { LIMIT_DEFAULT };
    tokens.end(LOG)?;
    let entries = backend.branch_log(&database, &branch, commits_max).await?;
    Ok(Answer::Rows(branch_rows::log(entries)))
}

async fn diff(tokens: &mut Tokens, backend: &dyn Backend) -> Result<Answer, Refusal> {
    let (database, branch) = branch(tokens, "SHOW BRANCH DIFF")?;
    let mut question = DiffQuestion { database, branch, table: None, rows_max: LIMIT_DEFAULT };
    let mut stat = false;
    while !tokens.is_empty() {
        if tokens.take_words(&["TABLE"]) {
            question.table = Some(required(tokens, "TABLE")?);
        } else if tokens.take_words(&["STAT"]) {
            stat = true;
        } else if tokens.take_words(&["LIMIT"]) {
            question.rows_max = limit(tokens)?;
        } else {
            tokens.end(DIFF)?;
        }
    }
    if stat {
        question.rows_max = 0;
    }
    let tables = backend.branch_diff(question).await?;
    Ok(Answer::Rows(if stat { branch_rows::diff_stat(tables) } else { branch_rows::diff(tables) }))
}

async fn main_tables(tokens: &mut Tokens, backend: &dyn Backend) -> Result<Answer, Refusal> {
    let database = required(tokens, "SHOW MAIN TABLES")?;
    tokens.end("SHOW MAIN TABLES 'database'")?;
    Ok(Answer::Rows(branch_rows::main_tables(backend.main_tables(&database).await?)))
}

/// Database and branch.
fn branch(tokens: &mut Tokens, after: &str) -> Result<(String, String), Refusal> {
    let database = required(tokens, after)?;
    let branch = required(tokens, &format!("{after} 'database'"))?;
    Ok((database, branch))
}

/// A value that isn't empty.
fn required(tokens: &mut Tokens, after: &str) -> Result<String, Refusal> {
    let value = tokens.value(after)?;
    if value.is_empty() {
        return Err(Refusal::bad_value(format!("the value after {after} is empty")));
    }
    Ok(value)
}

fn limit(tokens: &mut Tokens) -> Result<usize, Refusal> {
    match tokens.id("LIMIT")? {
        number @ 1..=LIMIT_MAX => Ok(number as usize),
        number => Err(Refusal::bad_value(format!("LIMIT takes 1 to {LIMIT_MAX}; this is {number}"))),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parsed(sql: &str) -> Result<BranchWork, String> {
        let work = work(&mut Tokens::new(sql).unwrap()).expect("one of its commands");
        work.map_err(|refusal| refusal.to_string())
    }

    #[test]
    fn commands_that_start_a_job() {
        assert_eq!(
            parsed("BRANCH CREATE 'be''ads' FROM 'x' 'name' COMMIT MAIN WORKER nux"),
            Ok(BranchWork::Create(CreateBranch {
                database: "be'ads".to_owned(),
                name: Some("name".to_owned()),
                from: Some("x".to_owned()),
                commit_main: true,
                worker: Some("nux".to_owned()),
            }))
        );
        let finish = |which| FinishBranches {
            database: "d".to_owned(),
            which,
            push: true,
            keep: true,
            wait: Some(Duration::from_secs(5)),
        };
        let one = Which::One("ALL".to_owned());
        assert_eq!(parsed("BRANCH DONE d 'ALL' WAIT 5 KEEP PUSH"), Ok(BranchWork::Finish(finish(one))));
        let all = Which::All { pattern: Some("polecat-*".to_owned()) };
        let sql = "BRANCH DONE d ALL PATTERN 'polecat-*' PUSH KEEP WAIT 5";
        assert_eq!(parsed(sql), Ok(BranchWork::Finish(finish(all))));
        assert_eq!(parsed("BRANCH REAP DRY RUN"), Ok(BranchWork::Reap { database: None, dry_run: true }));
        assert_eq!(
            parsed("branch reap 'd' dry run"),
            Ok(BranchWork::Reap { database: Some("d".to_owned()), dry_run: true })
        );
        let (database, branch) = ("d".to_owned(), "b".to_owned());
        assert_eq!(
            parsed("BRANCH CONFLICTS d b TABLE t LIMIT 7"),
            Ok(BranchWork::Conflicts { database, branch, table: Some("t".to_owned()), limit: 7 })
        );
    }

    #[test]
    fn what_can_not_be_meant_is_refused_with_the_usage() {
        for (sql, want) in [
            ("BRANCH CREATE d", "a name for the branch or a WORKER"),
            ("BRANCH CREATE d a b", "unexpected b; usage: BRANCH CREATE"),
            ("BRANCH CREATE '' a", "is empty"),
            ("BRANCH DONE d", "a value is missing"),
            ("BRANCH DONE d b NOW", "usage: BRANCH DONE"),
            ("BRANCH DONE d b WAIT 999999", "at most 3600"),
            ("BRANCH DROP d b FORCE NOW", "usage: BRANCH DROP"),
            ("BRANCH CONFLICTS d b LIMIT 0", "LIMIT takes 1 to 10000"),
            ("MAIN TABLE ADD d", "a value is missing"),
        ] {
            let refused = parsed(sql).expect_err(sql);
            assert!(refused.contains(want), "{sql}: {refused}");
        }
    }

    #[test]
    fn decisions() {
        let decision = |rest: &str| {
            let sql = format!("'d' 'b' TABLE 't' {rest}");
            resolve(&mut Tokens::new(&sql).unwrap()).map_err(|refusal| refusal.to_string())
        };
        let request = decision("KEY 'id' = '1', 'k' = 'a,b' SET 'x' = 'NULL', 'y' = NULL").unwrap();
        let owned = |text: &str| text.to_owned();
        assert_eq!(request.key, [(Some(owned("id")), owned("1")), (Some(owned("k")), owned("a,b"))]);
        let set = vec![(owned("x"), Some(owned("NULL"))), (owned("y"), None)];
        assert_eq!(request.choice, Choice::Set(set), "a quoted NULL is a text");
        assert_eq!(decision("KEY 7 OURS").unwrap().key, [(None, owned("7"))]);
        assert_eq!(decision("KEY 7 THEIRS").unwrap().choice, Choice::Theirs);
        for (rest, want) in [
            ("OURS", "KEY is missing"),
            ("KEY 7", "OURS, THEIRS or SET is missing"),
            ("KEY 7 SET 'a'", "= is missing"),
            ("KEY 7 OURS THEIRS", "unexpected THEIRS"),
        ] {
            let refused = decision(rest).expect_err(rest);
            assert!(refused.contains(want), "{rest}: {refused}");
        }
    }
}
