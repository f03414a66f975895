//! Owns setting up our own log: to stderr, or to a rotated file when started by `branchline start`.
//! Does not rotate Dolt's log: `dolt` does.
//! Always: a panic is in the log.

use std::io;
use std::path::Path;

use tracing_subscriber::EnvFilter;
use tracing_subscriber::fmt::MakeWriter;

use super::rotate::RotatingFile;
use crate::config::LogConfig;

/// Begins logging for the rest of the process's life; once per process. `file` none is stderr.
pub fn init(config: &LogConfig, file: Option<&Path>) -> io::Result<()> {
    match file {
        None => subscribe(config, io::stderr)?,
        Some(path) => subscribe(config, RotatingFile::open(path, config.rotate_bytes, config.rotate_keep)?)?,
    }
    let default_hook = std::panic::take_hook();
    std::panic::set_hook(Box::new(move |panic| {
        tracing::error!(panic = %panic, "a task panicked; this is a bug in Branchline");
        default_hook(panic);
    }));
    Ok(())
}

fn subscribe<W>(config: &LogConfig, writer: W) -> io::Result<()>
where
    W: for<'w> MakeWriter<'w> + Send + Sync + 'static,
{
    let filter = EnvFilter::try_new(&config.filter).map_err(io::Error::other)?;
    let builder = tracing_subscriber::fmt().with_env_filter(filter).with_writer(writer).with_ansi(false);
    if config.json { builder.json().try_init() } else { builder.try_init() }.map_err(io::Error::other)
}

impl<'w> MakeWriter<'w> for RotatingFile {
    type Writer = &'w RotatingFile;

    fn make_writer(&'w self) -> Self::Writer {
        self
    }
}
