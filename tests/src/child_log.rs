//! The output of a child process: in a file beside the stage's logs, and not among the results of the tests.

use std::{
    fs::{self, File},
    path::PathBuf,
    process,
    sync::atomic::{AtomicUsize, Ordering},
    thread,
};

use crate::Stage;

/// How much of a log a failing test prints.
const MAX_PRINTED_LINES: usize = 25;

/// A log. When the test fails while it is there, its path and its last lines are part of the test's output.
pub struct ChildLog {
    path: PathBuf,
}

impl ChildLog {
    /// Makes one. Its file is named after the running test and the program.
    ///
    /// # Panics
    /// When the directory cannot be made.
    #[must_use]
    pub fn new(program: &str) -> Self {
        static NUMBER: AtomicUsize = AtomicUsize::new(0);
        let directory = Stage::get().logs.join("tests");
        fs::create_dir_all(&directory).unwrap();
        let thread = thread::current();
        let test = thread.name().unwrap_or("unnamed").replace("::", ".");
        let number = NUMBER.fetch_add(1, Ordering::Relaxed);
        Self { path: directory.join(format!("{test}.{program}.{}-{number}.log", process::id())) }
    }

    /// The file, to be a process's standard output and standard error.
    ///
    /// # Panics
    /// When it cannot be made.
    #[must_use]
    pub fn file(&self) -> File {
        File::create(&self.path).unwrap_or_else(|error| panic!("{}: {error}", self.path.display()))
    }
}

impl Drop for ChildLog {
    fn drop(&mut self) {
        if thread::panicking() {
            let text = fs::read(&self.path).unwrap_or_default();
            let text = String::from_utf8_lossy(&text);
            let lines: Vec<&str> = text.lines().collect();
            let last = &lines[lines.len().saturating_sub(MAX_PRINTED_LINES)..];
            // Captured by the test harness, unlike the process's own output.
            eprintln!("log: {}\n{}", self.path.display(), last.join("\n"));
        }
    }
}
