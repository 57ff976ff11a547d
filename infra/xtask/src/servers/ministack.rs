//! AWS: MiniStack, which also runs the functions, as child processes of its own.

use std::process::Command;

use anyhow::Result;

use super::Server;
use crate::aws::Aws;
use crate::files;
use crate::process::Process;
use crate::stage::Stage;
use crate::tools::Tools;

/// The services of the template, and no others, which would only cost memory and ports.
const SERVICES: &str =
    "apigateway,cloudformation,cloudwatch,events,iam,lambda,logs,s3,scheduler,secretsmanager,ses,sns,sqs,ssm,sts,xray";

pub const NAME: &str = "MiniStack";

pub struct MiniStack<'a> {
    pub stage: &'a Stage,
    pub tools: &'a Tools,
}

/// Whether the stage's own AWS runs: another program may answer on its port.
pub fn is_running(stage: &Stage) -> bool {
    Process::new(NAME, &stage.dir).running().is_some() && Aws::of(stage).is_healthy()
}

impl Server for MiniStack<'_> {
    fn name(&self) -> &'static str {
        NAME
    }

    fn port(&self) -> u16 {
        self.stage.ports.aws
    }

    fn port_variable(&self) -> &'static str {
        "SOUK_AWS_PORT"
    }

    fn prepare(&self) -> Result<()> {
        files::create_dir(&self.stage.dir.join("data/aws"))?;
        // Left by a killed run: code of functions, unpacked, and sockets.
        files::remove_dir(&self.stage.dir.join("tmp"))?;
        files::create_dir(&self.stage.dir.join("tmp"))
    }

    fn command(&self) -> Command {
        let mut command = self.stage.command(self.tools.program("python"));
        command
            .arg(self.stage.workspace.pinned().join("ministack_stage.py"))
            .env("GATEWAY_PORT", self.port().to_string())
            .env("BIND_HOST", "127.0.0.1")
            .env("MINISTACK_REGION", crate::stage::REGION)
            .env("SERVICES", SERVICES)
            // Evaluates the role of each function on each call.
            .env("AUTH", "true")
            // Saved when it stops and read when it starts: the deployed stack survives `down` and `up`.
            .env("PERSIST_STATE", "1")
            .env("STATE_DIR", self.stage.dir.join("data/aws"))
            // It would open ports of its own for these.
            .env("IOT_MTLS_ENABLED", "0")
            .env("SFTP_ENABLED", "0")
            .env("PYTHONUNBUFFERED", "1");
        command
    }

    fn is_ready(&self) -> bool {
        Aws::of(self.stage).is_healthy()
    }
}
