//! Sockets as the data path needs them: TCP and Unix alike, and a read buffer that grows and shrinks.
//! Owns bytes in transit. Does not know packets.

mod inbox;
mod stream;

pub use inbox::Inbox;
pub use stream::Stream;
