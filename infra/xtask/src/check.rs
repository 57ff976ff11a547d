//! `cargo xtask check`: everything that can be said about the repository without running it.

use std::process::Command;

use anyhow::{Context, Result};

use crate::build;
use crate::progress::{self, say};
use crate::tools::Tools;
use crate::workspace::Workspace;

/// Runs all checks, also after one has failed; returns 0 if none did.
pub fn check(workspace: &Workspace) -> Result<u8> {
    let tools = Tools::of_check(workspace)?;
    if !tools.is_installed() {
        progress::step("linters", || tools.install(workspace))?;
    }
    let mut failed = Vec::new();
    for (name, mut command) in commands(workspace, &tools) {
        say!("\n== {name}");
        let status = command.status().with_context(|| format!("cannot run {}", command.get_program().display()))?;
        if !status.success() {
            failed.push(name);
        }
    }
    if failed.is_empty() {
        say!("\nall checks passed");
        return Ok(0);
    }
    say!("\nfailed: {}", failed.join(", "));
    Ok(1)
}

fn commands(workspace: &Workspace, tools: &Tools) -> Vec<(&'static str, Command)> {
    let cargo = |arguments: &[&str]| {
        let mut command = build::cargo(workspace);
        command.args(arguments);
        command
    };
    let mut deny = Command::new(tools.program("cargo-deny"));
    // Advisories come from a database on the network; CI that has one runs `cargo deny check advisories` too.
    deny.args(["check", "bans", "licenses", "sources"]).current_dir(&workspace.root);
    let mut lint = Command::new(tools.program("cfn-lint"));
    lint.arg(workspace.template()).current_dir(&workspace.root);
    vec![
        ("formatting", cargo(&["fmt", "--all", "--check"])),
        (
            "clippy",
            cargo(&["clippy", "--workspace", "--all-targets", "--profile", "stage", "--", "--deny", "warnings"]),
        ),
        ("dependencies (bans, licences, sources; advisories need a network and are not looked at)", deny),
        ("template.yaml", lint),
        (
            "openapi.json",
            cargo(&["run", "--quiet", "--profile", "stage", "--package", "tools", "--", "openapi", "--check"]),
        ),
    ]
}
