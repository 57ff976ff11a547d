//! The ports of a stage's servers.

use std::net::TcpListener;

use anyhow::{Context, Result};
use serde_json::{Value, json};

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

    /// Reads them from `stage.json`.
    pub fn of_description(description: &Value) -> Option<Self> {
        let port = |name: &str| u16::try_from(description["ports"][name].as_u64()?).ok();
        Some(Self {
            mysql: port("mysql")?,
            redis: port("redis")?,
            mongodb: port("mongodb")?,
            aws: port("aws")?,
            openid: port("openid")?,
        })
    }

    /// For `stage.json`.
    pub fn describe(self) -> Value {
        json!({
            "mysql": self.mysql,
            "redis": self.redis,
            "mongodb": self.mongodb,
            "aws": self.aws,
            "openid": self.openid,
        })
    }
}
