//! Owns how main's own uncommitted rows and a merge into main get along: put aside and back, or Dolt-committed first.
//! Does not know what is merged, or why. Always: after `undone` main is as it was before; what is committed for the
//! merge's sake says why.

use mysql_async::Conn;
use mysql_async::prelude::Queryable;

use super::FinishError;
use super::dirty::{self, Plan, Sides};
use super::run::Pair;
use crate::branch::base;
use crate::branch::directory::sql_literal;
use crate::branch::hold::LanesHeld;
use crate::merge::{MergeError, MergeRequest, Merged, merge_into};

/// Why a transaction was not committed.
pub(in crate::branch) enum Undone {
    /// Main's own rows don't fit on top of the merge.
    OwnRows(String),
    Failed(FinishError),
}

impl<E: Into<FinishError>> From<E> for Undone {
    fn from(error: E) -> Self {
        Self::Failed(error.into())
    }
}

/// Main's own uncommitted rows during a merge into it.
pub(in crate::branch) struct OwnRows<'a> {
    sides: Sides<'a>,
    plan: Plan,
    swept: Option<String>,
}

impl<'a> OwnRows<'a> {
    /// Looks at main, where `writer` is, outside a transaction.
    pub async fn plan(writer: &mut Conn, sides: Sides<'a>, is_dirty: bool) -> Result<Self, FinishError> {
        let plan = match is_dirty {
            true => dirty::plan(writer, &sides).await,
            false => Ok(Plan::Leave),
        };
        let plan = plan.map_err(FinishError::at("look at main's uncommitted rows"))?;
        Ok(Self { sides, plan, swept: None })
    }

    /// The commit of those that could not stay uncommitted.
    pub fn swept(&self) -> Option<&str> {
        self.swept.as_deref()
    }

    /// Why they could not.
    pub fn why(&self) -> Option<&str> {
        match &self.plan {
            Plan::Commit(why) => Some(why),
            Plan::Leave | Plan::Carry(_) => None,
        }
    }

    /// Before each transaction: makes the commit, if there has to be one. `what` is what people call what is merged.
    pub async fn settle(
        &mut self,
        writer: &mut Conn,
        lanes: &mut LanesHeld,
        what: &str,
    ) -> Result<(), FinishError> {
        let Plan::Commit(why) = &self.plan else { return Ok(()) };
        let message = format!(
            "uncommitted rows of {}, before the merge of {what}\n\nThey could not stay uncommitted: {why}.",
            self.sides.main
        );
        let sql = format!("CALL DOLT_COMMIT('-A', '-m', {})", sql_literal(&message));
        self.swept = writer.query_first(sql).await.map_err(FinishError::at("Dolt-commit main's own rows"))?;
        if self.swept.is_some() {
            lanes.dolt_committed(self.sides.database, self.sides.main);
        }
        Ok(())
    }

    /// Begins a transaction in which main's tables are as in its HEAD.
    pub async fn begin(&self, writer: &mut Conn) -> Result<(), FinishError> {
        let at = FinishError::at;
        writer.query_drop("SET autocommit = 0").await.map_err(at("begin"))?;
        if let Plan::Carry(aside) = &self.plan {
            dirty::revert(writer, aside).await.map_err(at("put main's own rows aside"))?;
        }
        Ok(())
    }

    /// Begins a transaction and merges in it.
    pub async fn merge(&self, pair: &mut Pair, request: &MergeRequest<'_>) -> Result<Merged, Undone> {
        self.begin(&mut pair.writer).await?;
        match merge_into(&mut pair.writer, &mut pair.reader, request).await {
            Ok(merged) => Ok(merged),
            Err(error) => Err(self.stomped(&error).unwrap_or_else(|| error.into())),
        }
    }

    /// An AUTO_INCREMENT counter can't be put back, so the table is not as in HEAD.
    pub fn stomped(&self, error: &impl ToString) -> Option<Undone> {
        let is_it = matches!(self.plan, Plan::Carry(_)) && error.to_string().contains("stomped by merge");
        is_it.then(|| Undone::OwnRows("Dolt can't put a counter of its tables aside".to_owned()))
    }

