//! `branchline alerts`.

use super::client::ConsoleClient;
use super::failure::Failure;
use super::{Context, output};

#[derive(Debug, clap::Args)]
#[command(after_help = "\
Examples:
  branchline alerts               what is wrong with remotes and backups
  branchline alerts --all --json  also what was over within the last 24 hours

Columns: kind, database, remote, since, cleared, text, advice, told, told_cleared")]
pub struct AlertsArgs {
    /// Also those that were over within the last 24 hours
    #[arg(long)]
    all: bool,
}

pub fn run(context: &Context, args: &AlertsArgs) -> Result<(), Failure> {
    let all = if args.all { " ALL" } else { "" };
    let table = ConsoleClient::connect(context)?.query(&format!("SHOW ALERTS{all}"))?;
    if context.json {
        return output::line(&table.json().to_string());
    }
    if table.rows.is_empty() {
        return output::line("nothing is wrong");
    }
    for row in &table.rows {
        let get = |column| table.cell(row, column);
        let part = |column| get(column).unwrap_or("?");
        let over = get("cleared").map(|at| format!(", over {at}")).unwrap_or_default();
        let mut lines = vec![
            format!(
                "{} {} {}, since {}{over}",
                part("kind"),
                part("database"),
                part("remote"),
                part("since")
            ),
            format!("  {}", part("text")),
        ];
        lines.extend(get("advice").filter(|_| over.is_empty()).map(|advice| format!("  {advice}")));
        lines.push(format!("  told: {}", get("told").unwrap_or("not yet")));
        if !over.is_empty() {
            lines.push(format!("  told that it is over: {}", get("told_cleared").unwrap_or("not yet")));
        }
        for line in lines {
            output::line(&output::printable(&line))?;
        }
    }
    Ok(())
}
