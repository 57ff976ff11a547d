//! `cargo xtask`: the whole of Souk on one machine, and the checks of the repository.
//!
//! Each room imports only from rooms below it, and in a row only from those to its right (a test, `layers`, holds this order):
//!
//! | Room | Content |
//! | --- | --- |
//! | `cli` | the command line |
//! | `test`, `up`, `down`, `status`, `logs`, `demo` | the commands on a stage |
//! | `check`, `delivery`, `sizes` | the commands on the checkout, and deployments to AWS |
//! | `gateway`, `function_urls` | routes and URLs of the deployed functions |
//! | `stack_deploy`, `stack_fingerprint` | deployment of the stack to the stage, and the record of it |
//! | `seed` | sample data |
//! | `handover`, `key_rotation`, `token_keys` | addresses, secrets and token keys for the functions |
//! | `build` | cargo's builds |
//! | `servers`, `requirements` | the servers of a stage, and the machine that they need |
//! | `aws` | calls to the stage's AWS |
//! | `stage`, `store` | a stage: directory, ports, addresses, secrets |
//! | `tools` | the pinned Python tools |
//! | `lock`, `progress`, `interrupt` | one run at a time, output, Ctrl-C |
//! | `process`, `files` | background processes, small files |
//! | `workspace`, `environment`, `ports` | the checkout, environment variables, ports |
//! | `layers` | the test of this order |

mod aws;
mod build;
mod check;
mod cli;
mod delivery;
mod demo;
mod down;
mod environment;
mod files;
mod function_urls;
mod gateway;
mod handover;
mod interrupt;
mod key_rotation;
#[cfg(test)]
mod layers;
mod lock;
mod logs;
mod ports;
mod process;
mod progress;
mod requirements;
mod seed;
mod servers;
mod sizes;
mod stack_deploy;
mod stack_fingerprint;
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
use process::exit_code;
use progress::say;
use servers::ministack;
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
        Command::Build(architecture) => delivery::build_functions(&workspace, architecture)?,
        Command::Sizes => sizes::sizes(&workspace)?,
        Command::Deploy(release) => delivery::deploy(&workspace, &release)?,
        Command::Rollback(arguments) => return delivery::rollback(&workspace, &arguments),
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

/// The personal stage, which must be up.
fn running(workspace: &Workspace) -> Result<Stage> {
    let stage = personal(workspace)?;
    ensure_running(&stage)?;
    Ok(stage)
}

fn ensure_running(stage: &Stage) -> Result<()> {
    if !ministack::is_running(stage) || !stage.description_file().exists() {
        bail!("the stage is not up: run `cargo xtask up`");
    }
    Ok(())
}

/// On the personal stage, or on that of the test run which started this program.
fn rotate_keys(workspace: &Workspace, drop_old: bool) -> Result<()> {
    let settings = Settings::read()?;
    let (lock, stage) = match &settings.stage_file {
        // The test run holds the lock of its stage until it ends.
        Some(file) => ("keys", Stage::described(&settings, file)?),
        None => ("stage", Stage::personal(workspace, &settings)?),
    };
    let _lock = lock::hold(&stage.workspace, lock)?;
    ensure_running(&stage)?;
    key_rotation::rotate(&stage, drop_old)
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

#[cfg(test)]
mod tests {
    use std::path::Path;

    use super::layers;

    const ENTRY: &str = include_str!("main.rs");

    #[test]
    fn every_room_imports_only_from_rooms_below_it() {
        assert_eq!(layers::violations(Path::new("src"), ENTRY), [""; 0]);
    }

    #[test]
    fn an_import_of_a_higher_room_is_found() {
        let mut sources = layers::sources(Path::new("src"));
        sources.push(layers::Source { path: "ports/planted.rs".into(), text: "use crate::{files, up};".to_owned() });
        let found = layers::violations_of(&sources, ENTRY);
        let expected =
            ["files", "up"].map(|room| format!("ports/planted.rs:1: `ports` imports `{room}`, which is above it"));
        assert_eq!(found, expected);
    }
}
