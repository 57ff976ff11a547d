//! Sample users: some to log in as, and many to fill lists.

use anyhow::Result;
use shared::{
    ambient::Ambient,
    auth::password,
    identity::{Role, Roles},
    store::{
        Mongodb,
        mongodb::users::{self, NewUser},
    },
};
use time::{Duration, OffsetDateTime, macros::datetime};
use uuid::Uuid;

use super::{batches, word};

/// Printed as a login; only the stage has these users.
const PASSWORD: &str = "correct-horse-battery-staple";
const USERS: [(&str, Role); 3] = [
    ("admin@souk.example", Role::Admin),
    ("staff@souk.example", Role::Staff),
    ("customer@souk.example", Role::Customer),
];
/// The time of the first of many registrations. Another follows every minute.
const EPOCH: OffsetDateTime = datetime!(2026-01-01 00:00 UTC);
const DOCUMENTS_PER_INSERT: u32 = 500;

const GIVEN_NAMES: [&str; 16] = [
    "amina", "bilal", "chiara", "dilan", "elif", "farid", "greta", "hassan", "ines", "jamal", "karim", "leila", "mira",
    "nadir", "olga", "pedro",
];
const FAMILY_NAMES: [&str; 11] =
    ["aziz", "berger", "cohen", "demir", "el-amrani", "fischer", "garcia", "haddad", "ivanova", "jensen", "khan"];

/// Adds the missing ones of the users to log in as and of `count` others; returns all ids.
pub async fn add(mongodb: &Mongodb, ambient: &Ambient, count: u32) -> Result<Vec<Uuid>> {
    // One hash for all: hashing is slow.
    let hash = password::hash(&PASSWORD.into(), ambient).await.map_err(|error| anyhow::anyhow!("{error}"))?;
    let mut ids = Vec::new();
    for (email, role) in USERS {
        let user = user(ambient.id(), email.parse()?, role, &hash, ambient.now());
        let found = users::find_by_address(mongodb, &user.email).await?.map(|found| found.id);
        if found.is_none() {
            users::insert(mongodb, &user, None).await?;
        }
        ids.push(found.unwrap_or(user.id));
        println!("{email:<24} {:<10} {PASSWORD}", role.as_str());
    }
    for numbers in batches(count, DOCUMENTS_PER_INSERT) {
        let batch = numbers.map(|number| customer(number, &hash)).collect::<Result<Vec<_>>>()?;
        ids.extend(batch.iter().map(|user| user.id));
        users::insert_missing(mongodb, &batch).await?;
    }
    if count > 0 {
        println!("{count} customers like {}, same password", address(0));
    }
    Ok(ids)
}

fn customer(number: u32, hash: &str) -> Result<NewUser> {
    let now = EPOCH + Duration::minutes(number.into());
    Ok(user(super::id(1, now, number), address(number).parse()?, Role::Customer, hash, now))
}

fn address(number: u32) -> String {
    format!("{}.{}.{number}@souk.example", word(&GIVEN_NAMES, number, 1), word(&FAMILY_NAMES, number, 1))
}

fn user(id: Uuid, email: shared::email::EmailAddress, role: Role, hash: &str, now: OffsetDateTime) -> NewUser {
    let password_hash = Some(hash.to_owned());
    NewUser { id, email, email_verified: true, password_hash, identity_key: None, roles: Roles(vec![role]), now }
}
