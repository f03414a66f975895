//! The console: SQL on a unix socket in the state directory, for the CLI and for any MySQL client.
//!
//! socket → guard (one packet at a time, well-formed) → opensrv-mysql → shim → commands → `Backend`.
//!
//! Owns the socket and the grammar of the commands. Owns nothing that they show or change: `Backend` does.
//! Always: only our own uid and root get past the greeting.

mod answer;
mod backend;
mod branches;
mod commands;
mod guard;
mod jobs;
mod ledger;
mod remotes;
mod shim;
mod socket;
mod tokens;

pub use answer::{Cell, Refusal, Table};
pub use backend::{
    AssignedRow, Backend, ClientRow, ClientsReport, DiskReport, DoltReport, DumpText, ExplainedRoute,
    ExplainedStep, LaneCause, LaneHolderRow, LaneRow, LaneTotals, LanesReport, RigRow, RouteQuestion,
    StatusReport,
};
pub use branches::{
    BranchBackend, BranchRow, BranchWork, Choice, ConflictRow, CreateBranch, FinishBranches, Outcome,
    ReapedRow, ResolveRequest, Which,
};
pub use guard::PACKET_BYTES_MAX;
pub use jobs::{JobRow, JobState, Jobs};
pub use ledger::LedgerWork;
pub use remotes::{AddRemote, RemoteBackend, RemoteView, RemoteWork};
pub use socket::{BindError, Console};
