//! MySQL text as tokens.
