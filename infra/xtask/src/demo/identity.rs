//! The chapters about identity: codes by mail, sessions and their end.

use std::time::Duration;

use anyhow::{Context, Result, ensure};
use serde_json::json;

use super::client::{Api, Call, Reply};
use super::mailbox;
use crate::aws::Aws;
use crate::process::wait_until;
use crate::progress::say;

/// How soon the authorizer must refuse a revoked token.
const REVOCATION_DEADLINE: Duration = Duration::from_secs(2);

pub struct Identity<'a> {
    pub api: &'a Api,
    pub aws: &'a Aws,
    pub email: &'a str,
}

impl Identity<'_> {
    /// Verifies the address with the code from its mail.
    pub fn verify(&self) -> Result<()> {
        let code = self.code("Your verification code")?;
        self.post("/v1/auth/verify-email", json!({"code": code}))?.expect(204).map(drop)
    }

    /// Logs in with a code from a mail; returns the tokens.
    pub fn log_in_by_mail(&self) -> Result<Reply> {
        let challenge = self.post("/v1/auth/otp", json!({"email": self.email}))?.expect(202)?;
        let code = self.code("Your login code")?;
        let challenge_id = challenge.string("challengeId")?;
        let body = json!({"strategy": "otp", "challengeId": challenge_id, "code": code});
        let tokens = self.post("/v1/auth/login", body.clone())?.expect(200)?;
        self.post("/v1/auth/login", body)?.expect(401)?;
        Ok(tokens)
    }

    /// Two tabs refresh with the same token: both get the same successor, and the session goes on.
    pub fn refresh(&self, tokens: &Reply) -> Result<Reply> {
        let body = json!({"refreshToken": tokens.string("refreshToken")?});
        let first = self.post("/v1/auth/refresh", body.clone())?.expect(200)?;
        let second = self.post("/v1/auth/refresh", body)?.expect(200)?;
        ensure!(first.string("refreshToken")? == second.string("refreshToken")?, "expected one successor, saw two");
        Ok(second)
    }

    /// Logs out everywhere: no token of the user is accepted any more.
    pub fn log_out_everywhere(&self, tokens: &Reply) -> Result<()> {
        let token = tokens.string("accessToken")?;
        self.api.delete("/v1/auth/sessions", &token)?.expect(204)?;
        let is_refused = || self.api.get("/v1/users/me", Some(&token)).is_ok_and(|reply| reply.status == 403);
        ensure!(
            wait_until(REVOCATION_DEADLINE, is_refused),
            "expected the authorizer to refuse the token within {REVOCATION_DEADLINE:?}"
        );
        let body = json!({"refreshToken": tokens.string("refreshToken")?});
        self.post("/v1/auth/refresh", body)?.expect(401).map(drop)
    }

    fn post(&self, path: &str, body: serde_json::Value) -> Result<Reply> {
        self.api.post(path, Call { body: Some(body), ..Call::default() })
    }

    /// The code in the mail that has this phrase before it.
    fn code(&self, phrase: &str) -> Result<String> {
        let mail = mailbox::wait_for(self.aws, self.email, phrase)?;
        let code = mail.body.lines().find_map(|line| line.strip_prefix(phrase)?.strip_prefix(": "));
        let code = code.with_context(|| format!("expected a code in the mail, saw {}", mail.body))?;
        say!("    {phrase}: {code}");
        Ok(code.to_owned())
    }
}
