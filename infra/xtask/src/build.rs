//! One build for all functions, and the binaries where `template.yaml` expects them.

use std::ffi::OsStr;
use std::fs;
use std::process::Command;

use anyhow::{Context, Result, bail};

use crate::environment;
use crate::files;
use crate::tools::Tools;
use crate::workspace::Workspace;

/// Arguments of `cargo build` for the `tools` binary. They name the whole workspace: for a single package cargo resolves other features
/// of the dependencies, and builds all of them anew.
pub const TOOLS_BUILD: [&str; 7] = ["--profile", "stage", "--workspace", "--exclude", "xtask", "--bin", "tools"];

/// Cargo as if it were run by hand in the checkout.
pub fn cargo(workspace: &Workspace) -> Command {
    by_hand(workspace, environment::cargo())
}

/// Cargo, or a program that runs it, as if it were run by hand in the checkout.
pub fn by_hand(workspace: &Workspace, program: impl AsRef<OsStr>) -> Command {
    let mut command = Command::new(program);
    for name in environment::added_by_cargo_run() {
        command.env_remove(name);
    }
    command.current_dir(&workspace.root);
    command
}

/// Builds the functions while the Python tools are downloaded: one needs the processor, the other the network.
pub fn everything(workspace: &Workspace, tools: &Tools) -> Result<()> {
    if tools.is_installed() {
        return functions(workspace);
    }
    std::thread::scope(|scope| {
        let install = scope.spawn(|| crate::progress::step("Python tools", || tools.install(workspace)));
        let built = functions(workspace);
        let installed = install.join().unwrap_or_else(|_| bail!("the installing thread panicked"));
        built.and(installed)
    })
}

/// Builds all binaries, and copies those of functions to where the template expects them.
pub fn functions(workspace: &Workspace) -> Result<()> {
    crate::progress::step("cargo build", || {
        let arguments = ["build", "--profile", "stage", "--workspace", "--bins", "--exclude", "xtask"];
        let status = cargo(workspace).args(arguments).status().context("cannot run cargo")?;
        if !status.success() {
            bail!("the build failed: see cargo's messages above");
        }
        Ok(())
    })?;
    for function in workspace.functions()? {
        place(workspace, &function)?;
    }
    Ok(())
}

/// Builds the `tools` binary alone, quietly, for commands that need nothing else.
pub fn tools(workspace: &Workspace) -> Result<()> {
    let arguments = [&["build", "--quiet"], &TOOLS_BUILD[..]].concat();
    let status = cargo(workspace).args(arguments).status().context("cannot run cargo")?;
    if !status.success() {
        bail!("the build failed: see cargo's messages above");
    }
    Ok(())
}

/// Copies a binary to its `CodeUri` if it changed. The copy is made beside and renamed: a running one is not written to.
fn place(workspace: &Workspace, function: &str) -> Result<()> {
    let built = workspace.binary(function);
    let content = fs::read(&built).with_context(|| format!("the build made no {}", built.display()))?;
    let bootstrap = workspace.bootstrap(function);
    if fs::read(&bootstrap).is_ok_and(|present| present == content) {
        return Ok(());
    }
    let dir = bootstrap.parent().context("a bootstrap has a directory")?;
    files::create_dir(dir)?;
    let new = dir.with_extension("new");
    fs::copy(&built, &new)
        .and_then(|_| fs::rename(&new, &bootstrap))
        .with_context(|| format!("cannot write {}", bootstrap.display()))
}
