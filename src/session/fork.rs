//! The fork at a session's first write: its branch did not exist, so it has been reading main.

use super::backend::Trouble;
use super::heads::Place;
use super::route::Requested;
use super::routed::Session;
use crate::pool::{Answer, Question};
use crate::wire::response::ErrInfo;

impl Session {
    /// Databases whose branch must be forked before a write that mentions them runs: the current one,
    /// and those that `mentions` says.
    pub fn pending_forks(&self, mentions: impl Fn(&str) -> bool) -> Vec<(String, String)> {
        let current =
            self.state.database.as_deref().map(Requested::parse).filter(|asked| asked.branch.is_none());
        self.heads
            .all()
            .filter_map(|head| match &head.place {
                Place::Pending(branch) => Some((head.database.clone(), branch.clone())),
                _ => None,
            })
            .filter(|(database, _)| {
                current.as_ref().is_some_and(|asked| asked.database.eq_ignore_ascii_case(database))
                    || mentions(database)
            })
            .collect()
    }

    /// Forks them and puts the session on them. If its open transaction has read main already, it is
    /// rolled back and the client told to run it again: then on the branch.
    pub async fn fork(&mut self, pending: Vec<(String, String)>) -> Result<(), Trouble> {
        let context = std::sync::Arc::clone(&self.context);
        for (database, branch) in &pending {
            let control = context.dolt.control();
            let forked = context.forks.ensure(control, &context.branches, database, branch).await;
            let spelled = forked.map_err(|reason| {
                let text = format!(
                    "Branchline could not fork branch {branch} of {database} for this first write: {reason}"
                );
                Trouble::Tell(ErrInfo::new(1105, "HY000", text))
            })?;
            self.heads.forked(database, &spelled);
        }
        let has_read = self.state.in_transaction() && self.state.transaction_statements > 0;
        let begin = self.state.begin_text.take();
        // The snapshot of an open transaction was taken before the branch was there.
        self.ask_plain("ROLLBACK").await?;
        self.state.ended_transaction();
        self.set_heads().await?;
        self.show();
        if has_read {
            let names: Vec<&str> = pending.iter().map(|(_, branch)| branch.as_str()).collect();
            let text = format!(
                "This transaction has read main, and its first write created branch {}: it was rolled back; run it again",
                names.join(", ")
            );
            return Err(Trouble::Tell(ErrInfo::new(1213, "40001", text)));
        }
        if let Some(begin) = begin {
            self.ask_plain(&String::from_utf8_lossy(&begin)).await?;
            self.state.begin_text = Some(begin);
        }
        Ok(())
    }

    async fn ask_plain(&mut self, sql: &str) -> Result<(), Trouble> {
        let Some(backend) = self.backend.as_mut() else { return Ok(()) };
        match backend.ask(&[Question::query(sql)]).await.map(|mut answers| answers.pop()) {
            Ok(Some(Answer::Ok(info))) => {
                self.state.saw_status(&info);
                Ok(())
            }
            Ok(Some(Answer::Err(err))) => Err(Trouble::Tell(err)),
            Ok(_) => Ok(()),
            Err(error) => {
                let err = self.forget_backend(&error.to_string());
                Err(Trouble::Tell(err.unwrap_or_else(|| ErrInfo::new(1105, "HY000", error.to_string()))))
            }
        }
    }
}
