//! `/v1/auth`: registration, authentication, sessions and passwords.

use crate::identity::ACCESS_TOKEN_LIFETIME;
use garde::Validate;
use secrecy::SecretString;
use serde::{Deserialize, Serialize};
use time::OffsetDateTime;
use utoipa::ToSchema;
use uuid::Uuid;

pub use crate::auth::{keys::KeySet, strategy::LoginRequest};
use crate::{
    auth::{
        password::{NewPassword, Password},
        session::{RefreshGrace, TokenPair},
        strategy::Registry,
        token::TokenSigner,
    },
    contract::{IdPath, NoContent, Public, User},
    email::EmailAddress,
    endpoint,
    identity::MailCode,
    mail::EmailQueue,
    messaging::Queue,
    store::{Limiter, Mongodb, Redis, mongodb::sessions, redis::login_codes},
};

endpoint! {
    /// Registers a customer and mails a verification code.
    /// The reply does not reveal whether the address has an account.
    AuthRegister = "auth-register" POST "/v1/auth/register" {
        access: Public,
        limit: Register { account: email },
        body: Registration,
        reply: 202 Accepted,
        needs: { mongodb: Mongodb, limiter: Limiter, email: Queue<EmailQueue> },
    }
}

endpoint! {
    /// Verifies an address with the code from its mail.
    AuthVerifyEmail = "auth-verify-email" POST "/v1/auth/verify-email" {
        access: Public,
        // A code names no account before it is found, and has 130 random bits.
        limit: Register { account: none },
        body: EmailVerification,
        reply: 204 NoContent,
        problems: [InvalidCode],
        needs: { mongodb: Mongodb, redis: Redis, limiter: Limiter },
    }
}

endpoint! {
    /// Mails another verification code.
    /// Earlier codes are void. The reply does not reveal whether the address has an account.
    AuthVerifyEmailResend = "auth-verify-email-resend" POST "/v1/auth/verify-email/resend" {
        access: Public,
        limit: Register { account: email },
        body: MailRequest,
        reply: 202 Accepted,
        needs: { limiter: Limiter, email: Queue<EmailQueue> },
    }
}

endpoint! {
    /// Logs in with one of the strategies and begins a session.
    AuthLogin = "auth-login" POST "/v1/auth/login" {
        access: Public,
        // The strategy finds the account; where its proof could be guessed, it counts by that.
        limit: Login { account: none },
        body: LoginRequest,
        reply: 200 Tokens,
        problems: [InvalidCredentials],
        needs: { logins: Registry, mongodb: Mongodb, limiter: Limiter, tokens: TokenSigner },
    }
}

endpoint! {
    /// Mails a login code.
    /// The reply does not reveal whether the address has an account.
    AuthOtp = "auth-otp" POST "/v1/auth/otp" {
        access: Public,
        limit: LoginCode { account: email },
        body: MailRequest,
        reply: 202 OtpChallenge,
        needs: { redis: Redis, limiter: Limiter, email: Queue<EmailQueue> },
    }
}

endpoint! {
    /// Exchanges a refresh token for new tokens.
    /// Refresh token rotation: each token works once, and a reused one ends its session.
    AuthRefresh = "auth-refresh" POST "/v1/auth/refresh" {
        access: Public,
        body: RefreshRequest,
        reply: 200 Tokens,
        problems: [InvalidRefreshToken],
        needs: { mongodb: Mongodb, redis: Redis, tokens: TokenSigner, grace: RefreshGrace },
    }
}

endpoint! {
    /// Ends the session of the access token.
    AuthLogout = "auth-logout" POST "/v1/auth/logout" {
        access: User,
        reply: 204 NoContent,
        needs: { mongodb: Mongodb, redis: Redis },
    }
}

endpoint! {
    /// Lists the caller's sessions, the most recently used first.
    AuthSessionsList = "auth-sessions-list" GET "/v1/auth/sessions" {
        access: User,
        reply: 200 Sessions,
        needs: { mongodb: Mongodb },
    }
}

endpoint! {
    /// Ends all of the caller's sessions, this one included.
    AuthSessionsRevoke = "auth-sessions-revoke" DELETE "/v1/auth/sessions" {
        access: User,
        reply: 204 NoContent,
        needs: { mongodb: Mongodb, redis: Redis },
    }
}

endpoint! {
    /// Ends one of the caller's sessions.
    AuthSessionsDelete = "auth-sessions-delete" DELETE "/v1/auth/sessions/{id}" {
        access: User,
        path: IdPath,
        reply: 204 NoContent,
        problems: [NotFound],
        needs: { mongodb: Mongodb, redis: Redis },
    }
}

endpoint! {
    /// Mails a code for setting a new password.
    /// The reply does not reveal whether the address has an account.
    AuthPasswordForgot = "auth-password-forgot" POST "/v1/auth/password/forgot" {
        access: Public,
        limit: PasswordReset { account: email },
        body: MailRequest,
        reply: 202 Accepted,
        needs: { limiter: Limiter, email: Queue<EmailQueue> },
    }
}

