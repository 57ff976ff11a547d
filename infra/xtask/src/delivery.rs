//! `cargo xtask deploy`, `rollback` and `build`: to an environment in AWS, from a laptop or from CI alike.
//!
//! An environment's settings are in `samconfig.toml`. SAM shows the change set and asks. CloudFormation rolls back a deployment that
//! fails while it runs: a migration, an alarm while requests move to the new code. A deployment that fails the smoke test afterwards
//! is rolled back here.

use std::ffi::OsString;
use std::fs;
use std::io::Write;
use std::process::{Command, Stdio};

use anyhow::{Context, Result, bail};

use crate::build;
use crate::environment;
use crate::process::exit_code;
use crate::progress::{self, say};
use crate::tools::Tools;
use crate::workspace::Workspace;

/// The environment that takes commits only, so that it can be told later which code runs there.
const PRODUCTION: &str = "prod";
/// The script that moves every function's alias back.
const ROLLBACK_SCRIPT: &str = "rollback.py";

/// A deployment of one stack to one environment, as the command line asks for it.
#[derive(Debug, PartialEq, Eq)]
pub struct Release {
    pub environment: String,
    pub stack: Stack,
    /// Does not ask: for CI. The change set is shown all the same.
    pub yes: bool,
    /// Deploys the functions in `target/lambda` as they are: for CI, which builds once and deploys twice.
    pub no_build: bool,
    /// Prints the commands, and runs none of them.
    pub dry_run: bool,
}

/// The stacks of an environment, in the order in which they are first deployed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Stack {
    Stores,
    App,
    Monitoring,
}

impl Stack {
    pub fn parse(name: &str) -> Result<Self> {
        Ok(match name {
            "stores" => Self::Stores,
            "app" => Self::App,
            "monitoring" => Self::Monitoring,
            _ => bail!("there is no stack `{name}`; there are: stores, app, monitoring"),
        })
    }

    /// The environment's section in `samconfig.toml`.
    fn section(self, environment: &str) -> String {
        match self {
            Self::App => environment.to_owned(),
            Self::Stores => format!("{environment}-stores"),
            Self::Monitoring => format!("{environment}-monitoring"),
        }
    }
}

pub fn deploy(workspace: &Workspace, release: &Release) -> Result<()> {
    let section = release.stack.section(&release.environment);
    ensure_configured(workspace, &section)?;
    if release.environment == PRODUCTION {
        ensure_committed(workspace)?;
    }
    let tools = Tools::of_delivery(workspace)?;
    if !release.dry_run {
        install(workspace, &tools)?;
    }
    if release.stack == Stack::App {
        if !release.no_build {
            release.run("cargo lambda build", &mut cargo_lambda_build(workspace, &tools, Architecture::Arm64))?;
        }
        ensure_signing_key(workspace, &tools, release)?;
    }
    if release.stack == Stack::Stores {
        let mut doctor = script(workspace, &tools, "doctor.py");
        release.run("the account", doctor.arg(&release.environment).current_dir(&workspace.root))?;
    }
    let mut sam = sam_deploy(workspace, &tools, release, &section);
    if !release.dry_run {
        tools.isolate_sam(&mut sam)?;
    }
    release.run("sam deploy", &mut sam).context("what CloudFormation had begun it has taken back")?;
    match release.stack {
        Stack::Stores => {
            let mut protect = script(workspace, &tools, "protect.py");
            release.run("protect the databases", protect.arg(&release.environment))
        }
        Stack::App => smoke_test_or_roll_back(workspace, &tools, release),
        Stack::Monitoring => Ok(()),
    }
}

/// Runs the smoke test, and rolls back if it fails.
fn smoke_test_or_roll_back(workspace: &Workspace, tools: &Tools, release: &Release) -> Result<()> {
    let mut test = script(workspace, tools, "smoke_test.py");
    test.arg(format!("souk-{}", release.environment));
    let Err(failed) = release.run("smoke test", &mut test) else { return Ok(()) };
    let mut back = script(workspace, tools, ROLLBACK_SCRIPT);
    back.args(["--yes", "--env", &release.environment]);
    Err(match release.run("rollback", &mut back) {
        Ok(()) => failed.context("every function is back at the version before"),
        Err(stuck) => failed.context(format!("{stuck}, so what was deployed is still there")),
    })
}

/// Rolls every function back to the version before, without a build; returns the script's exit code.
pub fn rollback(workspace: &Workspace, arguments: &[OsString]) -> Result<u8> {
    let tools = Tools::of_delivery(workspace)?;
    install(workspace, &tools)?;
    let status = script(workspace, &tools, ROLLBACK_SCRIPT).args(arguments).status().context("cannot run Python")?;
    Ok(exit_code(status))
}

/// One of the scripts in `infra/delivery`.
fn script(workspace: &Workspace, tools: &Tools, name: &str) -> Command {
    let mut command = Command::new(tools.program("python"));
    command.arg(workspace.root.join("infra/delivery").join(name));
    command
}

/// The processors that functions can be built for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Architecture {
    Arm64,
    X86_64,
}

impl Architecture {
    /// As the parameter of `template.yaml` has it.
    pub fn parse(name: &str) -> Result<Self> {
        Ok(match name {
            "arm64" => Self::Arm64,
            "x86_64" => Self::X86_64,
            _ => bail!("there is no architecture `{name}`; there are: arm64, x86_64"),
        })
    }
}

