//! One connection: accept → greet → identify → authenticate → route → serve until quit.

pub mod identity;
pub mod peer;
pub mod route;
