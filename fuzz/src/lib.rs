//! Branchline's parsers, and what is asserted of each for any bytes.

#[path = "../../src/wire/mod.rs"]
pub mod wire;
#[path = "../../src/statement/mod.rs"]
pub mod statement;
pub mod targets;
