//! `/v1/users`: the caller's own profile, and all users for admins.

use garde::Validate;
use serde::{Deserialize, Serialize};
use serde_json::Value;
use time::OffsetDateTime;
use utoipa::{IntoParams, ToSchema};
use uuid::Uuid;

use crate::{
    contract::{IdPath, IfMatch, NoContent, Requires, User},
    email::EmailAddress,
    endpoint,
    identity::{
        Role, Roles,
        permission::{UsersRead, UsersWrite},
    },
    mac::MacKey,
    page::{MAX_LIMIT, Page, default_limit},
    store::{
        Mongodb, Redis,
        mongodb::users::{self, ProfileMap, Status},
    },
};

/// The most bytes of a profile, as JSON.
const MAX_PROFILE_BYTES: usize = 16 * 1024;
/// How deep a profile may be nested.
const MAX_DEPTH: usize = 8;
const MAX_MEMBER_NAME: usize = 64;
/// Reserved names: a profile with them could be mistaken for the user's own fields.
const RESERVED_NAMES: [&str; 6] = ["_id", "id", "role", "roles", "isDeleted", "isDisabled"];

endpoint! {
    /// Reads the caller's own profile.
    /// The `ETag` is its version.
    UsersMeGet = "users-me-get" GET "/v1/users/me" {
        access: User,
        reply: 200 Profile,
        needs: { mongodb: Mongodb, redis: Redis },
    }
}

endpoint! {
    /// Changes the caller's own profile.
    /// JSON merge patch (RFC 7396) of one level: members of `profile` replace those of the same name, null removes
    /// them.
    UsersMeUpdate = "users-me-update" PATCH "/v1/users/me" {
        access: User,
        precondition: IfMatch,
        body: ProfileChanges,
        reply: 200 Profile,
        needs: { mongodb: Mongodb, redis: Redis },
    }
}

endpoint! {
    /// Deletes the caller's account and ends all its sessions.
    /// The address is free again.
    UsersMeDelete = "users-me-delete" DELETE "/v1/users/me" {
        access: User,
        reply: 204 NoContent,
        problems: [LastAdmin],
        needs: { mongodb: Mongodb, redis: Redis },
    }
}

endpoint! {
    /// Lists users, the newest first.
    UsersList = "users-list" GET "/v1/users" {
        access: Requires<UsersRead>,
        query: UserQuery,
        reply: 200 Page<ManagedUser>,
        problems: [InvalidCursor, ValidationFailed],
        needs: { mongodb: Mongodb, mac: MacKey },
    }
}

endpoint! {
    /// Reads one user, deleted or not.
    /// The `ETag` is its version.
    UsersGet = "users-get" GET "/v1/users/{id}" {
        access: Requires<UsersRead>,
        path: IdPath,
        reply: 200 ManagedUser,
        problems: [NotFound],
        needs: { mongodb: Mongodb },
    }
}

endpoint! {
    /// Changes a user's roles, or disables or enables the user.
    /// Admins cannot change their own roles or status.
    UsersUpdate = "users-update" PATCH "/v1/users/{id}" {
        access: Requires<UsersWrite>,
        precondition: IfMatch,
        path: IdPath,
        body: UserChanges,
        reply: 200 ManagedUser,
        problems: [NotFound, LastAdmin],
        needs: { mongodb: Mongodb, redis: Redis },
    }
}

endpoint! {
    /// Deletes a user (soft deletion).
    /// The address is free again, and the user can be restored.
    UsersDelete = "users-delete" DELETE "/v1/users/{id}" {
        access: Requires<UsersWrite>,
        path: IdPath,
        reply: 204 NoContent,
        problems: [NotFound, LastAdmin],
        needs: { mongodb: Mongodb, redis: Redis },
    }
}

