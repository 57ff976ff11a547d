//! Access tokens: JWTs (RFC 9068, RFC 8725) signed with Ed25519, valid for ten minutes.
//!
//! Signing needs the private key, from Secrets Manager; verifying needs only the public keys, from the environment, and
//! no call. Key rotation is in `docs/KEYS.md`.

use crate::identity::{ACCESS_TOKEN_LIFETIME, AccessToken};
use std::{collections::HashMap, sync::Arc};

use base64::{Engine, engine::general_purpose::URL_SAFE_NO_PAD as BASE64URL};
use jsonwebtoken::{Algorithm, DecodingKey, EncodingKey, Header, Validation};
use ring::signature::Ed25519KeyPair;
use serde::{Deserialize, Serialize};
use time::{Duration, OffsetDateTime};
use tokio::sync::Mutex;
use uuid::Uuid;

use super::{
    jwt::{self, JwtHeader},
    keys::{self, KeySet, SigningKeyDocument},
};
use crate::identity::{Caller, Roles};
use crate::{
    ambient::Ambient,
    boxed,
    contract::{Grant, Requirements, Resource, ResourceContext, Target},
    environment::{self, ConfigError},
    error::ApiError,
    secret::Secret,
};

/// How long a signer caches its key.
const KEY_TTL: Duration = Duration::minutes(5);
/// The audience of the tokens.
const AUDIENCE: &str = "souk-api";
/// The token's type (RFC 9068), so that no other JWT of ours passes for an access token.
const TYPE: &str = "at+jwt";
/// The tolerated clock skew.
const LEEWAY: Duration = Duration::seconds(5);

/// The claims of an access token, typed. The parser refuses a token that lacks one, has one twice, or has a list as its
/// audience.
#[derive(Debug, Serialize, Deserialize)]
struct Claims {
    iss: String,
    aud: String,
    sub: Uuid,
    sid: Uuid,
    /// How often the session was refreshed before.
    #[serde(rename = "gen")]
    generation: u64,
    jti: Uuid,
    roles: Roles,
    iat: i64,
    nbf: i64,
    exp: i64,
}

/// Signs access tokens.
#[derive(Clone)]
pub struct TokenSigner {
    secret: Secret,
    key: Arc<Mutex<Option<SigningKey>>>,
    issuer: Arc<str>,
    ambient: Ambient,
}

#[derive(Clone)]
struct SigningKey {
    header: Arc<Header>,
    key: Arc<EncodingKey>,
    read_at: OffsetDateTime,
}

impl Resource for TokenSigner {
    fn requirements() -> Vec<Requirements> {
        vec![Requirements {
            environment: &["SOUK_TOKEN_SIGNING_SECRET"],
            grants: &[Grant { action: "secretsmanager:GetSecretValue", target: Target::Secret("token-signing-key") }],
        }]
    }

    fn open(context: &ResourceContext) -> Result<Self, ConfigError> {
        Ok(Self {
            secret: Secret::new(&context.aws, environment::required("SOUK_TOKEN_SIGNING_SECRET")?),
            key: Arc::default(),
            issuer: issuer()?,
            ambient: context.ambient.clone(),
        })
    }

    async fn warm(&self) {
        if let Err(error) = self.key(self.ambient.now()).await {
            tracing::warn!(%error, "the signing key is not available yet");
        }
    }
}

impl TokenSigner {
    /// Signs a token, valid from now for [`ACCESS_TOKEN_LIFETIME`]; `id` becomes its `jti`.
    ///
    /// # Errors
    /// When the signing key is not available.
    #[boxed]
    pub async fn sign(&self, token: &AccessToken, id: Uuid, now: OffsetDateTime) -> Result<String, ApiError> {
        let SigningKey { header, key, .. } = self.key(now).await?;
        let now_seconds = now.unix_timestamp();
        let claims = Claims {
            iss: self.issuer.to_string(),
            aud: AUDIENCE.into(),
            sub: token.caller.user_id,
            sid: token.caller.session_id,
            generation: token.generation,
            jti: id,
            roles: token.caller.roles.clone(),
            iat: now_seconds,
            nbf: now_seconds,
            exp: now_seconds + ACCESS_TOKEN_LIFETIME.whole_seconds(),
        };
        jsonwebtoken::encode(&header, &claims, &key).map_err(ApiError::internal)
    }

