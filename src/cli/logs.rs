//! `branchline logs`: the end of a log, and what is added to it, across rotation.

use std::fs::File;
use std::io::{Read, Seek, SeekFrom, Write};
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};
use std::time::Duration;

use super::failure::Failure;
use super::{Context, output};

/// Our log in the state directory, when started by `start`.
pub const BRANCHLINE_LOG: &str = "branchline.log";
const DOLT_LOG: &str = "dolt.log";
/// How often a followed file is looked at.
const FOLLOW_INTERVAL: Duration = Duration::from_millis(200);
const BLOCK_BYTES: u64 = 64 * 1024;

#[derive(Debug, clap::Args)]
#[command(after_help = "\
Examples:
  branchline logs -n 100
  branchline logs -f --dolt

A server in the foreground (`serve`) logs to its stderr; only Dolt's log is in the state directory then.")]
pub struct Args {
    /// Go on with what is added, until Ctrl-C
    #[arg(short, long)]
    follow: bool,
    /// Lines to begin with
    #[arg(short = 'n', long, value_name = "N", default_value_t = 50)]
    lines: usize,
    /// Dolt's log instead of Branchline's
    #[arg(long)]
    dolt: bool,
}

pub fn run(context: &Context, args: &Args) -> Result<(), Failure> {
    let state_dir = context.flags.state_dir()?;
    let path = state_dir.join(if args.dolt { DOLT_LOG } else { BRANCHLINE_LOG });
    let mut file = File::open(&path).map_err(|error| match error.kind() {
        std::io::ErrorKind::NotFound => Failure::Failed(format!(
            "there is no log {}; was Branchline started by `branchline start` with this --state-dir?",
            path.display()
        )),
        _ => Failure::Failed(format!("can't read {}: {error}", path.display())),
    })?;
    let mut printer = Printer { json: context.json, partial: Vec::new() };
    let start = tail_offset(&mut file, args.lines)?;
    file.seek(SeekFrom::Start(start))?;
    printer.drain(&mut file)?;
    if args.follow {
        return follow(path, file, printer);
    }
    printer.end()
}

/// Never returns but for an error: Ctrl-C ends it.
fn follow(path: PathBuf, mut file: File, mut printer: Printer) -> Result<(), Failure> {
    loop {
        std::thread::sleep(FOLLOW_INTERVAL);
        let replaced = is_replaced(&path, &file)?;
        // The old file is read to its end after it was seen to be replaced, so nothing in it is missed.
        printer.drain(&mut file)?;
        if replaced {
            file = match File::open(&path) {
                Ok(next) => next,
                Err(error) if error.kind() == std::io::ErrorKind::NotFound => continue,
                Err(error) => return Err(error.into()),
            };
        } else if file.metadata()?.len() < file.stream_position()? {
            // Truncated in place by somebody else's rotation.
            file.seek(SeekFrom::Start(0))?;
        }
    }
}

fn is_replaced(path: &Path, file: &File) -> Result<bool, Failure> {
    match std::fs::metadata(path) {
        Ok(now) => Ok(now.ino() != file.metadata()?.ino()),
        // Between the two renames of a rotation.
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => Ok(false),
        Err(error) => Err(error.into()),
    }
}

/// Where the last `lines` lines begin, found from the end so that a large log costs nothing.
fn tail_offset(file: &mut File, lines: usize) -> Result<u64, Failure> {
    let len = file.metadata()?.len();
    let mut newlines = 0;
    let mut end = len;
    while end > 0 {
        let begin = end.saturating_sub(BLOCK_BYTES);
        let mut block = vec![0; (end - begin) as usize];
        file.seek(SeekFrom::Start(begin))?;
        file.read_exact(&mut block)?;
        for (index, _) in block.iter().enumerate().rev().filter(|(_, byte)| **byte == b'\n') {
            let at = begin + index as u64;
            // The newline that ends the last line does not begin another one.
            if at + 1 == len {
                if lines == 0 {
                    return Ok(len);
                }
                continue;
            }
            newlines += 1;
            if newlines == lines {
                return Ok(at + 1);
            }
        }
        end = begin;
    }
    Ok(if lines == 0 { len } else { 0 })
}

struct Printer {
    json: bool,
    /// The beginning of a line whose end is not written yet.
    partial: Vec<u8>,
}

impl Printer {
    /// Prints the whole lines up to the file's end.
    fn drain(&mut self, file: &mut File) -> Result<(), Failure> {
        let mut block = vec![0; BLOCK_BYTES as usize];
        loop {
            let read = file.read(&mut block)?;
            if read == 0 {
                return Ok(());
            }
            self.partial.extend_from_slice(&block[..read]);
            if let Some(end) = self.partial.iter().rposition(|byte| *byte == b'\n') {
                let lines: Vec<u8> = self.partial.drain(..=end).collect();
                self.print(&lines)?;
            }
        }
    }

    fn end(mut self) -> Result<(), Failure> {
        let rest = std::mem::take(&mut self.partial);
        if rest.is_empty() { Ok(()) } else { self.print(&rest) }
    }

    fn print(&self, lines: &[u8]) -> Result<(), Failure> {
        let text = String::from_utf8_lossy(lines);
        if !self.json {
            let mut stdout = std::io::stdout().lock();
            stdout.write_all(text.as_bytes())?;
            stdout.flush()?;
            return Ok(());
        }
        // One object per line; a log that is JSON already is passed on as it is.
        for line in text.lines() {
            match serde_json::from_str::<serde_json::Map<String, serde_json::Value>>(line) {
                Ok(_) => output::line(line)?,
                Err(_) => output::line(&serde_json::json!({ "line": line }).to_string())?,
            }
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn tails() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("log");
        for (text, lines, want) in [
            ("a\nb\nc\n", 2, "b\nc\n"),
            ("a\nb\nc", 2, "b\nc"),
            ("a\nb\n", 9, "a\nb\n"),
            ("a\n", 0, ""),
            ("a", 0, ""),
            ("", 5, ""),
            ("\n\n", 1, "\n"),
        ] {
            std::fs::write(&path, text).unwrap();
            let offset = tail_offset(&mut File::open(&path).unwrap(), lines).unwrap();
            assert_eq!(&text[offset as usize..], want, "{text:?} {lines}");
        }
        let long = "x".repeat(BLOCK_BYTES as usize) + "\nlast\n";
        std::fs::write(&path, &long).unwrap();
        assert_eq!(tail_offset(&mut File::open(&path).unwrap(), 1).unwrap(), BLOCK_BYTES + 1);
    }
}