endpoint! {
    /// Restores a deleted user.
    /// Refused if the address belongs to another user by now.
    UsersRestore = "users-restore" POST "/v1/users/{id}/restore" {
        access: Requires<UsersWrite>,
        path: IdPath,
        reply: 200 ManagedUser,
        problems: [NotFound, EmailTaken],
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
    /// Free-form members of the application.
    #[schema(value_type = Object)]
    pub profile: ProfileMap,
    /// Grows with every change.
    pub version: u64,
    #[serde(with = "time::serde::rfc3339")]
    pub created_at: OffsetDateTime,
    #[serde(with = "time::serde::rfc3339")]
    pub updated_at: OffsetDateTime,
}

impl From<users::User> for Profile {
    fn from(user: users::User) -> Self {
        let users::User { id, email, email_verified, roles, profile, version, created_at, updated_at, .. } = user;
        Self { id, email, email_verified, roles, profile, version, created_at, updated_at }
    }
}

/// A change of a profile.
#[derive(Deserialize, Validate, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct ProfileChanges {
    /// New values by name; null removes. Names have 1 to 64 characters, no dots, and do not begin with `$`; `id`, `_id`,
    /// `role`, `roles`, `isDeleted` and `isDisabled` are reserved. The profile has at most 16 KiB as JSON and 8 levels.
    #[garde(custom(storable))]
    #[schema(value_type = Object)]
    pub profile: ProfileMap,
}

impl ProfileChanges {
    /// The profile with these changes applied.
    ///
    /// # Errors
    /// When it is too large.
    pub fn apply_to(self, mut profile: ProfileMap) -> Result<ProfileMap, crate::error::ApiError> {
        for (name, value) in self.profile {
            match value {
                Value::Null => profile.remove(&name),
                value => profile.insert(name, value),
            };
        }
        if serde_json::to_string(&profile).map_or(usize::MAX, |text| text.len()) > MAX_PROFILE_BYTES {
            return Err(crate::error::ApiError::field("profile", "takes at most 16 KiB"));
        }
        Ok(profile)
    }
}

fn storable(profile: &ProfileMap, (): &()) -> garde::Result {
    if let Some(name) = profile.keys().find(|name| RESERVED_NAMES.contains(&name.as_str())) {
        return Err(garde::Error::new(format!("cannot have a member {name}")));
    }
    profile.iter().try_for_each(|(name, value)| storable_member(name, value, 1))
}

/// Only names and values that mean the same to MongoDB and to every reader.
fn storable_member(name: &str, value: &Value, depth: usize) -> garde::Result {
    let is_name = !name.is_empty() && name.chars().count() <= MAX_MEMBER_NAME && !name.starts_with('$');
    if !is_name || name.contains(['.', '\0']) {
        return Err(garde::Error::new("has a member whose name cannot be one"));
    }
    storable_value(name, value, depth)
}

fn storable_value(name: &str, value: &Value, depth: usize) -> garde::Result {
    if depth > MAX_DEPTH {
        return Err(garde::Error::new("is nested too deep"));
    }
    match value {
        Value::Number(number) if number.is_u64() && !number.is_i64() => {
            Err(garde::Error::new(format!("has a number in {name} that is too large")))
        }
        Value::Array(values) => values.iter().try_for_each(|value| storable_value(name, value, depth + 1)),
        Value::Object(members) => members.iter().try_for_each(|(name, value)| storable_member(name, value, depth + 1)),
        _ => Ok(()),
    }
}

/// Filters of a user list.
#[derive(Deserialize, Validate, IntoParams)]
#[serde(deny_unknown_fields)]
#[garde(allow_unvalidated)]
pub struct UserQuery {
    /// Only users with this role.
    pub role: Option<Role>,
    /// Only users with this status.
    pub status: Option<UserStatus>,
    /// Only the user that holds exactly this address.
    pub email: Option<EmailAddress>,
    /// `next` of the page before.
    pub cursor: Option<String>,
    /// How many users at most: 1 to 100.
    #[garde(range(min = 1, max = MAX_LIMIT))]
    #[param(minimum = 1, maximum = 100, default = 20)]
    #[serde(default = "default_limit")]
    pub limit: u32,
}

impl UserQuery {
    /// What the store filters by.
    #[must_use]
    pub fn filter(&self) -> users::Filter {
        users::Filter { role: self.role, status: self.status.map(Status::from), email: self.email.clone() }
    }

    /// Binds cursors to this endpoint and its filters.
    #[must_use]
    pub fn list(&self) -> String {
        let email = self.email.as_ref().map(EmailAddress::key);
        format!("users {:?} {:?} {email:?}", self.role, self.status)
    }
}

/// A user, as admins see one.
#[derive(Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub struct ManagedUser {
    pub id: Uuid,
    pub email: EmailAddress,
    pub email_verified: bool,
    pub roles: Roles,
    pub status: UserStatus,
    #[schema(value_type = Object)]
    pub profile: ProfileMap,
    /// Grows with every change.
    pub version: u64,
    #[serde(with = "time::serde::rfc3339")]
    pub created_at: OffsetDateTime,
    #[serde(with = "time::serde::rfc3339")]
    pub updated_at: OffsetDateTime,
}