    /// The key, refreshed after [`KEY_TTL`]. If that fails, the stale key still signs.
    async fn key(&self, now: OffsetDateTime) -> Result<SigningKey, ApiError> {
        let mut held = self.key.lock().await;
        if let Some(key) = held.as_ref().filter(|key| now - key.read_at < KEY_TTL) {
            return Ok(key.clone());
        }
        match (self.read_key(now).await, held.as_ref()) {
            (Ok(key), _) => Ok(held.insert(key).clone()),
            (Err(error), Some(old)) => {
                tracing::warn!(%error, "signing with the stale key");
                Ok(old.clone())
            }
            (Err(error), None) => Err(error),
        }
    }

    async fn read_key(&self, now: OffsetDateTime) -> Result<SigningKey, ApiError> {
        jwt::install_crypto();
        let document: SigningKeyDocument = self.secret.json().await.map_err(ApiError::unavailable)?;
        let der = BASE64URL.decode(&document.private_key).map_err(ApiError::internal)?;
        Ed25519KeyPair::from_pkcs8(&der).map_err(|_| ApiError::internal("the signing key is not PKCS #8"))?;
        let mut header = Header::new(Algorithm::EdDSA);
        header.typ = Some(TYPE.into());
        header.kid = Some(document.kid);
        Ok(SigningKey { header: Arc::new(header), key: Arc::new(EncodingKey::from_ed_der(&der)), read_at: now })
    }
}

/// Verifies access tokens.
#[derive(Clone)]
pub struct TokenVerifier {
    keys: Arc<HashMap<String, DecodingKey>>,
    validation: Arc<Validation>,
}

impl Resource for TokenVerifier {
    fn requirements() -> Vec<Requirements> {
        KeySet::requirements()
    }

    fn open(context: &ResourceContext) -> Result<Self, ConfigError> {
        Self::new(&context.get()?, &issuer()?).map_err(|reason| ConfigError::invalid(keys::PUBLIC_KEYS, reason))
    }
}

impl TokenVerifier {
    /// A verifier for tokens of this issuer, signed by one of these keys.
    ///
    /// # Errors
    /// When a key is not an Ed25519 key.
    pub fn new(keys: &KeySet, issuer: &str) -> Result<Self, String> {
        jwt::install_crypto();
        let mut decoding = HashMap::new();
        for key in &keys.keys {
            if (key.kty.as_str(), key.crv.as_str(), key.alg.as_str()) != ("OKP", "Ed25519", "EdDSA") {
                return Err(format!("key {} is not an Ed25519 key", key.kid));
            }
            let x = DecodingKey::from_ed_components(&key.x).map_err(|error| format!("key {}: {error}", key.kid))?;
            decoding.insert(key.kid.clone(), x);
        }
        let validation = jwt::validation(Algorithm::EdDSA, &[issuer], AUDIENCE);
        Ok(Self { keys: Arc::new(decoding), validation: Arc::new(validation) })
    }

    /// The claims of a valid token of ours, else `None`.
    #[must_use]
    pub fn verify(&self, token: &str, now: OffsetDateTime) -> Option<AccessToken> {
        let JwtHeader { typ, alg, kid } = JwtHeader::of(token)?;
        if (typ.as_deref(), alg) != (Some(TYPE), Algorithm::EdDSA) {
            return None;
        }
        let claims = jsonwebtoken::decode::<Claims>(token, self.keys.get(&kid)?, &self.validation).ok()?.claims;
        let Claims { sub, sid, roles, generation, iat, nbf, exp, .. } = claims;
        if !jwt::is_valid_at(now, nbf.max(iat), exp, LEEWAY) {
            return None;
        }
        Some(AccessToken { caller: Caller { user_id: sub, session_id: sid, roles }, generation })
    }
}

