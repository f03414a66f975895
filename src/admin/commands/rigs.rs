//! `SHOW RIGS`, `CREATE RIG`.

use super::Handled;
use crate::admin::answer::{Answer, Refusal, Table};
use crate::admin::backend::{Backend, RigRow};
use crate::admin::tokens::Tokens;
use crate::branch::database_name;

pub async fn handle(tokens: &mut Tokens, backend: &dyn Backend) -> Handled {
    if tokens.take_words(&["SHOW", "RIGS"]) {
        return Some(match tokens.end("SHOW RIGS") {
            Ok(()) => backend.rigs().await.map(rows),
            Err(refusal) => Err(refusal),
        });
    }
    if tokens.take_words(&["CREATE", "RIG"]) {
        return Some(create(tokens, backend).await);
    }
    None
}

async fn create(tokens: &mut Tokens, backend: &dyn Backend) -> Result<Answer, Refusal> {
    let name = tokens.value("CREATE RIG")?;
    tokens.end("CREATE RIG name")?;
    database_name::check(&name).map_err(Refusal::bad_value)?;
    backend.create_rig(&name).await.map(|rig| rows(vec![rig]))
}

fn rows(rigs: Vec<RigRow>) -> Answer {
    let mut table = Table::new(["name", "branches", "main_only", "path"]);
    for rig in rigs {
        table.row([
            rig.name.into(),
            rig.branches.into(),
            if rig.main_only { "yes" } else { "no" }.into(),
            rig.path.map(|path| path.display().to_string()).into(),
        ]);
    }
    Answer::Rows(table)
}
