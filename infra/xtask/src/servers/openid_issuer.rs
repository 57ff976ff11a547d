//! In place of Google: an issuer that signs any identity token on request.

use std::process::Command;

use anyhow::Result;

use super::{PROBE_TIMEOUT, Server};
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

    /// Stateless: its keys are new at every start.
    fn prepare(&self) -> Result<()> {
        Ok(())
    }

    fn command(&self) -> Command {
        let mut command = self.stage.command(self.tools.program("python"));
        command.arg(self.stage.workspace.pinned().join("openid_issuer.py")).arg(self.port().to_string());
        command
    }

    fn is_ready(&self) -> bool {
        let request = ureq::get(self.stage.openid_jwks_url()).config().timeout_global(Some(PROBE_TIMEOUT));
        request.build().call().is_ok_and(|reply| reply.status() == 200)
    }
}