/// Builds all functions as they are deployed, into `target/lambda`.
pub fn build_functions(workspace: &Workspace, architecture: Architecture) -> Result<()> {
    let tools = Tools::of_delivery(workspace)?;
    install(workspace, &tools)?;
    let mut command = cargo_lambda_build(workspace, &tools, architecture);
    if !command.status().context("cannot run cargo-lambda")?.success() {
        bail!("the build failed: see cargo's messages above");
    }
    Ok(())
}

fn install(workspace: &Workspace, tools: &Tools) -> Result<()> {
    if tools.is_installed() {
        return Ok(());
    }
    progress::step("delivery tools", || tools.install(workspace))
}

/// One build for all functions; SAM would build the dependencies once for each.
fn cargo_lambda_build(workspace: &Workspace, tools: &Tools, architecture: Architecture) -> Command {
    let mut command = build::by_hand(workspace, tools.program("cargo-lambda"));
    command.args(["lambda", "build", "--release", "--workspace", "--bins"]);
    command.args(["--exclude", "tools", "--exclude", "xtask", "--exclude", "tests"]);
    command.arg(match architecture {
        Architecture::Arm64 => "--arm64",
        Architecture::X86_64 => "--x86-64",
    });
    // It finds the linker that came with it there.
    command.env("PATH", tools.path());
    command
}

/// Makes a signing key where there is none: the one resource that CloudFormation cannot make itself.
fn ensure_signing_key(workspace: &Workspace, tools: &Tools, release: &Release) -> Result<()> {
    let token_keys = || {
        let mut command = script(workspace, tools, "token_keys.py");
        command.arg(&release.environment);
        command
    };
    let mut put = token_keys();
    put.stdin(Stdio::piped());
    if release.dry_run {
        say!("{}", shown(&put));
        return Ok(());
    }
    progress::step("token keys", || {
        // Looked up first: the program that makes keys takes minutes to build where nothing is built yet.
        if token_keys().arg("--are-there").status().context("cannot run Python")?.success() {
            return Ok(());
        }
        build::tools(workspace)?;
        let keys = Command::new(workspace.binary("tools")).args(["keys", "new"]).output()?;
        let mut child = put.spawn().context("cannot run Python")?;
        child.stdin.take().context("it has an input")?.write_all(&keys.stdout)?;
        if !child.wait()?.success() {
            bail!("the keys of access tokens could not be looked up or put; docs/KEYS.md says where they are");
        }
        Ok(())
    })
}

fn sam_deploy(workspace: &Workspace, tools: &Tools, release: &Release, section: &str) -> Command {
    let mut command = Command::new(tools.program("sam"));
    command.args(["deploy", "--config-file", "samconfig.toml", "--config-env", section]);
    if release.yes {
        command.arg("--no-confirm-changeset");
    }
    if let Some(region) = environment::region() {
        command.args(["--region", &region]);
    }
    if let Some(role) = environment::cloudformation_role() {
        command.args(["--role-arn", &role]);
    }
    command.current_dir(&workspace.root);
    command
}

impl Release {
    fn run(&self, name: &str, command: &mut Command) -> Result<()> {
        if self.dry_run {
            say!("{}", shown(command));
            return Ok(());
        }
        progress::step(name, || {
            // On the terminal itself: SAM asks.
            let status = command.status().with_context(|| format!("cannot run {}", command.get_program().display()))?;
            if !status.success() {
                bail!("{name} failed: see its messages above");
            }
            Ok(())
        })
    }
}

/// A command as it would be typed.
fn shown(command: &Command) -> String {
    let program = command.get_program().to_string_lossy();
    let program = program.rsplit('/').next().unwrap_or_default().to_owned();
    command.get_args().fold(program, |line, argument| line + " " + &argument.to_string_lossy())
}

fn ensure_configured(workspace: &Workspace, section: &str) -> Result<()> {
    let file = workspace.root.join("samconfig.toml");
    let text = fs::read_to_string(&file).with_context(|| format!("cannot read {}", file.display()))?;
    let known = sections(&text);
    if !known.contains(&section) {
        bail!("samconfig.toml has no section for `{section}`; it has: {}", known.join(", "));
    }
    Ok(())
}

/// Everything that a `samconfig.toml` deploys.
fn sections(text: &str) -> Vec<&str> {
    text.lines().filter_map(|line| line.trim().strip_prefix('[')?.strip_suffix(".deploy.parameters]")).collect()
}

fn ensure_committed(workspace: &Workspace) -> Result<()> {
    let output = Command::new("git").args(["status", "--porcelain"]).current_dir(&workspace.root).output()?;
    if !output.status.success() {
        bail!("git does not know this checkout: {}", String::from_utf8_lossy(&output.stderr).trim());
    }
    if !output.stdout.is_empty() {
        let changed = String::from_utf8_lossy(&output.stdout);
        bail!("only what is committed is deployed to {PRODUCTION}; these files are not:\n{}", changed.trim_end());
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::{Stack, sections};

    #[test]
    fn each_stack_of_an_environment_has_its_own_section() {
        let text = "version = 0.1\n[prod.deploy.parameters]\nx = 1\n\n[prod-stores.deploy.parameters]\n[default.build.parameters]\n";
        assert_eq!(sections(text), ["prod", "prod-stores"]);
        assert_eq!(Stack::parse("stores").unwrap().section("prod"), "prod-stores");
        assert_eq!(Stack::App.section("prod"), "prod");
        assert!(Stack::parse("store").is_err());
    }
}
