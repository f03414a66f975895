//! Owns the steps of a finish, in order. Does not decide anything about rows: `dirty`, `ignored` and `merge` do.
//! Always: whatever step it ends at, doing all of them again completes it; the branch is deleted only when main has
//! what was on it.

use std::sync::Arc;

use mysql_async::Conn;
use mysql_async::prelude::Queryable;
use xxhash_rust::xxh3::xxh3_128;

use super::decide::Decider;
use super::dirty::Sides;
use super::ignored::{self, Carry, Places};
use super::own::{OwnRows, Undone, hashes};
use super::push::push;
use super::{FinishError, FinishOutcome, FinishRequest, Finished};
use crate::admit::Committed;
use crate::branch::base::{self, ForkRecord, base_tag};
use crate::branch::book::{Ended, Tombstone};
use crate::branch::directory::sql_literal;
use crate::branch::fork::revision;
use crate::branch::hold::{LanesHeld, hold, look, take_lanes};
use crate::merge::{Decision, MergeError, MergeRequest, Merged};
use crate::observe::audit::MergeEnd;
use crate::observe::progress::Progress;
use crate::session::Context;

/// In a merge commit's message: which finish it was.
const TRAILER: &str = "Branchline-Finish: ";

/// Two connections, used again by the next finish.
pub(in crate::branch) struct Pair {
    pub writer: Conn,
    pub reader: Conn,
}

impl Pair {
    pub async fn take(context: &Context) -> Result<Self, FinishError> {
        let (idle, control) = (&context.forks.idle, context.dolt.control());
        let (writer, reader) = tokio::try_join!(idle.take(control), idle.take(control))?;
        Ok(Self { writer, reader })
    }

    pub fn give_back(self, context: &Context) {
        context.forks.idle.give_back(self.writer);
        context.forks.idle.give_back(self.reader);
    }
}

/// A finish whose branch is closed and whose lanes are held.
struct Work<'a> {
    context: &'a Arc<Context>,
    request: &'a FinishRequest,
    progress: &'a Progress,
    database: &'a str,
    main: &'a str,
    branch: &'a str,
}

/// The branch, ready to be merged: nothing tracked is uncommitted on it.
struct Ready {
    /// Tells this finish from every other: the same as long as the branch is as it is.
    id: String,
    head: String,
    committed: Option<String>,
    /// Of its base tag, if that was needed.
    base: Option<Base>,
    ignored: Vec<String>,
}

#[derive(Clone)]
struct Base {
    commit: String,
    record: Option<ForkRecord>,
}

/// What the transaction came to.
struct Carried {
    commit: Option<String>,
    message: Option<String>,
    outcome: FinishOutcome,
    ignored_rows: u64,
    conflicts: u64,
}

/// From the closed gate to the branch's deletion.
pub(super) async fn run(
    context: &Arc<Context>,
    pair: &mut Pair,
    request: &FinishRequest,
    progress: &Progress,
) -> Result<Finished, FinishError> {
    let (database, branch) = (request.database.as_str(), request.branch.as_str());
    progress.step("wait for open transactions on the branch", None);
    let hold = hold(context, "finish", (database, branch), &request.by, request.wait).await?;
    let found = look(&mut pair.writer, database, branch).await?;
    let Some(branch) = found.branch else { return no_branch(context, pair, request, found.main).await };
    if branch.eq_ignore_ascii_case(&found.main) {
        return Err(FinishError::IsMain { database: database.to_owned(), branch });
    }
    progress.step("wait for the lanes", None);
    let doing = format!("branch done {branch}");
    let lanes =
        take_lanes(context, database, &[&branch, &found.main], (&request.by, &doing), request.wait).await;
    let mut lanes = lanes.map_err(|error| FinishError::Lane(error.to_string()))?;
    let held = context.remotes.turns.hold(database);
    let work = Work { context, request, progress, database, main: &found.main, branch: &branch };
    let done = work.finish(pair, &mut lanes, found.is_snapshot).await;
    // Also after a failure: some of it may have happened.
    lanes.moved(context, database, Committed::Other);
    let mut finished = done?;
    if !request.keep {
        hold.gate.gone();
    }
    drop((lanes, hold, held));
    if request.push {
        progress.step("push", None);
        finished.push = Some(push(context, database, &found.main).await);
    }
    Ok(finished)
}

