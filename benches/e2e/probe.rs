//! Owns what /proc says about a process and about the machine.
//! Does not interpret it.
//! Always: CPU in seconds, memory in KiB; a process that is gone has no figures.

use std::fs;
use std::process::Command;

use procfs::process::Process;
use serde::Serialize;

/// CPU seconds (user and system) used so far.
pub fn cpu_seconds(pid: i32) -> Option<f64> {
    let stat = Process::new(pid).ok()?.stat().ok()?;
    Some((stat.utime + stat.stime) as f64 / procfs::ticks_per_second() as f64)
}

/// Resident memory now.
pub fn resident_kib(pid: i32) -> Option<u64> {
    Process::new(pid).ok()?.status().ok()?.vmrss
}

/// Highest resident memory since the start or the last `reset_peak`.
pub fn peak_kib(pid: i32) -> Option<u64> {
    Process::new(pid).ok()?.status().ok()?.vmhwm
}

/// Begins a new measurement of the peak, where the kernel allows it.
pub fn reset_peak(pid: i32) {
    drop(fs::write(format!("/proc/{pid}/clear_refs"), "5"));
}

/// CPU seconds of the whole machine: all used, and those the hypervisor gave to others.
#[derive(Debug, Clone, Copy, Default)]
pub struct MachineCpu {
    pub busy: f64,
    pub stolen: f64,
}

/// CPU time of the whole machine so far.
pub fn machine_cpu() -> MachineCpu {
    let text = fs::read_to_string("/proc/stat").unwrap_or_default();
    let fields: Vec<f64> = text
        .lines()
        .next()
        .unwrap_or_default()
        .split_whitespace()
        .skip(1)
        .map(|field| field.parse().unwrap_or(0.0) / procfs::ticks_per_second() as f64)
        .collect();
    let at = |index: usize| fields.get(index).copied().unwrap_or(0.0);
    // user, nice, system, (idle, iowait), irq, softirq, steal
    MachineCpu { busy: at(0) + at(1) + at(2) + at(5) + at(6), stolen: at(7) }
}

/// What the numbers were measured on.
#[derive(Debug, Clone, Serialize)]
pub struct Machine {
    pub cpu: String,
    pub cores: usize,
    pub memory_gib: f64,
    pub kernel: String,
    pub load_before: String,
    pub dolt: String,
    pub haproxy: String,
    pub rustc: String,
    pub branchline: String,
}

impl Machine {
    /// Asks the system and the programs.
    pub fn describe(dolt: &std::path::Path, haproxy: &std::path::Path) -> Self {
        let cpuinfo = fs::read_to_string("/proc/cpuinfo").unwrap_or_default();
        let model = cpuinfo.lines().find_map(|line| line.strip_prefix("model name")?.split_once(": "));
        let meminfo = fs::read_to_string("/proc/meminfo").unwrap_or_default();
        let kib: f64 = meminfo
            .lines()
            .find_map(|line| line.strip_prefix("MemTotal:")?.split_whitespace().next()?.parse().ok())
            .unwrap_or(0.0);
        let kernel = fs::read_to_string("/proc/sys/kernel/osrelease").unwrap_or_default();
        let load = fs::read_to_string("/proc/loadavg").unwrap_or_default();
        let commit = first_line(Command::new("git").args([
            "-C",
            env!("CARGO_MANIFEST_DIR"),
            "describe",
            "--always",
            "--dirty",
        ]));
        let profile = if cfg!(debug_assertions) { "NOT a release build" } else { "release build" };
        Self {
            cpu: model.map_or("unknown", |(_, name)| name).to_owned(),
            cores: std::thread::available_parallelism().map_or(0, usize::from),
            memory_gib: kib / f64::from(1 << 20),
            kernel: kernel.trim().to_owned(),
            load_before: load.split_whitespace().take(3).collect::<Vec<_>>().join(" "),
            dolt: first_line(Command::new(dolt).arg("version")),
            haproxy: first_line(Command::new(haproxy).arg("-v")),
            rustc: first_line(Command::new("rustc").arg("--version")),
            branchline: format!("{commit}, {profile}"),
        }
    }
}

fn first_line(command: &mut Command) -> String {
    let output = command.output().ok().filter(|output| output.status.success());
    let text = output.map(|output| String::from_utf8_lossy(&output.stdout).into_owned()).unwrap_or_default();
    text.lines().next().unwrap_or("unknown").to_owned()
}
