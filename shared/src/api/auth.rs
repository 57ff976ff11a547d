//! `/v1/auth`: registering and logging in.

use garde::Validate;
use secrecy::{ExposeSecret, SecretString};
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

pub use crate::auth::strategy::LoginRequest;
use crate::{
    auth::{password, token::TokenSigner},
    contract::Public,
    email::EmailAddress,
    endpoint,
    queue::{EmailQueue, Queue},
    store::Mongodb,
};

endpoint! {
    /// Registers a customer and mails a code that verifies the address. Answers the same whether or not the address has an account.
    AuthRegister = "auth-register" POST "/v1/auth/register" {
        access: Public,
        body: Registration,
        reply: 202 Accepted,
        needs: { mongodb: Mongodb, email: Queue<EmailQueue> },
    }
}

endpoint! {
    /// Logs in with one of the strategies and hands out an access token.
    AuthLogin = "auth-login" POST "/v1/auth/login" {
        access: Public,
        body: LoginRequest,
        reply: 200 Tokens,
        problems: [InvalidCredentials],
        needs: { mongodb: Mongodb, tokens: TokenSigner },
    }
}

/// Who wants to register. Roles are given by admins, never taken from here.
#[derive(Deserialize, Validate, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct Registration {
    #[garde(skip)]
    pub email: EmailAddress,
    /// 12 to 128 characters, whichever.
    #[garde(custom(long_enough))]
    #[schema(value_type = String, format = Password, min_length = 12, max_length = 128)]
    pub password: SecretString,
}

fn long_enough(password: &SecretString, (): &()) -> garde::Result {
    match password.expose_secret().chars().count() {
        password::MIN_LENGTH..=password::MAX_LENGTH => Ok(()),
        _ => Err(garde::Error::new("takes 12 to 128 characters")),
    }
}

/// The request was taken; what comes of it, the mail says.
#[derive(Serialize, ToSchema)]
pub struct Accepted {
    status: &'static str,
}

impl Default for Accepted {
    fn default() -> Self {
        Self { status: "accepted" }
    }
}

/// What a login hands out.
#[derive(Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub struct Tokens {
    /// A JWT for the `Authorization` header.
    pub access_token: String,
    /// Always `Bearer`.
    pub token_type: &'static str,
    /// How long the access token is valid, in seconds.
    pub expires_in: i64,
}
