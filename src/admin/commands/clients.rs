//! `SHOW CLIENTS`, `KILL`.

use super::Handled;
use crate::admin::answer::{Answer, Refusal, Table};
use crate::admin::backend::Backend;
use crate::admin::tokens::Tokens;

pub async fn handle(tokens: &mut Tokens, backend: &dyn Backend) -> Handled {
    if tokens.take_words(&["SHOW", "CLIENTS"]) {
        return Some(tokens.end("SHOW CLIENTS").map(|()| Answer::Rows(rows(backend))));
    }
    if tokens.take_words(&["KILL"]) {
        return Some(kill(tokens, backend).await);
    }
    None
}

async fn kill(tokens: &mut Tokens, backend: &dyn Backend) -> Result<Answer, Refusal> {
    // KILL CONNECTION n is the same in MySQL.
    tokens.take_words(&["CONNECTION"]);
    let id = tokens.id("KILL")?;
    tokens.end("KILL id, with an id from SHOW CLIENTS")?;
    backend.kill(id).await?;
    Ok(Answer::Done(format!("client {id} is told to end")))
}

fn rows(backend: &dyn Backend) -> Table {
    let mut table = Table::new([
        "id",
        "address",
        "account",
        "program",
        "pid",
        "database",
        "branch",
        "reason",
        "doing",
        "doing_for_ms",
        "in_transaction",
        "commands",
        "connected_for_s",
        "backend_id",
    ]);
    for client in backend.clients() {
        let known = |text: String| Some(text).filter(|text| !text.is_empty());
        table.row([
            client.id.into(),
            client.address.into(),
            known(client.account).into(),
            known(client.program).into(),
            client.pid.into(),
            client.database.into(),
            client.branch.into(),
            known(client.reason).into(),
            client.doing.into(),
            (client.doing_for.as_millis() as u64).into(),
            if client.in_transaction { "yes" } else { "no" }.into(),
            client.commands.into(),
            client.connected_for.as_secs().into(),
            client.backend_id.into(),
        ]);
    }
    table
}
