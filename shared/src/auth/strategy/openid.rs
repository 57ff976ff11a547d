//! Log in with an ID token of an OpenID provider. The first login creates a user.
//!
//! A provider is a declaration: a type that implements [`OpenIdProvider`], and its line in
//! [`for_each_login_strategy!`](crate::for_each_login_strategy).

use std::{marker::PhantomData, sync::Arc};

use base64::{Engine, engine::general_purpose::URL_SAFE_NO_PAD as BASE64URL};
use garde::Validate;
use ring::digest;
use secrecy::{ExposeSecret, SecretString};
use serde::{Deserialize, Deserializer};
use utoipa::{
    PartialSchema, ToSchema,
    openapi::{
        RefOr,
        schema::{ObjectBuilder, Schema, Type},
    },
};

use super::{Identity, LoginStrategy};
use crate::{
    ambient::Ambient,
    auth::{
        account::{self, Proof, ProviderIdentity},
        openid::OpenIdIssuer,
    },
    contract::{Requirements, Resource, ResourceContext},
    environment::{self, ConfigError},
    error::{ApiError, Problem},
    store::{Mongodb, Redis},
};

/// An OpenID provider, declared by its name and the environment variables of its configuration.
pub trait OpenIdProvider: Send + Sync + 'static {
    /// The request's `strategy`.
    const NAME: &'static str;
    /// The variables with the issuer, the address of its keys (JWKS), and the client id that its tokens are for.
    const ENVIRONMENT: &'static [&'static str; 3];
}

/// Google.
pub struct Google;

impl OpenIdProvider for Google {
    const NAME: &'static str = "google";
    const ENVIRONMENT: &'static [&'static str; 3] =
        &["SOUK_GOOGLE_ISSUER", "SOUK_GOOGLE_JWKS_URL", "SOUK_GOOGLE_CLIENT_ID"];
}

/// Logs in with ID tokens of the provider `P`.
pub struct OpenId<P> {
    mongodb: Mongodb,
    redis: Redis,
    openid: OpenIdIssuer,
    issuer: Arc<str>,
    provider: PhantomData<P>,
}

impl<P> Clone for OpenId<P> {
    fn clone(&self) -> Self {
        Self {
            mongodb: self.mongodb.clone(),
            redis: self.redis.clone(),
            openid: self.openid.clone(),
            issuer: Arc::clone(&self.issuer),
            provider: PhantomData,
        }
    }
}

impl<P: OpenIdProvider> Resource for OpenId<P> {
    fn requirements() -> Vec<Requirements> {
        let own = Requirements { environment: P::ENVIRONMENT, grants: &[] };
        [Mongodb::requirements(), <Redis>::requirements(), vec![own]].concat()
    }

    fn open(context: &ResourceContext) -> Result<Self, ConfigError> {
        let [issuer, jwks_url, client_id] = *P::ENVIRONMENT;
        let issuer = environment::required(issuer)?;
        let client_id = environment::required(client_id)?;
        let openid = OpenIdIssuer::new(&issuer, &environment::required(jwks_url)?, &client_id);
        let (mongodb, redis) = (context.get()?, context.get()?);
        Ok(Self { mongodb, redis, openid, issuer: issuer.into(), provider: PhantomData })
    }
}

impl<P: OpenIdProvider> LoginStrategy for OpenId<P> {
    const NAME: &'static str = P::NAME;
    type Credentials = OpenIdCredentials<P>;

    async fn authenticate(&self, credentials: OpenIdCredentials<P>, ambient: &Ambient) -> Result<Identity, ApiError> {
        let Members { id_token, nonce, .. } = credentials.members;
        let token = self.openid.verify(id_token.expose_secret(), ambient.now()).await?;
        let token = token.filter(|token| token.nonce == hash(&nonce)).ok_or(Problem::InvalidCredentials)?;
        let identity = ProviderIdentity {
            key: format!("{} {}", self.issuer, token.subject),
            verified_email: token.email.filter(|_| token.email_verified),
        };
        let user = account::prove(&self.mongodb, &self.redis, Proof::Provider(&identity), ambient).await?;
        Ok(Identity { user_id: user.id, epoch: user.epoch })
    }
}

fn hash(nonce: &SecretString) -> String {
    BASE64URL.encode(digest::digest(&digest::SHA256, nonce.expose_secret().as_bytes()))
}

/// The credentials of a login with the provider `P`.
pub struct OpenIdCredentials<P> {
    members: Members,
    provider: PhantomData<P>,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
struct Members {
    #[expect(dead_code, reason = "the registry has read it")]
    strategy: String,
    id_token: SecretString,
    nonce: SecretString,
}

impl<'de, P> Deserialize<'de> for OpenIdCredentials<P> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        Members::deserialize(deserializer).map(|members| Self { members, provider: PhantomData })
    }
}

impl<P> Validate for OpenIdCredentials<P> {
    type Context = ();

    /// Nothing to validate here: the token is verified later.
    fn validate_into(&self, (): &(), _: &mut dyn FnMut() -> garde::Path, _: &mut garde::Report) {}
}

/// By hand: the derived schema could not include the provider's name.
impl<P: OpenIdProvider> PartialSchema for OpenIdCredentials<P> {
    fn schema() -> RefOr<Schema> {
        let text = |description: &str| ObjectBuilder::new().schema_type(Type::String).description(Some(description));
        let strategy = ObjectBuilder::new().schema_type(Type::String).pattern(Some(format!("^{}$", P::NAME)));
        let nonce = "What the client made up before it went to the provider, to which it gave only its SHA-256 as `nonce` \
                     (base64url, without padding). So a stolen ID token alone is of no use.";
        ObjectBuilder::new()
            .description(Some("What it asks for."))
            .property("strategy", strategy)
            .required("strategy")
            .property("idToken", text("The ID token, as the provider gave it to the client."))
            .required("idToken")
            .property("nonce", text(nonce))
            .required("nonce")
            .additional_properties(Some(utoipa::openapi::schema::AdditionalProperties::<Schema>::FreeForm(false)))
            .into()
    }
}

impl<P: OpenIdProvider> ToSchema for OpenIdCredentials<P> {}
