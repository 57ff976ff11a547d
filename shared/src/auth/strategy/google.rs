//! Log in with an ID token from Google. Whoever comes for the first time becomes a user.

use std::sync::Arc;

use base64::{Engine, engine::general_purpose::URL_SAFE_NO_PAD as BASE64URL};
use garde::Validate;
use ring::digest;
use secrecy::{ExposeSecret, SecretString};
use serde::Deserialize;
use utoipa::ToSchema;

use super::{Identity, LoginStrategy};
use crate::{
    ambient::Ambient,
    auth::{
        Role, Roles,
        openid::{IdToken, OpenIdIssuer},
        session,
    },
    contract::{Opener, Requirements, Resource},
    email::EmailAddress,
    environment::{self, ConfigError},
    error::{ApiError, Problem},
    store::{
        Mongodb, Redis,
        cache::{self, Key},
        sessions::EndReason,
        users::{self, Inserted, NewUser, Status, User},
    },
};

const ISSUER: &str = "SOUK_GOOGLE_ISSUER";
const JWKS_URL: &str = "SOUK_GOOGLE_JWKS_URL";
const CLIENT_ID: &str = "SOUK_GOOGLE_CLIENT_ID";

/// An ID token from Google. Issuer and address of the keys are configuration, so that it may be another issuer.
#[derive(Clone)]
pub struct Google {
    mongodb: Mongodb,
    redis: Redis,
    openid: OpenIdIssuer,
    issuer: Arc<str>,
}

/// What it asks for.
#[derive(Deserialize, Validate, ToSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
#[garde(allow_unvalidated)]
pub struct GoogleCredentials {
    #[expect(dead_code, reason = "the registry has read it")]
    #[schema(pattern = "^google$")]
    strategy: String,
    /// The ID token, as Google gave it to the client.
    #[schema(value_type = String)]
    id_token: SecretString,
    /// What the client made up before it went to Google, where it gave only the SHA-256 of it as `nonce` (base64url, without padding).
    /// So a token that somebody else got hold of is of no use to them.
    #[schema(value_type = String, min_length = 16)]
    nonce: SecretString,
}

impl Resource for Google {
    fn requirements() -> Vec<Requirements> {
        let own = Requirements { environment: &[ISSUER, JWKS_URL, CLIENT_ID], grants: &[] };
        [Mongodb::requirements(), <Redis>::requirements(), vec![own]].concat()
    }

    fn open(opener: &Opener) -> Result<Self, ConfigError> {
        let issuer = environment::required(ISSUER)?;
        let client_id = environment::required(CLIENT_ID)?;
        let openid = OpenIdIssuer::new(&issuer, &environment::required(JWKS_URL)?, &client_id);
        Ok(Self { mongodb: opener.get()?, redis: opener.get()?, openid, issuer: issuer.into() })
    }
}

impl LoginStrategy for Google {
    const NAME: &'static str = "google";
    type Credentials = GoogleCredentials;

    async fn authenticate(&self, credentials: GoogleCredentials, ambient: &Ambient) -> Result<Identity, ApiError> {
        let GoogleCredentials { id_token, nonce, .. } = credentials;
        let token = self.openid.verify(id_token.expose_secret(), ambient.now()).await?;
        let token = token.filter(|token| token.nonce == hash(&nonce)).ok_or(Problem::InvalidCredentials)?;
        // Somebody may have taken the identity or the address since we looked: then we find whom.
        for _ in 0..3 {
            if let Some(user) = self.find_or_make(&token, ambient).await? {
                return Ok(Identity { user_id: user.id, epoch: user.epoch });
            }
        }
        Err(Problem::InvalidCredentials.into())
    }
}

impl Google {
    /// The user that the token names: by identity; else by a verified address, which then gets the identity; else a new one.
    /// `None` if somebody else did the same at the same time.
    async fn find_or_make(&self, token: &IdToken, ambient: &Ambient) -> Result<Option<User>, ApiError> {
        let key = format!("{} {}", self.issuer, token.subject);
        if let Some(user) = users::find_by_identity(&self.mongodb, &key).await? {
            return if user.status == Status::Active {
                Ok(Some(user))
            } else {
                Err(Problem::InvalidCredentials.into())
            };
        }
        // An address that the issuer has not verified proves nothing, and says nothing about who has it here.
        let email = token.email.as_ref().filter(|_| token.email_verified).ok_or(Problem::InvalidCredentials)?;
        match users::find_holder(&self.mongodb, email).await? {
            Some(user) if user.status == Status::Active => self.link(&user, &key, ambient).await,
            Some(_) => Err(Problem::InvalidCredentials.into()),
            None => self.make(email, key, ambient).await,
        }
    }

    async fn link(&self, user: &User, key: &str, ambient: &Ambient) -> Result<Option<User>, ApiError> {
        let linked = users::link_identity(&self.mongodb, user, key, ambient.now()).await?;
        let Some(linked) = linked else { return Ok(None) };
        cache::invalidate(&self.redis, Key::user(linked.id), linked.version).await;
        if !user.email_verified {
            // Whoever registered with this address has not shown that it is theirs; now somebody else has.
            let (reason, now) = (EndReason::AccessWithdrawn, ambient.now());
            session::end_with_epoch(&self.mongodb, &self.redis, user.id, None, reason, now).await;
        }
        Ok(Some(linked))
    }

    async fn make(&self, email: &EmailAddress, key: String, ambient: &Ambient) -> Result<Option<User>, ApiError> {
        let new = NewUser {
            id: ambient.id(),
            email: email.clone(),
            email_verified: true,
            password_hash: None,
            identity_key: Some(key),
            roles: Roles(vec![Role::Customer]),
            now: ambient.now(),
        };
        match users::insert(&self.mongodb, &new, None).await? {
            Inserted::Yes => Ok(users::find(&self.mongodb, new.id).await?),
            Inserted::Taken => Ok(None),
        }
    }
}

fn hash(nonce: &SecretString) -> String {
    BASE64URL.encode(digest::digest(&digest::SHA256, nonce.expose_secret().as_bytes()))
}
