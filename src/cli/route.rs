//! `branchline route list | set | unset | explain`.

use super::client::ConsoleClient;
use super::failure::Failure;
use super::{Context, output};
use crate::config::rule::quote;

#[derive(Debug, clap::Subcommand)]
pub enum Command {
    /// Rules that choose branches, in the order in which they count
    List,
    /// Assign a rule; it is kept across restarts and comes before those of the config file
    Set(SetArgs),
    /// Remove an assigned rule
    Unset(UnsetArgs),
    /// Which branch would such a connection get, and why
    Explain(Box<ExplainArgs>),
}

#[derive(Debug, clap::Args)]
#[command(after_help = "\
Examples:
  branchline route set polecat-nux --account nux --database gastown
  branchline route set 'polecat-{polecat}' --program 'bd*'")]
pub struct SetArgs {
    /// Branch, or a template with {account}, {database}, {program}, {actor}, {polecat}, {attribute:NAME}
    branch: String,
    /// User name of the account
    #[arg(long, value_name = "GLOB")]
    account: Option<String>,
    /// Database that is opened
    #[arg(long, value_name = "GLOB")]
    database: Option<String>,
    /// Client's IP, network (10.0.0.0/8), or `unix`
    #[arg(long, value_name = "ADDR")]
    address: Option<String>,
    /// Client's program
    #[arg(long, value_name = "GLOB")]
    program: Option<String>,
    /// BD_ACTOR of the client's process
    #[arg(long, value_name = "GLOB")]
    actor: Option<String>,
    /// GT_POLECAT of the client's process
    #[arg(long, value_name = "GLOB")]
    polecat: Option<String>,
    /// Connection attribute; may be repeated
    #[arg(long, value_name = "NAME=GLOB", value_parser = name_value)]
    attribute: Vec<(String, String)>,
}

#[derive(Debug, clap::Args)]
pub struct UnsetArgs {
    /// Id from `branchline route list`
    id: u32,
}

#[derive(Debug, clap::Args)]
#[command(after_help = "\
Examples:
  branchline route explain --database gastown --bd-branch polecat-nux
  branchline route explain --database hq --pid 5123")]
pub struct ExplainArgs {
    /// User name as the client would send it
    #[arg(long)]
    user: Option<String>,
    /// Database as the client would name it; `db/branch` too
    #[arg(long, value_name = "DB")]
    database: Option<String>,
    /// Client's IP, or `unix`
    #[arg(long, value_name = "ADDR")]
    address: Option<String>,
    /// Client's program
    #[arg(long)]
    program: Option<String>,
    /// Connection attribute; may be repeated
    #[arg(long, value_name = "NAME=VALUE", value_parser = name_value)]
    attribute: Vec<(String, String)>,
    /// Look this process up as if it were the client
    #[arg(long)]
    pid: Option<u32>,
    /// BD_BRANCH of the client's process
    #[arg(long, value_name = "BRANCH")]
    bd_branch: Option<String>,
    /// BD_ACTOR of the client's process
    #[arg(long)]
    actor: Option<String>,
    /// GT_POLECAT of the client's process
    #[arg(long)]
    polecat: Option<String>,
}

pub fn run(context: &Context, command: Command) -> Result<(), Failure> {
    let mut client = ConsoleClient::connect(context)?;
    match command {
        Command::List => output::list(&client.query("SHOW ROUTES")?, context.json, "no rules"),
        Command::Set(args) => {
            let conditions = clauses(
                &[
                    ("ACCOUNT", args.account),
                    ("DATABASE", args.database),
                    ("ADDRESS", args.address),
                    ("PROGRAM", args.program),
                    ("ACTOR", args.actor),
                    ("POLECAT", args.polecat),
                ],
                &args.attribute,
            );
            let sql = format!("ROUTE {conditions} TO {}", quote(&args.branch));
            output::list(&client.query(&sql)?, context.json, "")
        }
        Command::Unset(args) => {
            output::list(&client.query(&format!("UNROUTE {}", args.id))?, context.json, "")
        }
        Command::Explain(args) => {
            let keys = clauses(
                &[
                    ("USER", args.user),
                    ("DATABASE", args.database),
                    ("ADDRESS", args.address),
                    ("PROGRAM", args.program),
                    ("PID", args.pid.map(|pid| pid.to_string())),
                    ("BD_BRANCH", args.bd_branch),
                    ("ACTOR", args.actor),
                    ("POLECAT", args.polecat),
                ],
                &args.attribute,
            );
            output::list(&client.query(&format!("EXPLAIN ROUTE {keys}"))?, context.json, "")
        }
    }
}

/// `KEY 'value' …` in the console's grammar.
fn clauses(keys: &[(&str, Option<String>)], attributes: &[(String, String)]) -> String {
    let given = keys.iter().filter_map(|(key, value)| Some(format!("{key} {}", quote(value.as_deref()?))));
    let attributes = attributes.iter().map(|(name, value)| format!("ATTRIBUTE.{name} {}", quote(value)));
    given.chain(attributes).collect::<Vec<_>>().join(" ")
}

/// `NAME=VALUE`; the name goes bare into the console's grammar, so it may not have its marks.
fn name_value(text: &str) -> Result<(String, String), String> {
    let (name, value) = text.split_once('=').ok_or("wanted NAME=VALUE")?;
    if name.is_empty() || !name.chars().all(|c| c.is_ascii_alphanumeric() || "_-.".contains(c)) {
        return Err("the name has letters, digits, _, - and . only".to_owned());
    }
    Ok((name.to_owned(), value.to_owned()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn values_stay_values() {
        let keys = [("ACCOUNT", Some("a' TO 'x\\".to_owned())), ("DATABASE", None)];
        let attributes = [("team".to_owned(), "i*".to_owned())];
        assert_eq!(clauses(&keys, &attributes), r"ACCOUNT 'a'' TO ''x\\' ATTRIBUTE.team 'i*'");
        assert!(name_value("a b=c").is_err() && name_value("=c").is_err() && name_value("a").is_err());
    }
}
