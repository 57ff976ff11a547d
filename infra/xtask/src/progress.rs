//! Output for the terminal: progress on standard error, one line with its duration per step; results on standard output.

use std::fmt::Arguments;
use std::io::Write;
use std::process::{Command, ExitStatus};
use std::time::{Duration, Instant};

use anyhow::{Context, Result};

use crate::interrupt;

/// How often a long step reports that it still runs.
const HEARTBEAT_INTERVAL: Duration = Duration::from_secs(15);
const POLL_INTERVAL: Duration = Duration::from_millis(50);

/// A shell's exit code for a program that SIGPIPE ended: 128 + 13.
const SIGPIPE_EXIT_CODE: i32 = 141;

/// Prints a line of a command's result. Unlike `println!` it does not panic on a closed pipe (`| head`).
macro_rules! say {
    ($($argument:tt)*) => { $crate::progress::print(format_args!($($argument)*)) };
}
pub(crate) use say;

pub fn print(line: Arguments) {
    if writeln!(std::io::stdout(), "{line}").is_err() {
        std::process::exit(SIGPIPE_EXIT_CODE);
    }
}

/// Runs a step and prints its duration.
pub fn step<T>(name: &str, work: impl FnOnce() -> Result<T>) -> Result<T> {
    let started = Instant::now();
    let result = work();
    let seconds = started.elapsed().as_secs_f32();
    match &result {
        Ok(_) => eprintln!("  ✓ {name} ({seconds:.1} s)"),
        Err(_) => eprintln!("  ✗ {name} ({seconds:.1} s)"),
    }
    result
}

pub fn note(text: &str) {
    eprintln!("  · {text}");
}

pub fn heading(text: &str) {
    eprintln!("\n{text}");
}

/// Runs a program to its end, with a heartbeat line while it runs. Ctrl-C ends it.
pub fn run(command: &mut Command, name: &str) -> Result<ExitStatus> {
    let program = command.get_program().to_owned();
    let mut child = command.spawn().with_context(|| format!("cannot run {}", program.display()))?;
    let started = Instant::now();
    let mut last = started;
    loop {
        if let Some(status) = child.try_wait()? {
            return Ok(status);
        }
        if interrupt::requested() {
            child.kill()?;
            child.wait()?;
        }
        interrupt::check()?;
        if last.elapsed() >= HEARTBEAT_INTERVAL {
            last = Instant::now();
            eprintln!("  … {name} ({} s)", started.elapsed().as_secs());
        }
        std::thread::sleep(POLL_INTERVAL);
    }
}
