//! Owns bringing a dropped branch back, and forgetting those that were kept long enough.

use std::sync::Arc;
use std::time::Duration;

use super::drop::{DropError, Undropped};
use super::finish::FinishError;
use crate::session::Context;

/// Brings back the branch of this name that was dropped last.
pub async fn undrop(
    context: &Arc<Context>,
    database: &str,
    branch: &str,
    by: &str,
) -> Result<Undropped, DropError> {
    let _ = (context, database, branch, by);
    Err(FinishError::Interrupted.into())
}

/// Removes the tags of branches of this database that were dropped longer than `keep` ago. Their names.
pub async fn expire_dropped(
    context: &Arc<Context>,
    database: &str,
    keep: Duration,
) -> Result<Vec<String>, DropError> {
    let _ = (context, database, keep);
    Err(FinishError::Interrupted.into())
}
