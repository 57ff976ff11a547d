//! `cargo xtask up`: from nothing to a stage that answers. Idempotent.

use std::time::Duration;

use anyhow::{Context, Result, bail};
use serde_json::json;

use crate::aws::Aws;
use crate::build;
use crate::function_urls;
use crate::gateway;
use crate::handover;
use crate::interrupt;
use crate::key_rotation;
use crate::progress::{say, step};
use crate::requirements;
use crate::seed::{self, SEEDED_PASSWORD};
use crate::servers;
use crate::stack_deploy::{StackDeployer, function_name};
use crate::stage::{MYSQL_ADMIN, Stage, Urls, secret_name};
use crate::tools::Tools;

/// Of the first request.
const READINESS_TIMEOUT: Duration = Duration::from_secs(30);

/// Brings a stage up; returns its URLs. A run that fails stops the servers that it started.
pub fn up(stage: &Stage) -> Result<Urls> {
    let tools = Tools::of_stage(&stage.workspace)?;
    let is_first_build = !tools.is_installed() || !stage.workspace.binary("tools").exists();
    requirements::disk(&stage.dir, is_first_build)?;
    servers::check_ports(stage, &tools)?;
    requirements::packages(stage)?;
    if !tools.is_installed() {
        // They run from the directory that the installation makes anew.
        servers::stop(&stage.dir)?;
    }
    build::everything(&stage.workspace, &tools)?;
    let started = servers::start(stage, &tools)?;
    let outcome = bring_up_functions(stage, &tools);
    if outcome.is_err() {
        started.stop();
    }
    outcome
}

fn bring_up_functions(stage: &Stage, tools: &Tools) -> Result<Urls> {
    interrupt::check()?;
    let aws = Aws::of(stage);
    let resolved = step("addresses and secrets", || handover::write(stage, &aws))?;
    key_rotation::hand_over(stage, &aws)?;
    step("the stores accept their credentials", || ping(stage))?;
    let deployer = StackDeployer { stage, aws: &aws, tools };
    deployer.run(&resolved)?;
    interrupt::check()?;
    let api = step("routes", || gateway::sync(&aws))?;
    step("migrations", || migrate(&aws))?;
    let api = format!("http://{api}.execute-api.localhost:{}", stage.ports.aws);
    let urls = Urls { api, functions: function_urls::read(stage, &aws)? };
    stage.describe(&urls)?;
    interrupt::check()?;
    seed::once(stage)?;
    step("every store answers through the API", || answers(stage, &urls.api))?;
    Ok(urls)
}

/// Readiness: a request goes through the gateway and a function to each store.
fn answers(stage: &Stage, url: &str) -> Result<()> {
    let request = ureq::get(format!("{}/health/ready", stage.aws_endpoint()))
        .header("host", url.trim_start_matches("http://"))
        .config()
        .http_status_as_error(false)
        .timeout_global(Some(READINESS_TIMEOUT))
        .build();
    let mut reply = request.call().context("the API does not answer")?;
    let text = reply.body_mut().read_to_string()?;
    if reply.status() != 200 || !text.contains(r#""status":"ok""#) {
        bail!("not every store answers: {text}\n  see `cargo xtask logs health-ready`");
    }
    Ok(())
}

/// Fails fast: a server of the user's own may refuse its credentials, which a failed deployment would report late and badly. MySQL is
/// asked as the user of migrations, which make the other one.
fn ping(stage: &Stage) -> Result<()> {
    let output = seed::tools(stage).arg("ping").env("SOUK_MYSQL_SECRET", secret_name(MYSQL_ADMIN)).output()?;
    if !output.status.success() {
        let log = String::from_utf8_lossy(&output.stderr);
        bail!(
            "{}\n  logs of the servers started here: {}\n  for a server of your own, correct the variable that names it",
            log.trim_start_matches("Error: ").trim_end(),
            stage.logs().display()
        );
    }
    Ok(())
}

/// The deployment runs the migrations too, but only when the stack changes; a new database or new code also needs them.
fn migrate(aws: &Aws) -> Result<()> {
    let reply = aws.invoke(&function_name("migrate"), &json!({})).context("cannot call `migrate`")?;
    if let Some(message) = reply["errorMessage"].as_str() {
        bail!("the migrations failed: {message}\n  see `cargo xtask logs migrate`");
    }
    Ok(())
}

/// Prints the URLs and the next commands.
pub fn welcome(urls: &Urls) {
    let url = &urls.api;
    let streamed = urls.functions.iter().map(|(name, url)| format!("    {name:<20} {url}"));
    let streamed = streamed.collect::<Vec<_>>().join("\n");
    say!(
        "
Souk is up: {url}

  What streams has a URL of its own:
{streamed}

  Sample users (password {SEEDED_PASSWORD}):
    admin@souk.example   staff@souk.example   customer@souk.example

  Try:
    curl {url}/health
    curl {url}/v1/auth/login -H 'content-type: application/json' \\
      -d '{{\"strategy\":\"email\",\"email\":\"customer@souk.example\",\"password\":\"{SEEDED_PASSWORD}\"}}'

  Go on:
    cargo xtask demo       the story, step by step
    cargo xtask routes     every endpoint
    cargo xtask logs -f    what the functions log
    cargo xtask status     what runs where
    cargo xtask down       stop it"
    );
}