impl From<users::User> for ManagedUser {
    fn from(user: users::User) -> Self {
        let users::User { id, email, email_verified, roles, status, profile, version, created_at, updated_at, .. } =
            user;
        Self { id, email, email_verified, roles, status: status.into(), profile, version, created_at, updated_at }
    }
}

/// The status of a user.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "lowercase")]
pub enum UserStatus {
    Active,
    /// Disabled by an admin, until an admin enables the user again.
    Disabled,
    /// Soft deletion: the user can be restored.
    Deleted,
}

impl From<Status> for UserStatus {
    fn from(status: Status) -> Self {
        match status {
            Status::Active => Self::Active,
            Status::Disabled => Self::Disabled,
            Status::Deleted => Self::Deleted,
        }
    }
}

impl From<UserStatus> for Status {
    fn from(status: UserStatus) -> Self {
        match status {
            UserStatus::Active => Self::Active,
            UserStatus::Disabled => Self::Disabled,
            UserStatus::Deleted => Self::Deleted,
        }
    }
}

/// Changes of a user: at least one member. Omitted members keep their values.
#[derive(Deserialize, Validate, ToSchema)]
#[serde(deny_unknown_fields)]
#[garde(allow_unvalidated)]
#[garde(custom(some_change))]
#[schema(min_properties = 1)]
pub struct UserChanges {
    /// All roles that the user then has: at least one, no duplicates.
    #[garde(inner(custom(nonempty_unique_roles)))]
    pub roles: Option<Roles>,
    /// Whether the user is locked out.
    pub disabled: Option<bool>,
}

fn some_change(changes: &UserChanges, (): &()) -> garde::Result {
    match changes {
        UserChanges { roles: None, disabled: None } => Err(garde::Error::new("has to change something")),
        _ => Ok(()),
    }
}

fn nonempty_unique_roles(roles: &Roles, (): &()) -> garde::Result {
    let is_new = |(index, role): (usize, &Role)| !roles.0[..index].contains(role);
    if !roles.0.is_empty() && roles.0.iter().enumerate().all(is_new) {
        Ok(())
    } else {
        Err(garde::Error::new("takes at least one role, and none twice"))
    }
}

impl From<UserChanges> for users::Changes {
    fn from(changes: UserChanges) -> Self {
        let UserChanges { roles, disabled } = changes;
        Self { roles, disabled }
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn is_taken(profile: &Value) -> bool {
        let changes = serde_json::from_value::<ProfileChanges>(json!({ "profile": profile })).unwrap();
        changes.validate().is_ok()
    }

    #[test]
    fn what_the_store_cannot_hold_or_would_take_for_an_operator_is_refused() {
        let mut deep = json!(1);
        for _ in 0..9 {
            deep = json!({ "a": deep });
        }
        for bad in [
            json!({ "": 1 }),
            json!({ "a.b": 1 }),
            json!({ "$set": { "roles": ["admin"] } }),
            json!({ "a": { "$where": "1" } }),
            json!({ "a": [{ "b.c": 1 }] }),
            json!({ "roles": ["admin"] }),
            json!({ "_id": 1 }),
            json!({ "a": u64::MAX }),
            json!({ "a\u{0}": 1 }),
            json!({ "x".repeat(65): 1 }),
            deep,
        ] {
            assert!(!is_taken(&bad), "{bad}");
        }
        assert!(is_taken(
            &json!({ "name": "Ann 🐎", "sizes": [1, 2.5, -3], "address": { "roles": null, "ünï": true } })
        ));
    }

    #[test]
    fn changes_replace_add_and_remove_members_up_to_a_size() {
        let apply = |changes: Value| {
            let profile = json!({ "a": 1, "b": 2 }).as_object().unwrap().clone();
            serde_json::from_value::<ProfileChanges>(json!({ "profile": changes })).unwrap().apply_to(profile)
        };
        let changed = apply(json!({ "a": null, "b": { "c": 3 }, "d": 4 })).unwrap();
        assert_eq!(Value::Object(changed), json!({ "b": { "c": 3 }, "d": 4 }));
        assert!(apply(json!({ "a": "x".repeat(MAX_PROFILE_BYTES) })).is_err());
    }
}
