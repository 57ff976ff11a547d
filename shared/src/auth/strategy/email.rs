//! Log in with an e-mail address and a password.

use garde::Validate;
use serde::Deserialize;
use utoipa::ToSchema;

use super::{Identity, LoginStrategy};
use crate::{
    ambient::Ambient,
    auth::password::{self, Password, Verified},
    contract::{Limit, Requirements, Resource, ResourceContext},
    email::EmailAddress,
    environment::ConfigError,
    error::{ApiError, Problem},
    store::{
        Limiter, Mongodb,
        mongodb::users::{self, LoginUser},
    },
};

/// E-mail address and password.
#[derive(Clone)]
pub struct Email {
    mongodb: Mongodb,
    limiter: Limiter,
}

/// The credentials: an address and a password.
#[derive(Deserialize, Validate, ToSchema)]
#[serde(deny_unknown_fields)]
#[garde(allow_unvalidated)]
pub struct EmailCredentials {
    #[expect(dead_code, reason = "the registry has read it")]
    #[schema(pattern = "^email$")]
    strategy: String,
    email: EmailAddress,
    password: Password,
}

impl Resource for Email {
    fn requirements() -> Vec<Requirements> {
        [Mongodb::requirements(), Limiter::requirements()].concat()
    }

    fn open(context: &ResourceContext) -> Result<Self, ConfigError> {
        Ok(Self { mongodb: context.get()?, limiter: context.get()? })
    }
}

impl LoginStrategy for Email {
    const NAME: &'static str = "email";
    type Credentials = EmailCredentials;

    async fn authenticate(&self, credentials: EmailCredentials, ambient: &Ambient) -> Result<Identity, ApiError> {
        let EmailCredentials { email, password, .. } = credentials;
        self.limiter.count_account(Limit::Login, &email.key(), ambient.now()).await?;
        let found = users::find_for_login(&self.mongodb, &email).await?;
        let hash = found.as_ref().and_then(|found| found.password_hash.as_deref());
        let verified = password::verify(&password, hash, ambient).await?;
        let Some(LoginUser { user, password_hash: Some(old) }) = found.filter(|_| verified != Verified::No) else {
            return Err(Problem::InvalidCredentials.into());
        };
        if let Verified::Upgraded(new) = verified {
            users::upgrade_hash(&self.mongodb, user.id, &old, &new).await?;
        }
        Ok(Identity { user_id: user.id, epoch: user.epoch })
    }
}
