//! Google's place in logins: an issuer that signs whatever identity token a test or a person asks for.

use std::process::Command;
use std::time::Duration;

use anyhow::Result;

use super::Server;
use crate::stage::Stage;
use crate::tools::Tools;

pub const NAME: &str = "OpenID issuer";

pub struct OpenIdIssuer<'a> {
    pub stage: &'a Stage,
    pub tools: &'a Tools,
}

impl Server for OpenIdIssuer<'_> {
    fn name(&self) -> &'static str {
        NAME
    }

    fn port(&self) -> u16 {
        self.stage.ports.openid
    }

    fn port_variable(&self) -> &'static str {
        "SOUK_OPENID_PORT"
    }

    /// It keeps nothing: its keys are new at every start.
    fn prepare(&self) -> Result<()> {
        Ok(())
    }

    fn command(&self) -> Command {
        let mut command = self.stage.command(self.tools.program("python"));
        command.arg(self.stage.workspace.pinned().join("openid_issuer.py")).arg(self.port().to_string());
        command
    }

    fn is_ready(&self) -> bool {
        let request = ureq::get(self.stage.openid_jwks_url()).config().timeout_global(Some(Duration::from_secs(2)));
        request.build().call().is_ok_and(|reply| reply.status() == 200)
    }
}
