//! ID tokens of another issuer (`OpenID` Connect Core 1.0, 3.1.3.7), verified with the issuer's published keys.
//!
//! Keys are cached as `Cache-Control` says, fetched again for an unknown key id, and served stale while the issuer is
//! unreachable.

use std::{collections::HashMap, sync::Arc, time::Duration as StdDuration};

use jsonwebtoken::{Algorithm, DecodingKey, Validation};
use serde::{Deserialize, Deserializer};
use time::{Duration, OffsetDateTime};
use tokio::sync::Mutex;

use super::jwt;
use crate::{boxed, email::EmailAddress, error::ApiError, http_client};

/// Timeout of a request to the issuer.
const FETCH_TIMEOUT: StdDuration = StdDuration::from_secs(3);
/// The longest that keys are cached.
const MAX_TTL: Duration = Duration::DAY;
/// How long keys are cached without `Cache-Control`.
const DEFAULT_TTL: Duration = Duration::minutes(5);
/// Cool-down after each request to the issuer: tokens with invented key ids must not cause one request each.
const COOLDOWN: Duration = Duration::seconds(10);
const LEEWAY_SECONDS: u64 = 30;

/// The user that a token names.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct IdToken {
    /// Stable, unlike the address.
    pub subject: String,
    pub email: Option<EmailAddress>,
    /// Whether the issuer has verified the address.
    pub email_verified: bool,
    pub nonce: String,
}

#[derive(Deserialize)]
struct Claims {
    #[expect(dead_code, reason = "checked by the library; one text, since a token for others too is not for us alone")]
    aud: String,
    sub: String,
    nonce: String,
    #[serde(default)]
    email: Option<EmailAddress>,
    #[serde(default, deserialize_with = "true_or_text")]
    email_verified: bool,
}

/// Some issuers write the flag as text.
fn true_or_text<'de, D: Deserializer<'de>>(deserializer: D) -> Result<bool, D::Error> {
    #[derive(Deserialize)]
    #[serde(untagged)]
    enum Flag {
        Bool(bool),
        Text(String),
    }
    Ok(match Flag::deserialize(deserializer)? {
        Flag::Bool(value) => value,
        Flag::Text(text) => text == "true",
    })
}

/// An issuer, and how its tokens are validated.
#[derive(Clone)]
pub struct OpenIdIssuer {
    jwks_url: Arc<str>,
    validation: Arc<Validation>,
    keys: Arc<Mutex<Keys>>,
}

#[derive(Default)]
struct Keys {
    by_id: HashMap<String, DecodingKey>,
    fresh_until: Option<OffsetDateTime>,
    asked_at: Option<OffsetDateTime>,
}

#[derive(Deserialize)]
struct Jwks {
    keys: Vec<Jwk>,
}

/// A key of the set. Only RSA signature keys are used.
#[derive(Deserialize)]
struct Jwk {
    kty: String,
    kid: Option<String>,
    #[serde(rename = "use")]
    usage: Option<String>,
    alg: Option<String>,
    n: Option<String>,
    e: Option<String>,
}

impl OpenIdIssuer {
    /// An issuer of tokens whose audience is the client `client_id`.
    #[must_use]
    pub fn new(issuer: &str, jwks_url: &str, client_id: &str) -> Self {
        jwt::install_crypto();
        let mut validation = Validation::new(Algorithm::RS256);
        validation.leeway = LEEWAY_SECONDS;
        validation.validate_nbf = true;
        validation.set_audience(&[client_id]);
        // Google writes its issuer name with and without the scheme.
        validation.set_issuer(&[issuer, issuer.trim_start_matches("https://")]);
        validation.set_required_spec_claims(&["exp", "aud", "iss", "sub"]);
        Self { jwks_url: jwks_url.into(), validation: Arc::new(validation), keys: Arc::default() }
    }

    /// The verified token, or `None` for one that is invalid, expired, of another issuer or for another audience.
    ///
    /// # Errors
    /// When no keys were fetched yet, and none can be fetched now.
    #[boxed]
    pub async fn verify(&self, token: &str, now: OffsetDateTime) -> Result<Option<IdToken>, ApiError> {
        let header = jsonwebtoken::decode_header(token).ok();
        let Some(key_id) = header.and_then(|header| header.kid) else { return Ok(None) };
        let Some(key) = self.key(&key_id, now).await? else { return Ok(None) };
        let decoded = jsonwebtoken::decode::<Claims>(token, &key, &self.validation);
        Ok(decoded.ok().map(|token| {
            let Claims { sub, nonce, email, email_verified, .. } = token.claims;
            IdToken { subject: sub, email, email_verified, nonce }
        }))
    }

    async fn key(&self, id: &str, now: OffsetDateTime) -> Result<Option<DecodingKey>, ApiError> {
        // Single flight: the lock is held during the fetch, so that concurrent callers share its result.
        let mut keys = self.keys.lock().await;
        let is_fresh = keys.fresh_until.is_some_and(|until| now < until);
        let may_ask = keys.asked_at.is_none_or(|asked_at| now - asked_at >= COOLDOWN);
        if (!is_fresh || !keys.by_id.contains_key(id)) && may_ask {
            keys.asked_at = Some(now);
            match self.fetch().await {
                Ok((by_id, kept)) => {
                    keys.by_id = by_id;
                    keys.fresh_until = Some(now + kept);
                }
                Err(reason) => tracing::warn!(reason, "the issuer's keys are served stale"),
            }
        }
        if keys.fresh_until.is_none() {
            return Err(ApiError::unavailable("the issuer's keys cannot be had"));
        }
        Ok(keys.by_id.get(id).cloned())
    }

    async fn fetch(&self) -> Result<(HashMap<String, DecodingKey>, Duration), String> {
        let reply = http_client::get(&self.jwks_url, FETCH_TIMEOUT).await.map_err(|error| error.to_string())?;
        let jwks: Jwks = serde_json::from_slice(&reply.body).map_err(|error| error.to_string())?;
        let keys = jwks.keys.into_iter().filter_map(rsa_key).collect();
        Ok((keys, kept(reply.cache_control.as_deref())))
    }
}

fn rsa_key(key: Jwk) -> Option<(String, DecodingKey)> {
    let signs = key.kty == "RSA"
        && key.usage.is_none_or(|usage| usage == "sig")
        && key.alg.is_none_or(|algorithm| algorithm == "RS256");
    let decoding = DecodingKey::from_rsa_components(&key.n.filter(|_| signs)?, &key.e?).ok()?;
    Some((key.kid?, decoding))
}

/// How long the reply may be cached.
fn kept(cache_control: Option<&str>) -> Duration {
    let mut directives = cache_control.unwrap_or_default().split(',');
    let max_age = directives.find_map(|directive| directive.trim().strip_prefix("max-age=")?.parse().ok());
    max_age.map_or(DEFAULT_TTL, Duration::seconds).clamp(Duration::ZERO, MAX_TTL)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn keys_are_kept_as_long_as_the_issuer_says_within_bounds() {
        assert_eq!(kept(Some("public, max-age=21600, must-revalidate")), Duration::hours(6));
        assert_eq!(kept(Some("max-age=99999999")), MAX_TTL);
        assert_eq!(kept(Some("max-age=-5")), Duration::ZERO);
        for nothing in [None, Some(""), Some("no-cache"), Some("max-age=soon")] {
            assert_eq!(kept(nothing), DEFAULT_TTL);
        }
    }
}
