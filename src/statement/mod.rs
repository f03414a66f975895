//! One statement: classify → transaction state → admit → backend → relay → after.
//! Owns what a command's text means for the session and its backend. The text itself is relayed as it is.
//! Always: what is not proven harmless counts as a write.

pub mod lexer;
mod reader;
mod body;
mod set;
mod summary;
pub mod classify;
pub mod changing;
mod head;
pub mod effects;
pub mod transaction;
pub mod attribution;
pub mod written;
pub mod relay;
pub mod retry;
pub mod fate;

#[cfg(test)]
mod lexer_tests;
#[cfg(test)]
mod classify_tests;
#[cfg(test)]
mod effects_tests;
#[cfg(test)]
mod attribution_tests;
