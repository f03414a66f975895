//! Owns the interactive shell: prompt, line editing, history.
//! Always: the history is readable by its owner only, since it may hold anything.

use std::fs::OpenOptions;
use std::os::unix::fs::OpenOptionsExt;
use std::path::Path;

use rustyline::DefaultEditor;
use rustyline::config::Config;
use rustyline::error::ReadlineError;

use super::super::failure::Failure;
use super::session::Session;
use super::split::Splitter;

const HISTORY_FILE: &str = "sql_history";
const HISTORY_LINES_MAX: usize = 2000;

pub fn run(session: &mut Session, state_dir: &Path) -> Result<(), Failure> {
    let failed = |error: ReadlineError| Failure::Failed(format!("the terminal: {error}"));
    let config = Config::builder()
        .max_history_size(HISTORY_LINES_MAX)
        .map_err(failed)?
        .auto_add_history(false)
        .build();
    let mut editor = DefaultEditor::with_config(config).map_err(failed)?;
    let history = state_dir.join(HISTORY_FILE);
    // Made private before the editor writes to it.
    let writable = OpenOptions::new().append(true).create(true).mode(0o600).open(&history).is_ok();
    if writable {
        let _ = editor.load_history(&history);
    }
    eprintln!("connected to {}; a statement ends with `;`, \\q leaves", session.address());
    let mut splitter = Splitter::new();
    loop {
        let prompt = if splitter.is_pending() { "        -> " } else { "branchline> " };
        match editor.readline(prompt) {
            Ok(line) if !splitter.is_pending() && is_quit(&line) => break,
            Ok(line) => {
                if !line.trim().is_empty() {
                    let _ = editor.add_history_entry(line.as_str());
                }
                splitter.push(&line);
                splitter.push("\n");
                while let Some(statement) = splitter.next_statement() {
                    // An error ends what else was on the line, not the shell.
                    match session.run(&statement) {
                        Ok(()) => {}
                        Err(Failure::OutputClosed) => return Err(Failure::OutputClosed),
                        Err(failure) => {
                            eprintln!("{failure}");
                            splitter.clear();
                        }
                    }
                }
            }
            Err(ReadlineError::Interrupted) => splitter.clear(),
            Err(ReadlineError::Eof) => break,
            Err(error) => return Err(failed(error)),
        }
    }
    if writable {
        let _ = editor.save_history(&history);
    }
    Ok(())
}

fn is_quit(line: &str) -> bool {
    let word = line.trim().trim_end_matches(';');
    word == "\\q" || word.eq_ignore_ascii_case("quit") || word.eq_ignore_ascii_case("exit")
}