endpoint! {
    /// Sets a new password with the code from the mail.
    /// Ends all sessions.
    AuthPasswordReset = "auth-password-reset" POST "/v1/auth/password/reset" {
        access: Public,
        // A code names no account before it is found, and has 130 random bits.
        limit: PasswordReset { account: none },
        body: PasswordReset,
        reply: 204 NoContent,
        problems: [InvalidCode],
        needs: { mongodb: Mongodb, redis: Redis, limiter: Limiter, email: Queue<EmailQueue> },
    }
}

endpoint! {
    /// Changes the caller's password.
    /// Ends all sessions but this one.
    AuthPasswordChange = "auth-password-change" PUT "/v1/auth/password" {
        access: User,
        limit: PasswordChange { account: caller },
        body: PasswordChange,
        reply: 204 NoContent,
        problems: [InvalidCredentials],
        needs: { mongodb: Mongodb, redis: Redis, limiter: Limiter, email: Queue<EmailQueue> },
    }
}

endpoint! {
    /// The public keys that verify access tokens (RFC 7517).
    AuthJwks = "auth-jwks" GET "/.well-known/jwks.json" {
        access: Public,
        reply: 200 KeySet,
        needs: { keys: KeySet },
    }
}

/// A registration. Only admins assign roles.
#[derive(Deserialize, Validate, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct Registration {
    #[garde(skip)]
    pub email: EmailAddress,
    /// 12 to 128 characters of any kind; not a common password.
    #[garde(dive)]
    pub password: NewPassword,
}

/// The code from a mail.
#[derive(Deserialize, Validate, ToSchema)]
#[serde(deny_unknown_fields)]
#[garde(allow_unvalidated)]
pub struct EmailVerification {
    pub code: MailCode,
}

/// The address of a mail to send.
#[derive(Deserialize, Validate, ToSchema)]
#[serde(deny_unknown_fields)]
#[garde(allow_unvalidated)]
pub struct MailRequest {
    pub email: EmailAddress,
}

/// The request was accepted; the outcome comes by mail.
#[derive(Serialize, ToSchema)]
pub struct Accepted {
    status: &'static str,
}

impl Default for Accepted {
    fn default() -> Self {
        Self { status: "accepted" }
    }
}

/// The challenge that the code in the mail belongs to.
#[derive(Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub struct OtpChallenge {
    pub challenge_id: Uuid,
    /// How long the code is valid once its mail is written, in seconds.
    pub expires_in: i64,
}

impl OtpChallenge {
    #[must_use]
    pub const fn new(challenge_id: Uuid) -> Self {
        Self { challenge_id, expires_in: login_codes::LIFETIME.whole_seconds() }
    }
}

/// A refresh token.
#[derive(Deserialize, Validate, ToSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
#[garde(allow_unvalidated)]
pub struct RefreshRequest {
    #[schema(value_type = String)]
    pub refresh_token: SecretString,
}

/// A new password, and the code from the mail.
#[derive(Deserialize, Validate, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct PasswordReset {
    #[garde(skip)]
    pub code: MailCode,
    /// 12 to 128 characters of any kind; not a common password.
    #[garde(dive)]
    pub password: NewPassword,
}

/// A new password, and the current one.
#[derive(Deserialize, Validate, ToSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct PasswordChange {
    #[garde(skip)]
    pub current_password: Password,
    /// 12 to 128 characters of any kind; not a common password.
    #[garde(dive)]
    pub new_password: NewPassword,
}

/// The tokens of a login or a refresh.
#[derive(Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub struct Tokens {
    /// A JWT (RFC 9068) for the `Authorization` header.
    access_token: String,
    /// Always `Bearer`.
    token_type: &'static str,
    /// How long the access token is valid, in seconds.
    expires_in: i64,
    /// Opaque; works for one `POST /v1/auth/refresh`.
    refresh_token: String,
    /// The absolute end of the session, however often it is refreshed.
    #[serde(with = "time::serde::rfc3339")]
    refresh_token_expires_at: OffsetDateTime,
}

impl From<TokenPair> for Tokens {
    fn from(granted: TokenPair) -> Self {
        let TokenPair { access_token, refresh_token, refresh_token_expires_at } = granted;
        let expires_in = ACCESS_TOKEN_LIFETIME.whole_seconds();
        Self { access_token, token_type: "Bearer", expires_in, refresh_token, refresh_token_expires_at }
    }
}

/// Sessions.
#[derive(Serialize, ToSchema)]
pub struct Sessions {
    pub items: Vec<Session>,
}

/// A session: one login.
#[derive(Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub struct Session {
    id: Uuid,
    /// Whether this is the session of the request.
    is_current: bool,
    /// The network at login: an IPv4 address or an IPv6 network.
    network: String,
    /// The client's `User-Agent`.
    user_agent: String,
    #[serde(with = "time::serde::rfc3339")]
    created_at: OffsetDateTime,
    /// The time of the last refresh.
    #[serde(with = "time::serde::rfc3339")]
    used_at: OffsetDateTime,
    #[serde(with = "time::serde::rfc3339")]
    expires_at: OffsetDateTime,
}

impl Session {
    /// The session as its owner sees it, whose own session is `current`.
    #[must_use]
    pub fn of(session: sessions::Session, current: Uuid) -> Self {
        let sessions::Session { id, network, user_agent, created_at, used_at, expires_at, .. } = session;
        Self { id, is_current: id == current, network, user_agent, created_at, used_at, expires_at }
    }
}
