//! Settings from outside: the one room that reads environment variables.

use std::path::PathBuf;

use anyhow::{Context, Result};

use crate::ports::Ports;

/// Environment variables that `cargo run` adds. A build script that watches one of them would be rerun on every `up`.
const FROM_CARGO_RUN: [&str; 5] =
    ["CARGO_MANIFEST_DIR", "CARGO_MANIFEST_PATH", "CARGO_CRATE_NAME", "CARGO_PRIMARY_PACKAGE", "OUT_DIR"];

pub struct Settings {
    pub ports: Ports,
    pub mysql_url: Option<String>,
    pub mongodb_uri: Option<String>,
    pub redis_url: Option<String>,
    /// `NAME=VALUE`
    pub parameters: Vec<String>,
    /// The `stage.json` of the test run's stage: set for the tests.
    pub stage_file: Option<PathBuf>,
}

impl Settings {
    pub fn read() -> Result<Self> {
        Ok(Self {
            ports: Ports {
                mysql: port("SOUK_MYSQL_PORT", 13306)?,
                redis: port("SOUK_REDIS_PORT", 16379)?,
                mongodb: port("SOUK_MONGODB_PORT", 27117)?,
                aws: port("SOUK_AWS_PORT", 4566)?,
                openid: port("SOUK_OPENID_PORT", 18080)?,
            },
            mysql_url: variable("SOUK_MYSQL_URL"),
            mongodb_uri: variable("SOUK_MONGODB_URI"),
            redis_url: variable("SOUK_REDIS_URL"),
            parameters: variable("SOUK_PARAMETERS")
                .map(|text| text.split_whitespace().map(str::to_owned).collect())
                .unwrap_or_default(),
            stage_file: variable("SOUK_STAGE_FILE").map(PathBuf::from),
        })
    }
}

fn port(name: &str, default: u16) -> Result<u16> {
    variable(name).map_or(Ok(default), |value| value.parse().with_context(|| format!("{name}={value} is not a port")))
}

/// A variable that is set and not empty.
#[expect(clippy::disallowed_methods, reason = "this is the module that reads the environment")]
fn variable(name: &str) -> Option<String> {
    std::env::var(name).ok().filter(|value| !value.is_empty())
}

/// The directory of this crate: as `cargo run` says, or as it was at build time. A moved checkout is not built anew, so the
/// latter alone would lead back to the old place.
pub fn manifest_dir() -> PathBuf {
    PathBuf::from(variable("CARGO_MANIFEST_DIR").unwrap_or_else(|| env!("CARGO_MANIFEST_DIR").to_owned()))
}

/// Cargo's build directory, if it is not `target/`.
pub fn target_dir() -> Option<PathBuf> {
    variable("CARGO_TARGET_DIR").map(PathBuf::from)
}

/// The AWS region, where one is set: SAM itself knows `AWS_DEFAULT_REGION` only.
pub fn region() -> Option<String> {
    variable("AWS_REGION")
}

/// The service role of CloudFormation, for a deployer without rights of its own to what the stacks are made of (`infra/delivery/github.yaml`).
pub fn cloudformation_role() -> Option<String> {
    variable("AWS_CLOUDFORMATION_ROLE_ARN")
}

/// The cargo that runs this program, or else the one on the path.
pub fn cargo() -> String {
    variable("CARGO").unwrap_or_else(|| "cargo".to_owned())
}

/// The file this program was started from.
pub fn this_program() -> Result<PathBuf> {
    std::env::current_exe().context("cannot tell where this program is")
}

/// The directories in which programs are looked for; system servers are in `sbin`, which a user's path may lack.
pub fn program_dirs() -> Vec<PathBuf> {
    let path = variable("PATH").unwrap_or_default();
    let system = ["/usr/local/sbin", "/usr/sbin", "/sbin"].map(PathBuf::from);
    std::env::split_paths(&path).chain(system).collect()
}

pub fn path() -> String {
    let dirs = program_dirs();
    std::env::join_paths(dirs).map(|path| path.to_string_lossy().into_owned()).unwrap_or_default()
}

/// Variables that a nested cargo must not see, so that it builds exactly as a cargo started by hand.
pub fn added_by_cargo_run() -> impl Iterator<Item = String> {
    std::env::vars_os().filter_map(|(name, _)| name.into_string().ok()).filter(|name| {
        FROM_CARGO_RUN.contains(&name.as_str()) || name.starts_with("CARGO_PKG_") || name.starts_with("CARGO_BIN_")
    })
}