/// Finished before, or never there.
async fn no_branch(
    context: &Arc<Context>,
    pair: &mut Pair,
    request: &FinishRequest,
    main: String,
) -> Result<Finished, FinishError> {
    let (database, branch) = (request.database.clone(), request.branch.clone());
    let Some(tombstone) = context.book.tombstone(&database, &branch) else {
        return Err(FinishError::NoBranch { database, branch });
    };
    let Ended::Finished { commit } = tombstone.how else {
        return Err(FinishError::Dropped { database, branch });
    };
    let _touch = context.bypass.as_ref().map(|bypass| bypass.touch(&database));
    base::untag(&mut pair.writer, &tombstone.branch).await.map_err(FinishError::at("remove its base tag"))?;
    context.gates.gone(&database, &branch);
    let push = if request.push { Some(push(context, &database, &main).await) } else { None };
    Ok(Finished {
        database,
        branch: tombstone.branch,
        outcome: FinishOutcome::AlreadyFinished,
        main,
        commit,
        message: None,
        branch_commit: None,
        swept: None,
        kept: false,
        ignored_rows: 0,
        conflicts: 0,
        push,
    })
}

impl Work<'_> {
    async fn finish(
        &self,
        pair: &mut Pair,
        lanes: &mut LanesHeld,
        is_snapshot: bool,
    ) -> Result<Finished, FinishError> {
        self.progress.step("commit what is uncommitted on the branch", None);
        let (ready, is_main_dirty) =
            tokio::try_join!(self.ready(&mut pair.reader, is_snapshot), self.go_to_main(&mut pair.writer))?;
        let base = match (&ready.base, is_main_dirty) {
            (None, true) => self.base(&mut pair.reader).await?,
            (base, _) => base.clone(),
        };
        let base_commit = base.as_ref().map(|base| base.commit.as_str());
        let sides = Sides {
            database: self.database,
            main: self.main,
            branch: self.branch,
            base: base_commit,
            is_fast_forward: false,
        };
        let mut own = OwnRows::plan(&mut pair.writer, sides, is_main_dirty).await?;
        let places =
            Places { database: self.database, main: self.main, branch: self.branch, base: base_commit };
        let carried = ignored::plan(&mut pair.writer, &mut pair.reader, &places, &ready.ignored).await?;
        let decisions: Vec<Decision> = self
            .context
            .book
            .decisions(self.database, self.branch)
            .map_err(|error| FinishError::Book(error.to_string()))?;
        let audit = self.context.audit.merge(&ready.id, self.database, self.branch);
        let mut decider =
            Decider::new((self.database, self.branch, self.main), &self.context.config.merge, &audit);
        let result = loop {
            own.settle(&mut pair.writer, lanes, self.branch).await?;
            self.progress.step("merge", None);
            let tried =
                self.transaction(pair, &ready, &own, (&places, &carried), &mut decider, &decisions).await;
            match tried {
                Ok(done) => break Ok(done),
                Err(undone) => {
                    if let Some(error) = own.undone(&mut pair.writer, undone).await? {
                        break Err(error);
                    }
                }
            }
        };
        own.forget(&mut pair.writer).await?;
        ignored::forget(&mut pair.writer, &carried).await.map_err(FinishError::at("clean up"))?;
        let end = match &result {
            Ok(Carried { commit, .. }) => commit.clone().map(MergeEnd::Committed),
            Err(error) => Some(MergeEnd::RolledBack(error.to_string())),
        };
        let told = async {
            if let Some(end) = end
                && let Err(error) = audit.ended(end).await
            {
                tracing::warn!(%error, "the audit log does not have how the finish ended");
            }
        };
        let done = match result {
            Ok(done) => {
                let ((), buried) = tokio::join!(told, self.bury(pair, &ready, &done, base.clone()));
                buried?;
                done
            }
            Err(error) => {
                told.await;
                return Err(error);
            }
        };
        tracing::info!(
            database = self.database,
            branch = self.branch,
            commit = done.commit,
            conflicts = done.conflicts,
            ignored_rows = done.ignored_rows,
            swept = own.swept(),
            by = self.request.by,
            "branch finished"
        );
        Ok(Finished {
            database: self.database.to_owned(),
            branch: self.branch.to_owned(),
            outcome: done.outcome,
            main: self.main.to_owned(),
            commit: done.commit,
            message: done.message,
            branch_commit: ready.committed,
            swept: own.swept().map(str::to_owned),
            kept: self.request.keep,
            ignored_rows: done.ignored_rows,
            conflicts: done.conflicts,
            push: None,
        })
    }

    /// On the branch: its uncommitted rows are Dolt-committed.
    async fn ready(&self, reader: &mut Conn, is_snapshot: bool) -> Result<Ready, FinishError> {
        let at = FinishError::at;
        let place = revision(self.database, self.branch);
        if is_snapshot {
            reader.query_drop(format!("USE {place}")).await.map_err(at("go to the branch"))?;
            base::take_back(reader).await.map_err(at("take back a snapshot that was cut off"))?;
        }
        let (mut head, working, committed) =
            hashes(reader, &place).await.map_err(at("look at the branch"))?;
        let mut ready = Ready {
            id: String::new(),
            head: String::new(),
            committed: None,
            base: None,
            ignored: Vec::new(),
        };
        if working != committed {
            let changed = base::uncommitted(reader).await.map_err(at("look at the branch's rows"))?;
            ready.base = self.base(reader).await?;
            let is_tracked = changed.iter().any(|table| !table.ignored);
            ready.ignored =
                changed.into_iter().filter(|table| table.ignored).map(|table| table.table).collect();
            if is_tracked {
                let message = format!("uncommitted rows of {}, before it was finished", self.branch);
                let record = ready.base.as_ref().and_then(|base| base.record.as_ref());
                let author = record.and_then(|record| record.worker.as_deref()).map(author);
                let author = author.map(|author| format!(", '--author', {}", sql_literal(&author)));
                let sql = format!(
                    "CALL DOLT_COMMIT('-A', '-m', {}{})",
                    sql_literal(&message),
                    author.unwrap_or_default()
                );
                let hash: Option<String> =
                    reader.query_first(sql).await.map_err(at("Dolt-commit the branch's rows"))?;
                head = hash.clone().unwrap_or(head);
                ready.committed = hash;
            }
        }
        let base = ready.base.as_ref().map(|base| base.commit.as_str()).unwrap_or_default();
        let identity = format!("{}\n{head}\n{working}\n{base}", self.branch.to_lowercase());
        (ready.id, ready.head) = (format!("{:032x}", xxh3_128(identity.as_bytes())), head);
        Ok(ready)
    }

    /// Whether anything is uncommitted there, or in ignored tables.
    async fn go_to_main(&self, writer: &mut Conn) -> Result<bool, FinishError> {
        let place = revision(self.database, self.main);
        let (_, working, committed) =
            hashes(writer, &place).await.map_err(FinishError::at("look at main"))?;
        Ok(working != committed)
    }

    async fn base(&self, conn: &mut Conn) -> Result<Option<Base>, FinishError> {
        let tag = sql_literal(&base_tag(self.branch));
        let sql = format!("SELECT tag_hash, message FROM dolt_tags WHERE LOWER(tag_name) = LOWER({tag})");
        let row: Option<(String, String)> =
            conn.query_first(sql).await.map_err(FinishError::at("look for the branch's base"))?;
        Ok(row.map(|(commit, message)| Base { commit, record: ForkRecord::parse(&message) }))
    }

    /// All or nothing.
    async fn transaction(
        &self,
        pair: &mut Pair,
        ready: &Ready,
        own: &OwnRows<'_>,
        (places, carried): (&Places<'_>, &[Carry]),
        decider: &mut Decider<'_>,
        decisions: &[Decision],
    ) -> Result<Carried, Undone> {
        let at = FinishError::at;
        decider.begin();
        let request = MergeRequest {
            database: self.database,
            theirs: self.branch,
            policy: decider.policy,
            decisions,
            progress: self.progress,
            audit: decider.audit,
        };
        let merged = own.merge(pair, &request).await.map_err(|undone| self.undecided(undone))?;
        let writer = &mut pair.writer;
        let mut commit = None;
        if merged.up_to_date {
            commit = self.marked(writer, ready).await?;
        }
        let is_completed = commit.is_some();
        let mut ignored_rows = 0;
        if !is_completed {
            ignored_rows = ignored::carry(writer, places, carried, decider).await?;
        }
        own.put_back(writer).await?;
        let conflicts = merged.conflicts() + decider.conflicts;
        let mut message = None;
        if !is_completed && (!merged.up_to_date || ignored_rows > 0) {
            let text = self.message(ready, &merged, carried, ignored_rows);
            let empty = if merged.up_to_date { "'--allow-empty', " } else { "" };
            let sql = format!("CALL DOLT_COMMIT({empty}'-m', {})", sql_literal(&text));
            commit = writer.query_first(sql).await.map_err(at("commit the merge"))?;
            message = Some(text);
        }
        writer.query_drop("SET autocommit = 1").await.map_err(at("commit"))?;
        let outcome = match (is_completed, &commit) {
            (true, _) => FinishOutcome::Completed,
            (false, Some(_)) => FinishOutcome::Merged,
            (false, None) => FinishOutcome::NothingToMerge,
        };
        Ok(Carried { commit, message, outcome, ignored_rows, conflicts })
    }

    /// The commit of an earlier run of this finish, which did not come to its end.
    async fn marked(&self, writer: &mut Conn, ready: &Ready) -> Result<Option<String>, FinishError> {
        let sql = format!(
            "SELECT commit_hash FROM dolt_log('HEAD', '--not', {}) WHERE message LIKE {} LIMIT 1",
            sql_literal(&ready.head),
            sql_literal(&format!("%{TRAILER}{}%", ready.id))
        );
        writer.query_first(sql).await.map_err(FinishError::at("look for an earlier run"))
    }

    fn message(&self, ready: &Ready, merged: &Merged, carried: &[Carry], ignored_rows: u64) -> String {
        let mut text = format!("merge {} into {}\n\n", self.branch, self.main);
        if !merged.up_to_date {
            text.push_str(&merged.message());
        }
        if ignored_rows > 0 {
            let tables: Vec<&str> = carried.iter().map(Carry::table).collect();
            text.push_str(&format!("Rows of ignored tables: {ignored_rows} ({})\n", tables.join(", ")));
        }
        text.push_str(&format!("\n{TRAILER}{}\n", ready.id));
        text
    }

    /// Rows of a branch are decided with `branch resolve`.
    fn undecided(&self, undone: Undone) -> Undone {
        match undone {
            Undone::Failed(FinishError::Merge(rows @ MergeError::Undecided { .. })) => {
                let (database, branch) = (self.database.to_owned(), self.branch.to_owned());
                Undone::Failed(FinishError::Undecided { database, branch, rows })
            }
            other => other,
        }
    }

    /// The branch is no more; or, if it is to stay, what it has now is its base.
    async fn bury(
        &self,
        pair: &mut Pair,
        ready: &Ready,
        done: &Carried,
        base: Option<Base>,
    ) -> Result<(), FinishError> {
        let at = FinishError::at;
        if self.request.keep {
            self.progress.step("renew the branch's base", None);
            let record = match base.or(self.base(&mut pair.reader).await?).and_then(|base| base.record) {
                Some(record) => record,
                None => ForkRecord {
                    version: ForkRecord::VERSION,
                    worker: None,
                    by: self.request.by.clone(),
                    at: base::unix_now(),
                    from_branch: self.main.to_owned(),
                    from_commit: ready.head.clone(),
                },
            };
            let place = revision(self.database, self.branch);
            pair.reader.query_drop(format!("USE {place}")).await.map_err(at("go to the branch"))?;
            base::untag(&mut pair.reader, self.branch).await.map_err(at("renew the branch's base"))?;
            let is_dirty = !ready.ignored.is_empty();
            base::tag(&mut pair.reader, self.branch, &record, is_dirty)
                .await
                .map_err(at("renew the branch's base"))?;
            let book = Arc::clone(&self.context.book);
            let (database, branch) = (self.database.to_owned(), self.branch.to_owned());
            return blocking(move || book.forget_decisions(&database, &branch).map(|_| ())).await;
        }
        self.progress.step("delete the branch", None);
        let tombstone = Tombstone {
            database: self.database.to_owned(),
            branch: self.branch.to_owned(),
            how: Ended::Finished { commit: done.commit.clone() },
            at: base::unix_now(),
            by: self.request.by.clone(),
        };
        let book = Arc::clone(&self.context.book);
        blocking(move || book.bury(tombstone)).await?;
        let delete = format!("CALL DOLT_BRANCH('-D', {})", sql_literal(self.branch));
        pair.writer.query_drop(delete).await.map_err(at("delete the branch"))?;
        base::untag(&mut pair.writer, self.branch).await.map_err(at("remove its base tag"))
    }
}

