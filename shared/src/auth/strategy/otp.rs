//! Log in with a one-time password by mail. `POST /v1/auth/otp` sends it and returns its challenge.

use garde::Validate;
use serde::Deserialize;
use utoipa::ToSchema;
use uuid::Uuid;

use super::{Identity, LoginStrategy};
use crate::{
    ambient::Ambient,
    auth::account::{self, Proof},
    contract::{Limit, Requirements, Resource, ResourceContext},
    email::EmailAddress,
    environment::ConfigError,
    error::{ApiError, Problem},
    mac::MacKey,
    store::{Limiter, Mongodb, Redis, redis::login_codes},
};

/// A one-time password by mail.
#[derive(Clone)]
pub struct Otp {
    mongodb: Mongodb,
    redis: Redis,
    limiter: Limiter,
    mac: MacKey,
}

/// The credentials: a challenge and its code.
#[derive(Deserialize, Validate, ToSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
#[garde(allow_unvalidated)]
pub struct OtpCredentials {
    #[expect(dead_code, reason = "the registry has read it")]
    #[schema(pattern = "^otp$")]
    strategy: String,
    /// From the reply of `POST /v1/auth/otp`.
    challenge_id: Uuid,
    /// Six digits.
    #[garde(custom(six_digits))]
    #[schema(pattern = "^[0-9]{6}$")]
    code: String,
}

fn six_digits(code: &str, (): &()) -> garde::Result {
    if code.len() == 6 && code.bytes().all(|byte| byte.is_ascii_digit()) {
        Ok(())
    } else {
        Err(garde::Error::new("takes six digits"))
    }
}

impl Resource for Otp {
    fn requirements() -> Vec<Requirements> {
        [Mongodb::requirements(), <Redis>::requirements(), Limiter::requirements(), MacKey::requirements()].concat()
    }

    fn open(context: &ResourceContext) -> Result<Self, ConfigError> {
        Ok(Self { mongodb: context.get()?, redis: context.get()?, limiter: context.get()?, mac: context.get()? })
    }
}

impl LoginStrategy for Otp {
    const NAME: &'static str = "otp";
    type Credentials = OtpCredentials;

    async fn authenticate(&self, credentials: OtpCredentials, ambient: &Ambient) -> Result<Identity, ApiError> {
        let (OtpCredentials { challenge_id, code, .. }, now) = (credentials, ambient.now());
        let attempt = login_codes::attempt(&self.redis, challenge_id, now).await?.ok_or(Problem::InvalidCredentials)?;
        // Rate limit over all codes of the account: requesting another code gives no more guesses.
        self.limiter.count_account(Limit::LoginCodeGuess, &attempt.account, now).await?;
        if !attempt.redeem(&self.redis, &self.mac, &code).await? {
            return Err(Problem::InvalidCredentials.into());
        }
        let email: EmailAddress = attempt.account.parse().map_err(ApiError::internal)?;
        let user = account::prove(&self.mongodb, &self.redis, Proof::LoginCode(&email), ambient).await?;
        Ok(Identity { user_id: user.id, epoch: user.epoch })
    }
}
