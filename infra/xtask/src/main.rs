//! `cargo xtask`: the whole of Souk on one machine, and the checks of the repository.

mod aws;
mod build;
mod check;
mod cli;
mod demo;
mod deploy;
mod deployment;
mod down;
mod environment;
mod files;
mod function_urls;
mod gateway;
mod handover;
mod interrupt;
mod keys;
mod lock;
mod logs;
mod process;
mod progress;
mod release;
mod requirements;
mod seed;
mod servers;
mod sizes;
mod stage;
mod status;
mod store;
mod test;
mod token_keys;
mod tools;
mod up;
mod workspace;

use std::ffi::OsString;
use std::process::ExitCode;

use anyhow::{Result, bail};

use cli::Command;
use environment::Settings;
use progress::say;
use stage::Stage;
use workspace::Workspace;

fn main() -> ExitCode {
    match run() {
        Ok(code) => ExitCode::from(code),
        Err(error) => {
            eprintln!("\nerror: {error:#}");
            ExitCode::FAILURE
        }
    }
}

/// Runs the command and returns the exit code.
fn run() -> Result<u8> {
    let command = cli::parse()?;
    let workspace = Workspace::find()?;
    match command {
        Command::Help => say!("{}", cli::HELP.trim_end()),
        Command::Up => {
            let _lock = lock::hold(&workspace, "stage")?;
            let stage = personal(&workspace)?;
            let urls = up::up(&stage)?;
            up::welcome(&urls);
        }
        Command::Down { purge } => down::down(&workspace, purge)?,
        Command::Status => return status::status(&personal(&workspace)?),
        Command::Logs(selection) => logs::logs(&running(&workspace)?, &selection)?,
        Command::Operate { subcommand, arguments, is_local: true } => {
            let stage = running(&workspace)?;
            return tools(&workspace, seed::tools(&stage), subcommand, &arguments);
        }
        Command::Operate { subcommand, arguments, is_local: false } => {
            return without_stage(&workspace, subcommand, &arguments);
        }
        Command::Mail(arguments) => return without_stage(&workspace, "mail", &arguments),
        Command::Demo => demo::demo(&running(&workspace)?)?,
        Command::Lab(arguments) => {
            let stage = running(&workspace)?;
            build::functions(&workspace)?;
            return tools(&workspace, seed::tools(&stage), "lab", &arguments);
        }
        Command::Seed(arguments) => {
            let stage = running(&workspace)?;
            return tools(&workspace, seed::tools(&stage), "seed", &arguments);
        }
        Command::RotateKeys { drop_old } => rotate_keys(&workspace, drop_old)?,
        Command::Build(architecture) => release::build_functions(&workspace, architecture)?,
        Command::Sizes => sizes::sizes(&workspace)?,
        Command::Deploy(release) => release::deploy(&workspace, &release)?,
        Command::Rollback(arguments) => return release::rollback(&workspace, &arguments),
        Command::Routes => return without_stage(&workspace, "routes", &[]),
        Command::OpenApi(arguments) => return without_stage(&workspace, "openapi", &arguments),
        Command::Test(arguments) => return test::test(&workspace, &Settings::read()?, &arguments),
        Command::Check => return check::check(&workspace),
    }
    Ok(0)
}

fn personal(workspace: &Workspace) -> Result<Stage> {
    Stage::personal(workspace, &Settings::read()?)
}

/// The person's stage, which must be up.
fn running(workspace: &Workspace) -> Result<Stage> {
    let stage = personal(workspace)?;
    ensure_running(&stage)?;
    Ok(stage)
}

fn ensure_running(stage: &Stage) -> Result<()> {
    if !stage.is_running() || !stage.description_file().exists() {
        bail!("the stage is not up: run `cargo xtask up`");
    }
    Ok(())
}

/// On the person's stage, or on that of the test run which started this.
fn rotate_keys(workspace: &Workspace, drop_old: bool) -> Result<()> {
    let settings = Settings::read()?;
    let (lock, stage) = match &settings.stage_file {
        // The test run has the lock of its stage until it ends.
        Some(file) => ("keys", Stage::described(&settings, file)?),
        None => ("stage", Stage::personal(workspace, &settings)?),
    };
    let _lock = lock::hold(&stage.workspace, lock)?;
    ensure_running(&stage)?;
    keys::rotate(&stage, drop_old)
}

fn without_stage(workspace: &Workspace, subcommand: &str, arguments: &[OsString]) -> Result<u8> {
    let command = std::process::Command::new(workspace.binary("tools"));
    tools(workspace, command, subcommand, arguments)
}

/// Runs a subcommand of the `tools` binary, freshly built; returns its exit code.
fn tools(
    workspace: &Workspace,
    mut command: std::process::Command,
    subcommand: &str,
    arguments: &[OsString],
) -> Result<u8> {
    build::tools(workspace)?;
    let status = command.arg(subcommand).args(arguments).current_dir(&workspace.root).status()?;
    Ok(exit_code(status))
}

/// The code of a program that ended, or 1 if a signal ended it.
fn exit_code(status: std::process::ExitStatus) -> u8 {
    status.code().and_then(|code| u8::try_from(code).ok()).unwrap_or(1)
}
