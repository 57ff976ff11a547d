//! A stage: a directory, ports, and the addresses and secrets of its stores.
//!
//! The personal stage is `.local/stage` on fixed ports. Tests get `.local/test` on free ports, new each time.

use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context, Result};
use serde_json::{Value, json};

use crate::environment::{self, Settings};
use crate::files;
use crate::ports::Ports;
use crate::store::Store;
use crate::workspace::Workspace;

/// The value of the template's `Stage` parameter, and so the prefix of every name on the local AWS.
pub const STAGE: &str = "local";
pub const STACK: &str = "souk";
pub const REGION: &str = "us-east-1";
pub const ACCOUNT: &str = "000000000000";
pub const ACCESS_KEY_ID: &str = "SOUKLOCALSTAGE";

/// Secrets, by what they hold.
pub const MAC_KEY: &str = "mac-key";
pub const MYSQL_ADMIN: &str = "mysql-admin";
pub const TOKEN_SIGNING_KEY: &str = "token-signing-key";

pub const SENDER: &str = "Souk <no-reply@souk.example>";
pub const SENDER_ADDRESS: &str = "no-reply@souk.example";
/// The audience of the issuer's identity tokens.
pub const GOOGLE_CLIENT_ID: &str = "souk-local.apps.example";

const TEST: &str = "test";
/// Limits per address are multiplied by this. All requests of a test run come from one address.
const TEST_ADDRESS_LIMIT_FACTOR: u32 = 1000;

/// The full name of a secret that the stores stack hands over.
pub fn secret_name(name: &str) -> String {
    format!("souk/{STAGE}/{name}")
}

/// The full name of a parameter that the stores stack hands over.
pub fn parameter_name(name: &str) -> String {
    format!("/souk/{STAGE}/{name}")
}

/// The queues of the template, each with its dead-letter queue.
pub const QUEUES: [&str; 3] = ["email", "notification", "report"];

pub fn topic_arn(topic: &str) -> String {
    format!("arn:aws:sns:{REGION}:{ACCOUNT}:souk-{STAGE}-{topic}")
}

pub fn queue_url(stage: &Stage, queue: &str) -> String {
    format!("http://localhost:{}/{ACCOUNT}/souk-{STAGE}-{queue}", stage.ports.aws)
}

/// The URLs of a deployed stack.
pub struct Urls {
    pub api: String,
    /// Of functions that are not behind the API, by their names.
    pub functions: BTreeMap<String, String>,
}

pub struct Stage {
    pub workspace: Workspace,
    pub dir: PathBuf,
    pub ports: Ports,
    pub mysql: Store,
    /// MySQL for migrations, which change the schema and make users.
    pub mysql_admin: Store,
    pub mongodb: Store,
    pub redis: Store,
    /// Redis for the authorizer, which may only read revocations there.
    pub revocation: Store,
    /// 32 bytes, base64url.
    pub mac_key: String,
    /// Parameters of `template.yaml` besides those that every stage has: `NAME=VALUE`.
    pub parameters: Vec<String>,
    pub secret_access_key: String,
}

impl Stage {
    /// The personal stage: that of `cargo xtask up`.
    pub fn personal(workspace: &Workspace, settings: &Settings) -> Result<Self> {
        Self::open(workspace, "stage", settings.ports, settings)
    }

    /// The stage of a test run.
    pub fn test(workspace: &Workspace, settings: &Settings, ports: Ports) -> Result<Self> {
        Self::open(workspace, TEST, ports, settings)
    }

    /// The stage that a `stage.json` describes, in the checkout that holds it: the environment of a test names the directory
    /// of the test's crate, not of this one.
    pub fn described(settings: &Settings, file: &Path) -> Result<Self> {
        let unusable = || format!("{} does not describe a stage", file.display());
        let text = fs::read_to_string(file).with_context(unusable)?;
        let description: Value = serde_json::from_str(&text).with_context(unusable)?;
        let ports = Ports::of_description(&description).with_context(unusable)?;
        let dir = file.parent().with_context(unusable)?;
        let name = dir.file_name().and_then(|name| name.to_str()).with_context(unusable)?;
        let workspace = Workspace { root: dir.ancestors().nth(2).with_context(unusable)?.to_owned() };
        Self::open(&workspace, name, ports, settings)
    }

