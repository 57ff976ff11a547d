//! What a person reads: progress on standard error, one line with its duration per step; results on standard output.

use std::fmt::Arguments;
use std::io::Write;
use std::time::{Duration, Instant};

use anyhow::Result;

/// How often a step that takes long says that it is still at it.
pub const HEARTBEAT: Duration = Duration::from_secs(15);

/// What a shell reports for a program whose reader went away.
const NO_READER: i32 = 141;

/// Prints a line of a command's result. Unlike `println!` it does not panic when the reader has had enough (`| head`).
macro_rules! say {
    ($($argument:tt)*) => { $crate::progress::print(format_args!($($argument)*)) };
}
pub(crate) use say;

pub fn print(line: Arguments) {
    if writeln!(std::io::stdout(), "{line}").is_err() {
        std::process::exit(NO_READER);
    }
}

/// Runs a step and says how long it took.
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

/// Says every so often that a step is still running.
pub struct Heartbeat {
    name: String,
    started: Instant,
    last: Instant,
}

impl Heartbeat {
    pub fn new(name: &str) -> Self {
        Self { name: name.to_owned(), started: Instant::now(), last: Instant::now() }
    }

    pub fn beat(&mut self) {
        if self.last.elapsed() >= HEARTBEAT {
            self.last = Instant::now();
            eprintln!("  … {} ({} s)", self.name, self.started.elapsed().as_secs());
        }
    }
}
