//! Owns who may write when: a write lane per branch of a database, the commit clock, what is learned of
//! clients that Dolt-commit.
//! Does not know SQL, transactions or Dolt: a session says which lanes it needs and what it committed.
//! Always: a lane has one holder at most, and loses it at the latest with its session.
//!
//! A session has one `Seat`. In the order of a transaction:
//! 1. `snapshot`, before BEGIN goes to Dolt: what the clock shows;
//! 2. `busy`, when a command came, and `doing`, for others to see;
//! 3. `take`, before a write, and before COMMIT for all lanes read or written; then, if anything may have
//!    changed hands, `moved_since`;
//! 4. `committed`, once Dolt has answered, and only then `keep` or `release_all`;
//! 5. `idle`, when it is the client's turn.
//!
//! Correctness is the check by `moved_since` under the lanes; the lanes only make it pass. That is why a
//! lane may be taken from a holder that idles: it takes it again at COMMIT, and checks.

mod clock;
mod commits;
mod core;
mod counters;
mod effects;
mod habits;
mod lane;
mod lane_key;
mod lanes;
mod record;
mod seat;
mod stall;
mod view;

pub use self::clock::Reads;
pub use self::commits::Committed;
pub use self::core::LaneSettings;
pub use self::counters::{Cause, Counters, Outcome, Totals};
pub use self::lane_key::LaneKey;
pub use self::lanes::Lanes;
pub use self::record::Who;
pub use self::seat::{Seat, Taken};
pub use self::view::{Blocked, HolderState, HolderView, LaneView, NotTaken, WaiterView};
pub use crate::config::OwnRows;