    /// In the transaction, after the merge.
    pub async fn put_back(&self, writer: &mut Conn) -> Result<(), Undone> {
        if let Plan::Carry(aside) = &self.plan
            && !dirty::put_back(writer, aside).await.map_err(FinishError::at("put main's own rows back"))?
        {
            return Err(Undone::OwnRows(
                "with the branch's rows they break a key or a constraint".to_owned(),
            ));
        }
        Ok(())
    }

    /// After a transaction that can't be committed: rolls it back. `None`: it can be tried once more.
    pub async fn undone(
        &mut self,
        writer: &mut Conn,
        undone: Undone,
    ) -> Result<Option<FinishError>, FinishError> {
        let undo = "ROLLBACK; SET autocommit = 1, foreign_key_checks = 1";
        let undone_well = writer.query_drop(undo).await;
        undone_well.map_err(FinishError::half_way("roll back", self.swept()))?;
        if matches!(undone, Undone::OwnRows(_) | Undone::Failed(FinishError::Merge(_))) {
            forget_violations(writer).await;
        }
        let error = match undone {
            Undone::OwnRows(why) if !matches!(self.plan, Plan::Commit(_)) => {
                self.forget(writer).await?;
                self.plan = Plan::Commit(why);
                return Ok(None);
            }
            Undone::OwnRows(why) => FinishError::Merge(MergeError::Refused(why)),
            Undone::Failed(error) => error,
        };
        if let Some(swept) = self.swept.take() {
            let taken_back = base::take_back(writer).await;
            taken_back.map_err(FinishError::half_way("take back the commit of main's rows", Some(&swept)))?;
        }
        Ok(Some(error))
    }

    /// In the transaction: whether rows that stayed where they are fit what came. Dolt keeps uncommitted rows of tables that
    /// the other side has not changed, also where those they refer to are gone.
    pub async fn check(&self, writer: &mut Conn) -> Result<(), Undone> {
        let violated = writer.query_first::<u64, _>("CALL DOLT_VERIFY_CONSTRAINTS('--output-only')").await;
        match violated.map_err(FinishError::at("check main's own rows"))? {
            Some(0) => Ok(()),
            _ => Err(Undone::OwnRows("with what comes they break a constraint".to_owned())),
        }
    }

    /// At the end, whatever came of it.
    pub async fn forget(&self, writer: &mut Conn) -> Result<(), FinishError> {
        match &self.plan {
            Plan::Carry(aside) => dirty::forget(writer, aside).await.map_err(FinishError::at("clean up")),
            Plan::Leave | Plan::Commit(_) => Ok(()),
        }
    }
}

/// What DOLT_VERIFY_CONSTRAINTS noted stays in Dolt's memory after a rollback, and refers to what was never written: the next
/// write to the database, whoever's, would fail with `dangling ref`, and be the last one that does. So that is ours.
async fn forget_violations(writer: &mut Conn) {
    for sql in ["CALL DOLT_TAG('branchline-flush')", "CALL DOLT_TAG('-d', 'branchline-flush')"] {
        if let Err(error) = writer.query_drop(sql).await {
            tracing::debug!(%error, "after a check that failed");
        }
    }
}

/// Goes there, in the same round trip. HEAD; and all tables now and of HEAD.
pub(in crate::branch) async fn hashes(
    conn: &mut Conn,
    place: &str,
) -> Result<(String, String, String), mysql_async::Error> {
    let sql = format!("USE {place}; SELECT dolt_hashof('HEAD'), dolt_hashof_db(), dolt_hashof_db('HEAD')");
    let mut results = conn.query_iter(sql).await?;
    let _used: Vec<mysql_async::Row> = results.collect().await?;
    let hashes = results.collect_and_drop().await?.pop();
    Ok(hashes.unwrap_or_default())
}
