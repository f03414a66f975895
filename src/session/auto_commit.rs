//! `auto_commit = "dolt"`: a SQL transaction becomes a Dolt commit with the client as its author.
//! Owns that commit. Does not decide for whom: the settings do. Always: under the lanes of the transaction, on a
//! connection of ours, so that the client's own session shows nothing of it.

use std::collections::BTreeSet;

use super::routed::Session;
use crate::admit::{Committed, LaneKey};
use crate::branch::sql_identifier;
use crate::config::AutoCommit;
use crate::dolt::ControlError;

impl Session {
    /// Whether its SQL commits become Dolt commits. Not for a client that makes its own.
    pub fn auto_commits(&self) -> bool {
        let rules = self.context.config.lanes.choose(&self.identity, self.state.database.as_deref());
        rules.auto_commit == AutoCommit::Dolt && !self.dolt_commits
    }

    /// Makes the Dolt commits. What can't be committed stays in the working set, for the next one.
    pub async fn auto_commit(&mut self, lanes: &BTreeSet<LaneKey>) {
        let view = self.entry().view();
        for lane in lanes {
            let branch = self.spelled(lane.branch());
            match self.dolt_commit(lane.database(), &branch, &view.account, &view.program).await {
                Ok(()) => self.seat.committed([lane], Committed::Dolt),
                Err(error) => tracing::warn!(
                    %lane, %error,
                    "auto_commit: the rows are SQL-committed, but their Dolt commit failed; the next one takes them along"
                ),
            }
        }
    }

    async fn dolt_commit(
        &self,
        database: &str,
        branch: &str,
        account: &str,
        program: &str,
    ) -> Result<(), ControlError> {
        let mut session = self.context.dolt.control().dedicated().await?;
        session
            .execute(&format!("USE {}", sql_identifier(&format!("{database}/{branch}"))), Vec::new())
            .await?;
        let by = if program.is_empty() { account.to_owned() } else { format!("{account}, {program}") };
        let name = account.split('@').next().unwrap_or_default();
        let author = format!("{name} <{account}>");
        let call = "CALL DOLT_COMMIT('-A', '--skip-empty', '-m', ?, '--author', ?)";
        session.rows(call, vec![format!("auto-commit of {by}").into(), author.into()]).await?;
        Ok(())
    }
}
