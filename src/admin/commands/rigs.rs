//! `SHOW RIGS`, `CREATE RIG`.

use super::Handled;
use crate::admin::answer::{Answer, Refusal, Table};
use crate::admin::backend::{Backend, RigRow};
use crate::admin::tokens::Tokens;

/// MySQL's limit for database names.
const RIG_NAME_BYTES_MAX: usize = 64;
/// Databases that are Dolt's own, or that MySQL clients take for the server's.
const RESERVED: [&str; 5] = ["mysql", "information_schema", "performance_schema", "sys", "dolt"];

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
    check_name(&name)?;
    backend.create_rig(&name).await.map(|rig| rows(vec![rig]))
}

/// The name becomes a database, a directory, and part of branch and remote names.
fn check_name(name: &str) -> Result<(), Refusal> {
    let fine = |c: char| c.is_ascii_alphanumeric() || c == '_' || c == '-';
    let starts_well = name.starts_with(|c: char| c.is_ascii_alphanumeric());
    if !starts_well || !name.chars().all(fine) || name.len() > RIG_NAME_BYTES_MAX {
        let shown: String = name.chars().take(RIG_NAME_BYTES_MAX).collect();
        return Err(Refusal::bad_value(format!(
            "{shown:?} can't be a rig's name: letters, digits, _ and -, a letter or digit first, at most {RIG_NAME_BYTES_MAX} bytes"
        )));
    }
    if RESERVED.iter().any(|reserved| name.eq_ignore_ascii_case(reserved)) {
        return Err(Refusal::bad_value(format!("{name} is reserved; choose another name")));
    }
    Ok(())
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names() {
        for (name, fine) in [
            ("gastown", true),
            ("my-rig_2", true),
            ("2fast", true),
            ("", false),
            ("-x", false),
            ("_x", false),
            ("a b", false),
            ("a/b", false),
            ("a`b", false),
            ("é", false),
            ("MySQL", false),
            (&"x".repeat(64), true),
            (&"x".repeat(65), false),
        ] {
            assert_eq!(check_name(name).is_ok(), fine, "{name}");
        }
    }
}
