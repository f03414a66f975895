//! The commands, one file per family: each parses its own and calls the backend.

mod branch_rows;
mod branches;
mod clients;
mod config;
mod help;
mod jobs;
mod lanes;
mod ledger;
mod outside;
mod remotes;
mod rigs;
mod routes;
mod session;
mod status;

use super::answer::{Answer, Refusal};
use super::backend::Backend;
use super::tokens::Tokens;

/// What a family says to a command: not mine, or what came of it.
type Handled = Option<Result<Answer, Refusal>>;

/// Runs one command for `by`.
pub async fn run(sql: &str, by: &str, backend: &dyn Backend) -> Result<Answer, Refusal> {
    let mut tokens = Tokens::new(sql)?;
    if tokens.is_empty() {
        return Ok(Answer::Done(String::new()));
    }
    let tokens = &mut tokens;
    if let Some(answer) = status::handle(tokens, backend).await {
        return answer;
    }
    if let Some(answer) = clients::handle(tokens, backend).await {
        return answer;
    }
    if let Some(answer) = lanes::handle(tokens, backend) {
        return answer;
    }
    if let Some(answer) = routes::handle(tokens, by, backend).await {
        return answer;
    }
    if let Some(answer) = branches::handle(tokens, by, backend).await {
        return answer;
    }
    if let Some(answer) = outside::handle(tokens, by, backend).await {
        return answer;
    }
    if let Some(answer) = remotes::handle(tokens, by, backend).await {
        return answer;
    }
    if let Some(answer) = jobs::handle(tokens, backend) {
        return answer;
    }
    if let Some(answer) = config::handle(tokens, backend) {
        return answer;
    }
    if let Some(answer) = rigs::handle(tokens, backend).await {
        return answer;
    }
    if let Some(answer) = help::handle(tokens) {
        return answer;
    }
    if let Some(answer) = session::handle(tokens) {
        return answer;
    }
    Err(Refusal::syntax(format!(
        "unknown command; the console has: {}. SHOW HELP explains them",
        help::names()
    )))
}
