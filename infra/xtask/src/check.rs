//! `cargo xtask check`: formatting, lints, licences and templates; all checks that run no part of Souk.

use std::process::Command;

use anyhow::{Context, Result};

use crate::build;
use crate::progress::{self, say};
use crate::tools::Tools;
use crate::workspace::Workspace;

/// Every CloudFormation template, from the root of the checkout.
const TEMPLATES: [&str; 4] =
    ["template.yaml", "infra/stores.yaml", "infra/monitoring.yaml", "infra/delivery/github.yaml"];

/// `sam validate` needs a region; the templates name none.
const VALIDATION_REGION: &str = "us-east-1";

/// Runs all checks, also after one has failed; returns 0 if none failed.
pub fn check(workspace: &Workspace) -> Result<u8> {
    let (tools, delivery) = (Tools::of_check(workspace)?, Tools::of_delivery(workspace)?);
    for (name, tools) in [("linters", &tools), ("delivery tools", &delivery)] {
        if !tools.is_installed() {
            progress::step(name, || tools.install(workspace))?;
        }
    }
    let mut failed = Vec::new();
    for (name, mut command) in commands(workspace, &tools).into_iter().chain(validations(workspace, &delivery)?) {
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

fn commands(workspace: &Workspace, tools: &Tools) -> Vec<(String, Command)> {
    let cargo = |arguments: &[&str]| {
        let mut command = build::cargo(workspace);
        command.args(arguments);
        command
    };
    let mut deny = Command::new(tools.program("cargo-deny"));
    // Advisories come from a database on the network: CI runs `cargo deny check advisories` too.
    deny.args(["check", "bans", "licenses", "sources"]).current_dir(&workspace.root);
    let on_templates = |program: &str, arguments: &[&str]| {
        let mut command = Command::new(tools.program(program));
        command.args(arguments).args(TEMPLATES).current_dir(&workspace.root);
        command
    };
    let mut costs = Command::new(tools.program("python"));
    costs.args(["infra/cost/cost.py", "--check"]).current_dir(&workspace.root);
    let mut openapi = Command::new(workspace.binary("tools"));
    openapi.args(["openapi", "--check"]).current_dir(&workspace.root);
    let commands = [
        ("formatting", cargo(&["fmt", "--all", "--check"])),
        (
            "clippy",
            cargo(&["clippy", "--workspace", "--all-targets", "--profile", "stage", "--", "--deny", "warnings"]),
        ),
        ("dependencies (bans, licences, sources; advisories need a network and are not looked at)", deny),
        (
            "templates: cfn-lint, with its serverless rules",
            on_templates("cfn-lint", &["-a", "cfn_lint_serverless.rules", "--"]),
        ),
        ("templates: checkov", on_templates("checkov", &["--config-file", ".checkov.yaml", "--file"])),
        (
            "templates: our own rules (infra/guard)",
            on_templates("python", &["infra/local/check_guard.py", "infra/guard/souk.guard"]),
        ),
        ("docs/COST.md: the figures that follow from the templates", costs),
        ("tools", cargo(&[&["build", "--quiet"], &build::TOOLS_BUILD[..]].concat())),
        ("openapi.json", openapi),
    ];
    commands.map(|(name, command)| (name.to_owned(), command)).into()
}

/// `sam validate --lint`, by the SAM that deploys. It takes one template at a time, and its cfn-lint is an older one than ours.
fn validations(workspace: &Workspace, delivery: &Tools) -> Result<Vec<(String, Command)>> {
    let validation = |template: &str| {
        let mut command = Command::new(delivery.program("sam"));
        command.args(["validate", "--lint", "--region", VALIDATION_REGION, "--template-file"]);
        command.arg(workspace.root.join(template)).current_dir(&workspace.root);
        delivery.isolate_sam(&mut command)?;
        Ok((format!("templates: sam validate --lint, {template}"), command))
    };
    TEMPLATES.into_iter().map(validation).collect()
}
