//! `branchline completions`, `branchline man`: made from the same definition as the help.

use std::path::PathBuf;

use clap::CommandFactory;
use clap_complete::Shell;

use super::Cli;
use super::failure::Failure;

#[derive(Debug, clap::Args)]
#[command(after_help = "\
Examples:
  branchline completions bash > /etc/bash_completion.d/branchline
  branchline completions zsh > ~/.zfunc/_branchline")]
pub struct CompletionsArgs {
    /// Shell
    shell: Shell,
}

#[derive(Debug, clap::Args)]
#[command(after_help = "\
Examples:
  branchline man | man -l -
  branchline man --out /usr/local/share/man/man1")]
pub struct ManArgs {
    /// Write one page per subcommand into this directory
    #[arg(long, value_name = "DIR")]
    out: Option<PathBuf>,
}

pub fn completions(args: &CompletionsArgs) -> Result<(), Failure> {
    let mut script = Vec::new();
    clap_complete::generate(args.shell, &mut Cli::command(), "branchline", &mut script);
    write_out(&script)
}

pub fn man(args: &ManArgs) -> Result<(), Failure> {
    if let Some(dir) = &args.out {
        std::fs::create_dir_all(dir).and_then(|()| clap_mangen::generate_to(Cli::command(), dir)).map_err(
            |error| Failure::Failed(format!("can't write manual pages to {}: {error}", dir.display())),
        )?;
        return Ok(());
    }
    let mut page = Vec::new();
    clap_mangen::Man::new(Cli::command()).render(&mut page)?;
    write_out(&page)
}

fn write_out(bytes: &[u8]) -> Result<(), Failure> {
    use std::io::Write;
    let mut stdout = std::io::stdout().lock();
    stdout.write_all(bytes)?;
    stdout.flush()?;
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_definition_is_consistent() {
        Cli::command().debug_assert();
    }
}
