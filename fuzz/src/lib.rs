//! Branchline's parsers, and what is asserted of each for any bytes.

#[path = "../../src/wire/mod.rs"]
pub mod wire;
/// What of it parses; the rest of the room needs sockets.
#[path = "."]
pub mod statement {
    #[path = "../../src/statement/body.rs"]
    mod body;
    #[path = "../../src/statement/changing.rs"]
    pub mod changing;
    #[path = "../../src/statement/classify.rs"]
    pub mod classify;
    #[path = "../../src/statement/effects.rs"]
    pub mod effects;
    #[path = "../../src/statement/head.rs"]
    mod head;
    #[path = "../../src/statement/lexer.rs"]
    pub mod lexer;
    #[path = "../../src/statement/reader.rs"]
    mod reader;
    #[path = "../../src/statement/set.rs"]
    mod set;
    #[path = "../../src/statement/summary.rs"]
    mod summary;
}
/// The table that classifying looks things up in.
#[path = "."]
pub mod dolt {
    #[path = "../../src/dolt/procedures.rs"]
    pub mod procedures;
}
pub mod targets;
