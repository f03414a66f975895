//! `branchline start` and `restart`: `serve` in the background, in a session of its own.

use std::fs::{File, OpenOptions};
use std::io::{Read, Seek, SeekFrom};
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};
use std::process::Stdio;
use std::time::Duration;

use tokio::io::{AsyncBufReadExt, BufReader};
use tokio::process::{Child, Command};

use super::client::ConsoleClient;
use super::failure::Failure;
use super::flags::Flags;
use super::process::{Progress, private_dir, runtime};
use super::{Context, logs, output, stop};
use crate::config::{Config, DoltSource};

/// Flags of the last start, for `restart`.
const START_FILE: &str = "start.json";
/// How much of the log is shown when the start fails.
const LOG_TAIL_BYTES: u64 = 4096;

#[derive(Debug, clap::Args)]
#[command(after_help = "\
Examples:
  branchline start                               in a town: serve its .dolt-data
  branchline start --listen 127.0.0.1:3307 --data-dir ~/gt/.dolt-data

The log is branchline.log in the state directory; see `branchline logs`.")]
pub struct Args {
    #[command(flatten)]
    pub dolt: super::flags::DoltFlag,
    /// How long to wait until SQL is served; it goes on starting after that
    #[arg(long, value_name = "SECONDS", default_value_t = 120)]
    timeout_s: u64,
}

#[derive(Debug, clap::Args)]
#[command(after_help = "\
Examples:
  branchline restart
  branchline restart --listen 127.0.0.1:3308     with one flag changed")]
pub struct RestartArgs {
    #[command(flatten)]
    pub stop: stop::Args,
}

pub fn run(context: &Context, args: &Args) -> Result<(), Failure> {
    start(context, &context.flags, Duration::from_secs(args.timeout_s), true)
}

/// Also starts when nothing was running: the wish is that it runs, with these settings.
pub fn restart(context: &Context, args: &RestartArgs) -> Result<(), Failure> {
    let state_dir = context.flags.state_dir()?;
    let last = last_flags(&state_dir);
    let known = last.is_some();
    let flags = context.flags.clone().or(last.unwrap_or_default());
    let config = flags.resolve()?;
    match ConsoleClient::connect_in(&state_dir) {
        Ok(mut client) => {
            let served = client.status()?.get("data_dir").map(PathBuf::from);
            // Started by `serve`, whose flags nobody wrote down: never swap the data directory by accident.
            if !known && context.flags.data_dir.is_none() && served.as_ref() != Some(&config.data_dir) {
                return Err(Failure::Usage(format!(
                    "the running process serves {}, and these settings would serve {}; say which with --data-dir",
                    served.unwrap_or_default().display(),
                    config.data_dir.display()
                )));
            }
            stop::stop(client, args.stop.limit())?;
        }
        Err(Failure::NotRunning(_)) => eprintln!("Branchline was not running in {}", state_dir.display()),
        Err(other) => return Err(other),
    }
    start(context, &flags, Duration::from_secs(120), false)
}

fn start(context: &Context, flags: &Flags, limit: Duration, is_new: bool) -> Result<(), Failure> {
    let config = flags.resolve()?;
    match ConsoleClient::connect_in(&config.state_dir) {
        Ok(mut client) => {
            let status = client.status()?;
            let (pid, listen) = (status.pid()?, status.get("listen").unwrap_or("?"));
            return Err(Failure::AlreadyRunning(format!(
                "Branchline is already running: pid {pid} serves {listen}, state directory {}",
                client.state_dir().display()
            )));
        }
        Err(Failure::NotRunning(_)) => {}
        Err(other) => return Err(other),
    }
    if is_new && let Some(last) = other_data_dir(flags, &config) {
        return Err(Failure::Usage(format!(
            "the last one here served {}, and these settings would serve {}: `branchline restart` starts it as it was, or say \
             which with --data-dir",
            last.display(),
            config.data_dir.display()
        )));
    }
    private_dir(&config.state_dir)?;
    let flags = flags.pinned(&config);
    let log_path = config.state_dir.join(logs::BRANCHLINE_LOG);
    let log = OpenOptions::new().append(true).create(true).mode(0o600).open(&log_path);
    let log = log.map_err(|error| Failure::Failed(format!("can't write {}: {error}", log_path.display())))?;
    let log_bytes_before = log.metadata().map_or(0, |metadata| metadata.len());

    let binary = std::env::current_exe()
        .map_err(|error| Failure::Failed(format!("can't tell where the branchline binary is: {error}")))?;
    let mut command = Command::new(&binary);
    command.arg("serve").args(flags.to_args()).arg("--log-file").arg(&log_path).arg("--own-session");
    // Only `ready` is written to stdout, and only once; a panic before the log is set up goes to stderr.
    command.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(log).kill_on_drop(false);

    let ready = runtime()?.block_on(async {
        let mut child = command
            .spawn()
            .map_err(|error| Failure::Failed(format!("can't run {}: {error}", binary.display())))?;
        wait_ready(&mut child, limit, &log_path, log_bytes_before).await
    })?;
    save_flags(&config.state_dir, &flags)?;
    let (pid, address) = (ready.pid, ready.address);
    if context.json {
        let state_dir = config.state_dir.display().to_string();
        return output::line(
            &serde_json::json!({"pid": pid, "listen": address, "state_dir": state_dir}).to_string(),
        );
    }
    output::line(&format!("ready {address} (pid {pid})"))
}