fn issuer() -> Result<Arc<str>, ConfigError> {
    Ok(format!("souk-{}", environment::required(environment::STAGE)?).into())
}

#[cfg(test)]
mod tests {
    use serde_json::{Value, json};
    use time::macros::datetime;

    use super::*;
    use crate::identity::Role;

    /// A key, and a verifier that trusts it.
    fn key() -> (Ed25519KeyPair, String, TokenVerifier) {
        let (document, public) = keys::generate();
        let pair = Ed25519KeyPair::from_pkcs8(&BASE64URL.decode(&document.private_key).unwrap()).unwrap();
        let verifier = TokenVerifier::new(&KeySet { keys: vec![public] }, "souk-test").unwrap();
        (pair, document.kid, verifier)
    }

    fn header(kid: &str) -> Value {
        json!({ "typ": TYPE, "alg": "EdDSA", "kid": kid })
    }

    /// When the token of these tests is issued.
    const NOW: OffsetDateTime = datetime!(2026-11-25 12:00 UTC);

    fn claims() -> Value {
        let now = NOW.unix_timestamp();
        let id = "018f0000-0000-7000-8000-000000000000";
        json!({
            "iss": "souk-test", "aud": AUDIENCE, "sub": id, "sid": id, "jti": id, "gen": 0, "roles": ["customer"],
            "iat": now, "nbf": now, "exp": now + 600,
        })
    }

    fn token(pair: &Ed25519KeyPair, header: &str, claims: &str) -> String {
        let message = format!("{}.{}", BASE64URL.encode(header), BASE64URL.encode(claims));
        let signature = BASE64URL.encode(pair.sign(message.as_bytes()));
        format!("{message}.{signature}")
    }

    #[test]
    fn a_token_of_ours_names_its_caller() {
        let (pair, kid, verifier) = key();
        let token = verifier.verify(&token(&pair, &header(&kid).to_string(), &claims().to_string()), NOW).unwrap();
        assert_eq!(token.caller.user_id.to_string(), claims()["sub"]);
        assert_eq!(token.caller.roles, Roles(vec![Role::Customer]));
    }

    #[test]
    fn a_token_counts_from_its_first_second_to_its_last_and_as_long_as_clocks_may_differ() {
        let (pair, kid, verifier) = key();
        let (header, issued, second) = (header(&kid).to_string(), NOW.unix_timestamp(), Duration::SECOND);
        let counts = |claims: &Value, now| verifier.verify(&token(&pair, &header, &claims.to_string()), now).is_some();
        let (first, end) = (NOW - LEEWAY, NOW + ACCESS_TOKEN_LIFETIME + LEEWAY);
        for (now, expected) in [
            (first - second, false),
            (first, true),
            (NOW, true),
            (end - Duration::MICROSECOND, true),
            (end, false),
            (end + Duration::DAY, false),
        ] {
            assert_eq!(counts(&claims(), now), expected, "{now}");
        }
        // Issued now, for later; and the other way round.
        for name in ["nbf", "iat"] {
            let mut claims = claims();
            claims[name] = json!(issued + 60);
            assert!(!counts(&claims, NOW + Duration::seconds(54)), "{name}");
            assert!(counts(&claims, NOW + Duration::seconds(55)), "{name}");
        }
        for (name, time) in [("exp", i64::MAX), ("nbf", i64::MIN)] {
            let mut claims = claims();
            claims[name] = json!(time);
            assert!(counts(&claims, NOW), "{name}");
        }
    }

