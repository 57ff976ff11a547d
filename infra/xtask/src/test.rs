//! `cargo xtask test`: all tests, on a stage of their own that is made for each run and removed afterwards.

use std::ffi::OsString;
use std::os::unix::process::ExitStatusExt;
use std::process::Child;
use std::time::Duration;

use anyhow::{Context, Result};
use rustix::process::{Pid, Signal, kill_process};

use crate::build;
use crate::environment::{self, Settings};
use crate::files;
use crate::handover;
use crate::interrupt;
use crate::lock;
use crate::ports::Ports;
use crate::process::exit_code;
use crate::progress;
use crate::servers;
use crate::stage::Stage;
use crate::up;
use crate::workspace::Workspace;

/// A shell's exit code for a program that SIGINT ended: 128 + 2.
const SIGINT_EXIT_CODE: u8 = 130;
const POLL_INTERVAL: Duration = Duration::from_millis(50);

/// Runs the tests and returns their exit code.
pub fn test(workspace: &Workspace, settings: &Settings, arguments: &[OsString]) -> Result<u8> {
    interrupt::catch()?;
    let _lock = lock::hold(workspace, "test")?;
    let dir = workspace.local().join("test");
    remove_stage(&dir)?;
    let stage = Stage::test(workspace, settings, Ports::free()?)?;
    let logs = stage.logs();
    progress::note(&format!("logs of this run, removed if all tests pass: {}", logs.display()));
    let outcome = up::up(&stage).and_then(|_| run(&stage, arguments));
    if matches!(outcome, Ok(0)) {
        remove_stage(&dir)?;
    } else {
        servers::stop(&dir)?;
        progress::note(&format!("logs of the servers: {0}; of the tests' own processes: {0}/tests", logs.display()));
    }
    outcome
}

/// First the tests that need no stage, then those that do: their summary is the last thing printed. The functions have no unit tests:
/// code that needs one is in `shared`, and linking each function a second time would take longer than all tests.
const RUNS: [(&str, &[&str]); 3] = [
    ("tests of xtask", &["test", "--package", "xtask"]),
    (
        "tests of the code",
        &["test", "--profile", "stage", "--workspace", "--exclude", "xtask", "--lib", "--bin", "tools"],
    ),
    (
        "tests of the stage",
        &["test", "--profile", "stage", "--workspace", "--exclude", "xtask", "--no-fail-fast", "--test", "*"],
    ),
];

fn run(stage: &Stage, arguments: &[OsString]) -> Result<u8> {
    for (name, command) in RUNS {
        progress::heading(name);
        let mut child = build::cargo(&stage.workspace)
            .args(command)
            .args(arguments)
            .env("SOUK_STAGE_FILE", stage.description_file())
            .env("SOUK_XTASK", environment::this_program()?)
            .envs(handover::function_environment(stage))
            .spawn()
            .context("cannot run cargo")?;
        let status = wait(&mut child)?;
        if interrupt::requested() || status.signal().is_some() {
            return Ok(SIGINT_EXIT_CODE);
        }
        if !status.success() {
            return Ok(exit_code(status));
        }
    }
    Ok(0)
}

/// Waits for the tests. Ctrl-C in a terminal reaches them directly; a signal to this program alone is forwarded.
fn wait(child: &mut Child) -> Result<std::process::ExitStatus> {
    let mut forwarded = false;
    loop {
        if let Some(status) = child.try_wait()? {
            return Ok(status);
        }
        if interrupt::requested() && !forwarded {
            forwarded = true;
            if let Some(pid) = Pid::from_raw(i32::try_from(child.id())?) {
                kill_process(pid, Signal::TERM).ok();
            }
        }
        std::thread::sleep(POLL_INTERVAL);
    }
}

fn remove_stage(dir: &std::path::Path) -> Result<()> {
    servers::stop(dir)?;
    files::remove_dir(dir)
}