/// The data directory of the last start, if nobody says that another one is meant now.
fn other_data_dir(flags: &Flags, config: &Config) -> Option<PathBuf> {
    let is_told = flags.data_dir.is_some() || std::env::var_os("BRANCHLINE_DATA_DIR").is_some();
    if is_told || !matches!(config.dolt.source, DoltSource::Private { .. }) {
        return None;
    }
    let last = last_flags(&config.state_dir).filter(|last| last.dolt_address.is_none())?;
    last.data_dir.filter(|last| *last != config.data_dir)
}

struct Ready {
    pid: u32,
    address: String,
}

async fn wait_ready(
    child: &mut Child,
    limit: Duration,
    log: &Path,
    log_bytes_before: u64,
) -> Result<Ready, Failure> {
    let pid = child.id().unwrap_or_default();
    let Some(stdout) = child.stdout.take() else {
        return Err(Failure::Failed("the child has no stdout".to_owned()));
    };
    let mut lines = BufReader::new(stdout).lines();
    let mut progress = Progress::new(format!("starting (pid {pid})"));
    let deadline = tokio::time::sleep(limit);
    tokio::pin!(deadline);
    loop {
        tokio::select! {
            line = lines.next_line() => match line {
                Ok(Some(line)) => {
                    if let Some(address) = line.strip_prefix("ready ") {
                        return Ok(Ready { pid, address: address.trim().to_owned() });
                    }
                }
                Ok(None) | Err(_) => break,
            },
            () = progress.tick() => {}
            () = &mut deadline => {
                return Err(Failure::Failed(format!(
                    "not ready within {} s; pid {pid} goes on starting, see `branchline logs -f` and `branchline status`",
                    limit.as_secs()
                )));
            }
        }
    }
    let ended = match child.wait().await {
        Ok(status) => status,
        Err(error) => return Err(Failure::Failed(format!("can't wait for pid {pid}: {error}"))),
    };
    let said = since(log, log_bytes_before).unwrap_or_default();
    let text = format!("Branchline did not start ({ended}); it said:\n{said}");
    Err(match ended.code() {
        Some(2) => Failure::Usage(text),
        Some(4) => Failure::AlreadyRunning(text),
        _ => Failure::Failed(text),
    })
}

/// What was added to the log since the start, its end if that is long.
fn since(log: &Path, offset: u64) -> std::io::Result<String> {
    let mut file = File::open(log)?;
    let len = file.metadata()?.len();
    // Shorter means rotated: then all of it is new.
    let from = if len < offset { 0 } else { offset };
    file.seek(SeekFrom::Start(from.max(len.saturating_sub(LOG_TAIL_BYTES))))?;
    let mut bytes = Vec::new();
    file.read_to_end(&mut bytes)?;
    Ok(String::from_utf8_lossy(&bytes).into_owned())
}

fn last_flags(state_dir: &Path) -> Option<Flags> {
    serde_json::from_str(&std::fs::read_to_string(state_dir.join(START_FILE)).ok()?).ok()
}

fn save_flags(state_dir: &Path, flags: &Flags) -> Result<(), Failure> {
    let path = state_dir.join(START_FILE);
    let temporary = state_dir.join(format!(".{START_FILE}.{}", std::process::id()));
    let write = || {
        let file = OpenOptions::new().write(true).create(true).truncate(true).mode(0o600).open(&temporary)?;
        serde_json::to_writer_pretty(&file, flags)?;
        file.sync_all()?;
        std::fs::rename(&temporary, &path)
    };
    write()
        .map_err(|error: std::io::Error| Failure::Failed(format!("can't write {}: {error}", path.display())))
}