    fn open(workspace: &Workspace, name: &str, ports: Ports, settings: &Settings) -> Result<Self> {
        let dir = workspace.local().join(name);
        for part in ["data", "logs", "run", "tmp"] {
            files::create_dir(&dir.join(part))?;
        }
        let passwords = Passwords::open(&dir.join("passwords.json"))?;
        let mysql = format!("mysql://127.0.0.1:{}/souk", ports.mysql);
        let mongodb = format!(
            "mongodb://127.0.0.1:{}/souk?directConnection=true&retryWrites=false&authSource=admin",
            ports.mongodb
        );
        let mysql = Store::choose("SOUK_MYSQL_URL", settings.mysql_url.as_deref(), mysql, "souk", passwords.mysql)?;
        let mut mysql_admin = mysql.clone();
        if !mysql.is_external {
            (mysql_admin.username, mysql_admin.password) = ("admin".to_owned(), passwords.mysql_admin);
        }
        let redis = format!("redis://127.0.0.1:{}/0", ports.redis);
        let redis = Store::choose("SOUK_REDIS_URL", settings.redis_url.as_deref(), redis, "default", passwords.redis)?;
        let mut revocation = redis.clone();
        if !redis.is_external {
            (revocation.username, revocation.password) = ("authorizer".to_owned(), passwords.authorizer);
        }
        Ok(Self {
            workspace: workspace.clone(),
            dir,
            ports,
            mysql,
            mysql_admin,
            mongodb: Store::choose(
                "SOUK_MONGODB_URI",
                settings.mongodb_uri.as_deref(),
                mongodb,
                "souk",
                passwords.mongodb,
            )?,
            redis,
            revocation,
            mac_key: passwords.mac_key,
            parameters: if name == TEST {
                vec![format!("AddressLimitFactor={TEST_ADDRESS_LIMIT_FACTOR}")]
            } else {
                settings.parameters.clone()
            },
            secret_access_key: passwords.aws,
        })
    }

    pub fn aws_endpoint(&self) -> String {
        format!("http://127.0.0.1:{}", self.ports.aws)
    }

    pub fn openid_issuer(&self) -> String {
        format!("http://127.0.0.1:{}", self.ports.openid)
    }

    pub fn openid_jwks_url(&self) -> String {
        self.openid_issuer() + "/jwks"
    }

    pub fn logs(&self) -> PathBuf {
        self.dir.join("logs")
    }

    /// The file that describes the stage to tests and other tools.
    pub fn description_file(&self) -> PathBuf {
        self.dir.join("stage.json")
    }

    /// A command with the stage's AWS, home and temporary directory, and nothing of the user's profile: it reads and writes
    /// in the stage only.
    pub fn command(&self, program: impl AsRef<std::ffi::OsStr>) -> Command {
        let mut command = Command::new(program);
        command
            .env_clear()
            .env("PATH", environment::path())
            .env("LANG", "C.UTF-8")
            .env("HOME", &self.dir)
            .env("TMPDIR", self.dir.join("tmp"))
            .envs(self.aws_environment())
            .current_dir(&self.workspace.root);
        command
    }

    /// Environment variables with which an AWS client calls the stage's AWS.
    pub fn aws_environment(&self) -> [(&'static str, String); 5] {
        [
            ("AWS_ENDPOINT_URL", self.aws_endpoint()),
            ("AWS_REGION", REGION.to_owned()),
            ("AWS_DEFAULT_REGION", REGION.to_owned()),
            ("AWS_ACCESS_KEY_ID", ACCESS_KEY_ID.to_owned()),
            ("AWS_SECRET_ACCESS_KEY", self.secret_access_key.clone()),
        ]
    }

    /// Writes `stage.json`.
    pub fn describe(&self, urls: &Urls) -> Result<()> {
        let description = json!({
            "apiUrl": urls.api,
            "functionUrls": urls.functions,
            "awsEndpoint": self.aws_endpoint(),
            "region": REGION,
            "accessKeyId": ACCESS_KEY_ID,
            "secretAccessKey": self.secret_access_key,
            "stage": STAGE,
            "mysql": self.mysql.describe(),
            "mongodb": self.mongodb.describe(),
            "redis": self.redis.describe(),
            "revocation": self.revocation.describe(),
            "googleIssuer": self.openid_issuer(),
            "googleClientId": GOOGLE_CLIENT_ID,
            "ports": self.ports.describe(),
            "logs": self.logs(),
            "functions": self.workspace.functions()?,
        });
        files::write_private(&self.description_file(), &format!("{description:#}\n"))
    }
}

/// Made once per stage and kept: data directories are set up with them.
struct Passwords {
    mysql: String,
    mysql_admin: String,
    mongodb: String,
    redis: String,
    authorizer: String,
    mac_key: String,
    aws: String,
}

impl Passwords {
    fn open(path: &Path) -> Result<Self> {
        if !path.exists() {
            let new = || files::random_secret();
            let all = json!({"mysql": new()?, "mongodb": new()?, "redis": new()?, "aws": new()?});
            files::write_private(path, &all.to_string())?;
        }
        let broken = || format!("{} is damaged: run `cargo xtask down --purge`", path.display());
        let mut all: Value = serde_json::from_str(&fs::read_to_string(path)?).with_context(broken)?;
        // A stage may be older than these. No data directory depends on them.
        let newer = [
            ("authorizer", files::random_secret()?),
            ("macKey", files::random_key()?),
            ("mysqlAdmin", files::random_secret()?),
        ];
        if all.is_object() && newer.iter().any(|(name, _)| all[name].is_null()) {
            for (name, value) in newer {
                all[name] = if all[name].is_null() { json!(value) } else { all[name].take() };
            }
            files::write_private(path, &all.to_string())?;
        }
        let one = |name: &str| all[name].as_str().map(str::to_owned).with_context(broken);
        Ok(Self {
            mysql: one("mysql")?,
            mysql_admin: one("mysqlAdmin")?,
            mongodb: one("mongodb")?,
            redis: one("redis")?,
            authorizer: one("authorizer")?,
            mac_key: one("macKey")?,
            aws: one("aws")?,
        })
    }
}