    #[test]
    fn a_token_with_another_header_is_refused() {
        let (pair, kid, verifier) = key();
        for (name, value) in [
            ("typ", json!("JWT")),
            ("typ", Value::Null),
            ("alg", json!("none")),
            ("alg", json!("HS256")),
            ("alg", json!("RS256")),
            ("kid", json!("another")),
            ("kid", json!("../../dev/null")),
            ("kid", Value::Null),
            ("kid", json!([kid])),
            ("typ", json!([TYPE])),
            ("typ", json!("AT+JWT")),
            ("crit", json!([])),
            ("crit", json!(["exp"])),
            ("crit", json!(["b64"])),
            ("crit", Value::Null),
            ("b64", json!(true)),
            ("cty", json!("JWT")),
            ("jwk", json!({})),
            ("souk", json!(1)),
        ] {
            let mut header = header(&kid);
            header[name] = value.clone();
            let token = token(&pair, &header.to_string(), &claims().to_string());
            assert!(verifier.verify(&token, NOW).is_none(), "{name}: {value}");
        }
        let twice = header(&kid).to_string().replacen('{', &format!("{{\"kid\":\"{kid}\","), 1);
        assert!(verifier.verify(&token(&pair, &twice, &claims().to_string()), NOW).is_none(), "{twice}");
    }

    #[test]
    fn a_token_with_another_claim_or_without_it_is_refused() {
        let (pair, kid, verifier) = key();
        let now = NOW.unix_timestamp();
        for (name, value) in [
            ("iss", json!("souk-prod")),
            ("iss", json!(["souk-test"])),
            ("aud", json!("another-api")),
            ("aud", json!([AUDIENCE])),
            ("exp", json!(now - 60)),
            ("exp", json!((now + 600).to_string())),
            ("exp", json!(1e300)),
            ("nbf", json!(now + 60)),
            ("iat", json!(now + 60)),
            ("sub", json!("not-an-id")),
            ("sub", json!("")),
            ("sid", json!("not-an-id")),
            ("jti", json!("not-an-id")),
            ("gen", json!(-1)),
            ("roles", json!(["root"])),
            ("roles", json!("admin")),
        ] {
            let (mut changed, mut missing) = (claims(), claims());
            changed[name] = value;
            missing.as_object_mut().unwrap().remove(name);
            for claims in [changed, missing] {
                let token = token(&pair, &header(&kid).to_string(), &claims.to_string());
                assert!(verifier.verify(&token, NOW).is_none(), "{claims}");
            }
        }
        let twice = claims().to_string().replacen('{', "{\"roles\":[\"admin\"],", 1);
        assert!(verifier.verify(&token(&pair, &header(&kid).to_string(), &twice), NOW).is_none(), "{twice}");
    }

    #[test]
    fn a_token_that_was_changed_or_signed_by_another_is_refused() {
        let (pair, kid, verifier) = key();
        let (other, ..) = key();
        let (header, claims) = (header(&kid).to_string(), claims().to_string());
        assert!(verifier.verify(&token(&other, &header, &claims), NOW).is_none());

        let good = token(&pair, &header, &claims);
        let parts: Vec<&str> = good.split('.').collect();
        let admin = BASE64URL.encode(claims.replace("customer", "admin"));
        for forged in [
            format!("{}.{admin}.{}", parts[0], parts[2]),
            format!("{}.{}.", parts[0], parts[1]),
            format!("{}.{}", parts[0], parts[1]),
            format!("{good}.{}", parts[2]),
            String::new(),
            "..".to_owned(),
        ] {
            assert!(verifier.verify(&forged, NOW).is_none(), "{forged}");
        }
    }

    #[test]
    fn a_key_that_is_no_ed25519_key_is_no_key() {
        let (_, mut public) = keys::generate();
        public.alg = "HS256".into();
        assert!(TokenVerifier::new(&KeySet { keys: vec![public] }, "souk-test").is_err());
    }
}
