//! The console: SQL on a unix socket in the state directory, for the CLI and for any MySQL client.
//!
//! socket → guard (one packet at a time, well-formed) → opensrv-mysql → shim → commands → `Backend`.
//!
//! Owns the socket and the grammar of the commands. Owns nothing that they show or change: `Backend` does.
//! Always: only our own uid and root get past the greeting.

mod answer;
mod backend;
mod commands;
mod guard;
mod shim;
mod socket;
mod tokens;

pub use answer::Refusal;
pub use backend::{
    AssignedRow, Backend, ClientRow, ClientsReport, DiskReport, DoltReport, DumpText, ExplainedRoute,
    ExplainedStep, LaneCause, LaneHolderRow, LaneRow, LaneTotals, LanesReport, RigRow, RouteQuestion,
    StatusReport,
};
pub use guard::PACKET_BYTES_MAX;
pub use socket::{BindError, Console};
