//! The fork at a session's first write: its branch did not exist, so it has been reading main.

use super::backend::Trouble;
use super::heads::Place;
use super::identity::PeerProcess;
use super::route::Requested;
use super::routed::Session;
use crate::branch::ForkRequest;
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

    /// Forks them and puts the session on them. What its open transaction has read of main must be the same on the
    /// branch.
    pub async fn fork(&mut self, pending: Vec<(String, String)>) -> Result<(), Trouble> {
        let context = std::sync::Arc::clone(&self.context);
        for (database, branch) in &pending {
            let control = context.dolt.control();
            let _ours = context.bypass.as_ref().map(|bypass| bypass.touch(database));
            let forked =
                context.forks.ensure(control, &context.branches, self.fork_of(database, branch)).await;
            let spelled = forked.map_err(|reason| {
                let text = format!(
                    "Branchline could not fork branch {branch} of {database} for this first write: {reason}"
                );
                Trouble::Tell(ErrInfo::new(1105, "HY000", text))
            })?;
            context.lanes.touched(database);
            self.heads.forked(database, &spelled);
        }
        // The snapshot of an open transaction was taken before the branch was there: it is run again on it.
        self.roll_back().await;
        self.must_rerun = self.transaction.is_open();
        self.set_heads().await?;
        self.show();
        Ok(())
    }

    fn fork_of(&self, database: &str, branch: &str) -> ForkRequest {
        let environment = match &self.identity.process {
            PeerProcess::Found(process) => process.environment.as_ref().ok(),
            _ => None,
        };
        let worker = environment.and_then(|seen| seen.gt_polecat.clone().or_else(|| seen.bd_actor.clone()));
        ForkRequest {
            database: database.to_owned(),
            name: branch.to_owned(),
            from: None,
            commit_main: false,
            worker,
            by: self.who().account,
        }
    }
}
