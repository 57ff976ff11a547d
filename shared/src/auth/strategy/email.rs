//! Log in with an e-mail address and a password.

use garde::Validate;
use secrecy::SecretString;
use serde::Deserialize;
use serde_json::Value;
use utoipa::ToSchema;

use super::{Attempt, Identity, LoginStrategy};
use crate::{
    auth::password,
    email::EmailAddress,
    error::Problem,
    store::{Mongodb, users},
};

/// E-mail address and password.
pub struct Email {
    pub users: Mongodb,
}

/// What it asks for.
#[derive(Deserialize, Validate, ToSchema)]
#[serde(deny_unknown_fields)]
#[garde(allow_unvalidated)]
pub struct Credentials {
    email: EmailAddress,
    #[schema(value_type = String, format = Password)]
    password: SecretString,
}

impl LoginStrategy for Email {
    fn name(&self) -> &'static str {
        "email"
    }

    fn authenticate(&self, credentials: Value) -> Attempt<'_> {
        Box::pin(async move {
            let Credentials { email, password } = super::credentials(&credentials)?;
            let user = users::find_for_login(&self.users, &email).await?;
            let hash = user.as_ref().map(|user| user.password_hash.as_str());
            let matches = password::verify(&password, hash).await?;
            let user = user.filter(|_| matches).ok_or(Problem::InvalidCredentials)?;
            Ok(Identity { user_id: user.id, roles: user.roles })
        })
    }
}
