//! `branchline branch create`, `branchline sling`.

use serde_json::json;

use super::{ConsoleClient, Context, Failure, count, jobs, output, quote, short};

/// Where the worker's name is when it isn't given, in this order.
const WORKER_VARIABLES: [&str; 2] = ["GT_POLECAT", "BD_ACTOR"];

#[derive(Debug, clap::Args)]
#[command(after_help = "\
Examples:
  branchline branch create beads polecat-nux
  branchline branch create beads --worker nux      named polecat-nux-<unix time>
  eval \"$(branchline sling beads --export)\"        for this shell and what it starts
  BD_BRANCH=polecat-nux bd ready")]
pub struct CreateArgs {
    /// Database
    db: String,
    /// Branch [default: polecat-<worker>-<unix time>]
    name: Option<String>,
    /// Branch to fork [default: main]
    #[arg(long, value_name = "BRANCH")]
    from: Option<String>,
    /// Dolt-commit main's uncommitted rows first, instead of only carrying them onto the branch
    #[arg(long)]
    commit_main: bool,
    /// For whom [default: GT_POLECAT, then BD_ACTOR of the environment]
    #[arg(long, value_name = "NAME")]
    worker: Option<String>,
    /// Print `export BD_BRANCH='…'` only, for a shell's eval
    #[arg(long)]
    export: bool,
}

pub fn run(context: &Context, args: &CreateArgs) -> Result<(), Failure> {
    if args.export && context.json {
        return Err(Failure::Usage("--export and --json can't be given together".to_owned()));
    }
    let worker = args.worker.clone().or_else(|| {
        WORKER_VARIABLES.iter().find_map(|name| std::env::var(name).ok()).filter(|worker| is_name(worker))
    });
    if args.name.is_none() && !worker.as_deref().is_some_and(is_name) {
        return Err(Failure::Usage(
            "no name for the branch: give NAME, or --worker, or set GT_POLECAT or BD_ACTOR, from which \
             polecat-<worker>-<unix time> is made"
                .to_owned(),
        ));
    }
    let mut sql = format!("BRANCH CREATE {}", quote(&args.db));
    for (keyword, value) in [("", &args.name), ("FROM ", &args.from), ("WORKER ", &worker)] {
        if let Some(value) = value {
            sql += &format!(" {keyword}{}", quote(value));
        }
    }
    if args.commit_main {
        sql += " COMMIT MAIN";
    }
    let made = jobs::run_job(&mut ConsoleClient::connect(context)?, &sql)?.row()?;
    let branch = made.first("branch").unwrap_or_default();
    if context.json {
        let mut object = made.json()[0].take();
        object["environment"] = json!({"BD_BRANCH": branch});
        return output::line(&object.to_string());
    }
    if args.export {
        return output::line(&format!("export BD_BRANCH={}", shell_quoted(branch)));
    }
    let copied = made.first("tables_copied").and_then(|copied| copied.parse().ok()).unwrap_or(0);
    eprintln!(
        "made branch {branch} of {} from {} at {}{}{}",
        made.first("database").unwrap_or(&args.db),
        made.first("from_branch").unwrap_or("main"),
        short(made.first("from_commit").unwrap_or_default()),
        if copied > 0 {
            format!(", with the uncommitted and ignored rows of {}", count(copied, "table"))
        } else {
            String::new()
        },
        made.first("committed")
            .map(|commit| format!("; what was uncommitted there is commit {}", short(commit)))
            .unwrap_or_default(),
    );
    output::line(&format!("BD_BRANCH={}", shell_word(branch)))
}

/// Whether a branch's name can be made of it.
fn is_name(worker: &str) -> bool {
    worker.chars().any(|c| c.is_ascii_alphanumeric())
}

/// For sh: nothing within single quotes means anything but their end.
fn shell_quoted(text: &str) -> String {
    format!("'{}'", text.replace('\'', r"'\''"))
}

/// The same, bare where that is safe.
fn shell_word(text: &str) -> String {
    let is_plain = |c: char| c.is_ascii_alphanumeric() || "-_./@%+=:,".contains(c);
    if !text.is_empty() && text.chars().all(is_plain) { text.to_owned() } else { shell_quoted(text) }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_shell_gets_back_what_was_quoted() {
        for text in ["polecat-nux-1", "a b", "it's", "'", "$HOME `id` \"x\" \\ ; & | # !", "a\nb", ""] {
            for written in [shell_quoted(text), shell_word(text)] {
                let script = format!("export BD_BRANCH={written}; printf %s \"$BD_BRANCH\"");
                let output = std::process::Command::new("sh").args(["-c", &script]).output().unwrap();
                assert_eq!(String::from_utf8(output.stdout).unwrap(), text, "{written}");
            }
        }
    }
}
