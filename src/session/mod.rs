//! One connection: accept → greet → identify → authenticate → route → serve until quit.

pub mod identity;