pub(super) async fn blocking(
    write: impl FnOnce() -> Result<(), crate::branch::book::BookError> + Send + 'static,
) -> Result<(), FinishError> {
    match tokio::task::spawn_blocking(write).await {
        Ok(written) => written.map_err(|error| FinishError::Book(error.to_string())),
        Err(_) => Err(FinishError::Interrupted),
    }
}

/// A name as Dolt takes it: `Name <mail>`.
fn author(worker: &str) -> String {
    let name: String = worker.chars().filter(|c| !c.is_control() && !matches!(c, '<' | '>')).collect();
    let mail: String = name
        .chars()
        .map(|c| if c.is_ascii_alphanumeric() || matches!(c, '-' | '_' | '.') { c } else { '-' })
        .collect();
    format!("{name} <{mail}@branchline>")
}

/// The branch and main as Dolt spells them; goes to the database. A branch that isn't there is an error, and so is main.
pub(super) async fn spelled(
    conn: &mut Conn,
    database: &str,
    branch: &str,
) -> Result<(String, String), FinishError> {
    let found = look(conn, database, branch).await?;
    match found.branch {
        None => Err(FinishError::NoBranch { database: database.to_owned(), branch: branch.to_owned() }),
        Some(branch) if branch.eq_ignore_ascii_case(&found.main) => {
            Err(FinishError::IsMain { database: database.to_owned(), branch })
        }
        Some(branch) => Ok((branch, found.main)),
    }
}

/// The connection is on the branch from now on.
pub(super) async fn go_to(conn: &mut Conn, database: &str, branch: &str) -> Result<(), FinishError> {
    let place = revision(database, branch);
    conn.query_drop(format!("USE {place}")).await.map_err(FinishError::at("go to the branch"))
}
