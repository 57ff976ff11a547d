//! Log in with an e-mail address and a password.

use garde::Validate;
use secrecy::SecretString;
use serde::Deserialize;
use utoipa::ToSchema;

use super::{Attempt, Identity, LoginStrategy};
use crate::{
    auth::password,
    email::EmailAddress,
    error::Problem,
    lambda::read_json,
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
    #[expect(dead_code, reason = "the registry has read it")]
    #[schema(pattern = "^email$")]
    strategy: String,
    email: EmailAddress,
    #[schema(value_type = String, format = Password)]
    password: SecretString,
}

impl LoginStrategy for Email {
    fn name(&self) -> &'static str {
        "email"
    }

    fn authenticate<'a>(&'a self, request: &'a str) -> Attempt<'a> {
        Box::pin(async move {
            let Credentials { email, password, .. } = read_json(request.as_bytes())?;
            let user = users::find_for_login(&self.users, &email).await?;
            let hash = user.as_ref().map(|user| user.password_hash.as_str());
            let matches = password::verify(&password, hash).await?;
            let user = user.filter(|_| matches).ok_or(Problem::InvalidCredentials)?;
            Ok(Identity { user_id: user.id, roles: user.roles })
        })
    }
}
