//! `cargo xtask status`: the servers, their ports, and the deployed functions.

use std::path::Path;

use anyhow::Result;
use serde_json::Value;

use crate::aws::Aws;
use crate::process::Process;
use crate::progress::say;
use crate::servers::{self, ministack};
use crate::stage::Stage;
use crate::tools::Tools;

/// Prints it; returns 0 if everything of the stage answers.
pub fn status(stage: &Stage) -> Result<u8> {
    let tools = Tools::of_stage(&stage.workspace)?;
    let servers = servers::of(stage, &tools);
    let mut all_answer = true;
    say!("{:<15}{:>8}{:>7}  {:<14}log", "component", "pid", "port", "state");
    for server in &servers {
        let process = Process::new(server.name(), &stage.dir);
        let record = process.running();
        let answers = record.is_some() && server.is_ready();
        all_answer &= answers;
        let condition = match (&record, answers) {
            (_, true) => "running",
            (Some(_), false) => "not answering",
            (None, _) => "stopped",
        };
        let pid = record.map_or_else(|| "-".to_owned(), |record| record.pid.to_string());
        let log = relative(&process.log, &stage.workspace.root);
        say!("{:<15}{pid:>8}{:>7}  {condition:<14}{log}", server.name(), server.port());
    }
    for (name, store) in [("MySQL", &stage.mysql), ("MongoDB", &stage.mongodb), ("Redis", &stage.redis)] {
        if store.is_external {
            say!("{name:<15}{:>8}{:>7}  {:<14}{}", "-", "-", "yours", store.endpoint);
        }
    }
    if ministack::is_running(stage) {
        print_deployed(stage, &Aws::of(stage))?;
    }
    Ok(u8::from(!all_answer))
}

fn print_deployed(stage: &Stage, aws: &Aws) -> Result<()> {
    let functions = aws.functions()?;
    say!("\nfunctions  {}", functions.len());
    for function in functions {
        say!("  {}", function.name);
    }
    let description = std::fs::read_to_string(stage.description_file()).unwrap_or_default();
    let description: Value = serde_json::from_str(&description).unwrap_or_default();
    if let Some(url) = description["apiUrl"].as_str() {
        say!("\nurl        {url}");
    }
    for (name, url) in description["functionUrls"].as_object().into_iter().flatten() {
        say!("           {} ({name})", url.as_str().unwrap_or_default());
    }
    Ok(())
}

fn relative(path: &Path, root: &Path) -> String {
    path.strip_prefix(root).unwrap_or(path).display().to_string()
}
