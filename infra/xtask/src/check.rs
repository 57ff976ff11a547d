//! `cargo xtask check`: everything that can be said about the repository without running it.

use std::process::Command;

use anyhow::{Context, Result};

use crate::build;
use crate::progress::{self, say};
use crate::tools::Tools;
use crate::workspace::Workspace;

/// Every CloudFormation template, from the root of the checkout.
const TEMPLATES: [&str; 4] =
    ["template.yaml", "infra/stores.yaml", "infra/monitoring.yaml", "infra/delivery/github.yaml"];

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
    let on_templates = |program: &str, arguments: &[&str]| {
        let mut command = Command::new(tools.program(program));
        command.args(arguments).args(TEMPLATES).current_dir(&workspace.root);
        command
    };
    let mut openapi = Command::new(workspace.binary("tools"));
    openapi.args(["openapi", "--check"]).current_dir(&workspace.root);
    vec![
        ("formatting", cargo(&["fmt", "--all", "--check"])),
        (
            "clippy",
            cargo(&["clippy", "--workspace", "--all-targets", "--profile", "stage", "--", "--deny", "warnings"]),
        ),
        ("dependencies (bans, licences, sources; advisories need a network and are not looked at)", deny),
        // It also runs SAM's own transformation, which is all that `sam validate --lint` does.
        (
            "templates: cfn-lint, with its serverless rules",
            on_templates("cfn-lint", &["-a", "cfn_lint_serverless.rules", "--"]),
        ),
        ("templates: checkov", on_templates("checkov", &["--config-file", ".checkov.yaml", "--file"])),
        (
            "templates: our own rules (infra/guard)",
            on_templates("python", &["infra/local/check_guard.py", "infra/guard/souk.guard"]),
        ),
        ("tools", cargo(&[&["build", "--quiet"], &build::TOOLS[..]].concat())),
        ("openapi.json", openapi),
    ]
}
