//! `/v1/users`: profiles.

use serde::Serialize;
use time::OffsetDateTime;
use utoipa::ToSchema;
use uuid::Uuid;

use crate::{
    auth::Roles,
    contract::User,
    email::EmailAddress,
    endpoint,
    store::{Mongodb, Redis, users},
};

endpoint! {
    /// The caller's own profile.
    UsersMeGet = "users-me-get" GET "/v1/users/me" {
        access: User,
        reply: 200 Profile,
        needs: { mongodb: Mongodb, redis: Redis },
    }
}

/// A user's profile.
#[derive(Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub struct Profile {
    pub id: Uuid,
    pub email: EmailAddress,
    pub email_verified: bool,
    pub roles: Roles,
    /// Whatever the application keeps here.
    pub profile: serde_json::Map<String, serde_json::Value>,
    /// Grows with every change.
    pub version: u64,
    #[serde(with = "time::serde::rfc3339")]
    pub created_at: OffsetDateTime,
    #[serde(with = "time::serde::rfc3339")]
    pub updated_at: OffsetDateTime,
}

impl From<users::User> for Profile {
    fn from(user: users::User) -> Self {
        let users::User { id, email, email_verified, roles, profile, version, created_at, updated_at } = user;
        Self { id, email, email_verified, roles, profile, version, created_at, updated_at }
    }
}
