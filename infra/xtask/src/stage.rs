//! A stage: a directory, ports, and the addresses and secrets of its stores.
//!
//! The person's stage is `.local/stage` on fixed ports. Tests get `.local/test` on free ports, new each time.

use std::collections::BTreeMap;
use std::fs;
use std::net::TcpListener;
use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context, Result};
use serde_json::{Value, json};

use crate::aws::Aws;
use crate::environment::{self, Settings};
use crate::files;
use crate::keys;
use crate::process::Process;
use crate::servers::ministack;
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
/// Whom the issuer's identity tokens are for.
pub const GOOGLE_CLIENT_ID: &str = "souk-local.apps.example";

const TEST: &str = "test";
/// Limits per address are multiplied by this. All requests of a test run come from one address.
const TEST_ADDRESS_LIMIT_FACTOR: u32 = 1000;

/// What a secret or parameter that the stores stack hands over is called.
pub fn secret_name(name: &str) -> String {
    format!("souk/{STAGE}/{name}")
}

pub fn parameter_name(name: &str) -> String {
    format!("/souk/{STAGE}/{name}")
}

/// The queues of the template, each with its dead-letter queue.
pub const QUEUES: [&str; 3] = ["email", "notification", "report"];

pub fn queue_url(stage: &Stage, queue: &str) -> String {
    format!("http://localhost:{}/{ACCOUNT}/souk-{STAGE}-{queue}", stage.ports.aws)
}

#[derive(Clone, Copy)]
pub struct Ports {
    pub mysql: u16,
    pub redis: u16,
    pub mongodb: u16,
    pub aws: u16,
    pub openid: u16,
}

impl Ports {
    /// Ports that nothing listens on. All are held at once while they are chosen, so that they differ.
    pub fn free() -> Result<Self> {
        let listen = || TcpListener::bind("127.0.0.1:0").context("no free port");
        let held = [listen()?, listen()?, listen()?, listen()?, listen()?];
        let port = |index: usize| Ok::<_, anyhow::Error>(held[index].local_addr()?.port());
        Ok(Self { mysql: port(0)?, redis: port(1)?, mongodb: port(2)?, aws: port(3)?, openid: port(4)? })
    }

    fn of_description(description: &Value) -> Option<Self> {
        let port = |name: &str| u16::try_from(description["ports"][name].as_u64()?).ok();
        Some(Self {
            mysql: port("mysql")?,
            redis: port("redis")?,
            mongodb: port("mongodb")?,
            aws: port("aws")?,
            openid: port("openid")?,
        })
    }

    fn describe(self) -> Value {
        json!({
            "mysql": self.mysql,
            "redis": self.redis,
            "mongodb": self.mongodb,
            "aws": self.aws,
            "openid": self.openid,
        })
    }
}

/// Where what is deployed answers.
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
    /// MySQL for migrations, which may change its shape and let others in.
    pub mysql_admin: Store,
    pub mongodb: Store,
    pub redis: Store,
    /// Redis for the authorizer, which may do nothing there but read what was revoked.
    pub revocation: Store,
    /// 32 bytes, base64url.
    pub mac_key: String,
    /// Of `template.yaml`, besides those that every stage has: `NAME=VALUE`.
    pub parameters: Vec<String>,
    pub secret_access_key: String,
}

impl Stage {
    /// The stage of the person at the keyboard.
    pub fn personal(workspace: &Workspace, settings: &Settings) -> Result<Self> {
        Self::open(workspace, "stage", settings.ports, settings)
    }

    /// The stage of a test run.
    pub fn test(workspace: &Workspace, settings: &Settings, ports: Ports) -> Result<Self> {
        Self::open(workspace, TEST, ports, settings)
    }

    /// The stage that a `stage.json` speaks of, and the checkout that it lies in: the environment of a test says where
    /// the test's crate is, not where this one is.
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

    /// Whether its AWS runs: its own, not whatever else may answer on that port.
    pub fn is_running(&self) -> bool {
        Process::new(ministack::NAME, &self.dir).running().is_some() && Aws::of(self).is_healthy()
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

    /// The file that tells tests and other tools where everything is.
    pub fn description_file(&self) -> PathBuf {
        self.dir.join("stage.json")
    }

    /// A command that sees the stage's AWS and its own home and temporary directory, and nothing of the person's
    /// profile: what it writes stays in the stage, what it reads is the stage's.
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

    /// What an AWS client needs to talk to the stage's AWS.
    fn aws_environment(&self) -> [(&'static str, String); 5] {
        [
            ("AWS_ENDPOINT_URL", self.aws_endpoint()),
            ("AWS_REGION", REGION.to_owned()),
            ("AWS_DEFAULT_REGION", REGION.to_owned()),
            ("AWS_ACCESS_KEY_ID", ACCESS_KEY_ID.to_owned()),
            ("AWS_SECRET_ACCESS_KEY", self.secret_access_key.clone()),
        ]
    }

    /// What a program of this repository needs to open every resource, as a function would.
    pub fn function_environment(&self) -> Vec<(String, String)> {
        let mut environment: Vec<_> =
            self.aws_environment().into_iter().map(|(name, value)| (name.to_owned(), value)).collect();
        for (name, store) in [("MYSQL", &self.mysql), ("MONGODB", &self.mongodb), ("REDIS", &self.redis)] {
            environment.push((format!("SOUK_{name}_ENDPOINT"), store.endpoint.clone()));
            environment.push((format!("SOUK_{name}_SECRET"), secret_name(&name.to_lowercase())));
        }
        let others = [
            ("SOUK_STAGE", Some(STAGE.to_owned())),
            ("SOUK_MYSQL_ADMIN_SECRET", Some(secret_name(MYSQL_ADMIN))),
            ("SOUK_MAC_SECRET", Some(secret_name(MAC_KEY))),
            ("SOUK_TOKEN_SIGNING_SECRET", Some(secret_name(TOKEN_SIGNING_KEY))),
            ("SOUK_TOKEN_PUBLIC_KEYS", keys::key_set(self)),
            ("SOUK_GOOGLE_ISSUER", Some(self.openid_issuer())),
            ("SOUK_GOOGLE_JWKS_URL", Some(self.openid_jwks_url())),
            ("SOUK_GOOGLE_CLIENT_ID", Some(GOOGLE_CLIENT_ID.to_owned())),
            ("SOUK_ADDRESS_LIMIT_FACTOR", Some("1".to_owned())),
            ("SOUK_REFRESH_GRACE_SECONDS", Some("10".to_owned())),
            ("SOUK_REVOCATION_REDIS_URL", Some(self.revocation.url())),
            ("SOUK_EMAIL_SENDER", Some(SENDER.to_owned())),
        ];
        environment.extend(others.into_iter().filter_map(|(name, value)| Some((name.to_owned(), value?))));
        for queue in QUEUES {
            let (variable, url) = (queue.to_uppercase(), queue_url(self, queue));
            environment.push((format!("SOUK_{variable}_DEAD_LETTER_QUEUE_URL"), format!("{url}-dlq")));
            environment.push((format!("SOUK_{variable}_QUEUE_URL"), url));
        }
        environment
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

/// Made once per stage and kept: data directories were set up with them.
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
        // A stage may be older than these; no data directory depends on them.
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
