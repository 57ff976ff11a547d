//! ID tokens of another issuer (`OpenID` Connect Core 1.0, 3.1.3.7), verified with the issuer's published keys.
//!
//! Keys are cached as `Cache-Control` says, fetched again for an unknown key id, and served stale while the issuer is
//! unreachable.

use std::{collections::HashMap, sync::Arc, time::Duration as StdDuration};

use jsonwebtoken::{Algorithm, DecodingKey, Validation};
use serde::{Deserialize, Deserializer};
use time::{Duration, OffsetDateTime};
use tokio::sync::Mutex;

use super::jwt::{self, JwtHeader};
use crate::{boxed, email::EmailAddress, error::ApiError, http_client};

/// Timeout of a request to the issuer.
const FETCH_TIMEOUT: StdDuration = StdDuration::from_secs(3);
/// The longest that keys are cached.
const MAX_TTL: Duration = Duration::DAY;
/// How long keys are cached without `Cache-Control`.
const DEFAULT_TTL: Duration = Duration::minutes(5);
/// Cool-down after each request to the issuer: tokens with invented key ids must not cause one request each.
const COOLDOWN: Duration = Duration::seconds(10);
/// The tolerated clock skew.
const LEEWAY: Duration = Duration::seconds(30);

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

/// The claims, typed: a token that lacks one, or has one of another type, is refused.
#[derive(Deserialize)]
struct Claims {
    #[expect(dead_code, reason = "compared by the library, which takes a list too")]
    iss: String,
    #[expect(
        dead_code,
        reason = "compared by the library; one text, since a token for others too is not for us alone"
    )]
    aud: String,
    sub: String,
    nonce: String,
    iat: i64,
    nbf: Option<i64>,
    exp: i64,
    #[serde(default)]
    email: Option<EmailAddress>,
    #[serde(default, deserialize_with = "true_or_text")]
    email_verified: bool,
}

impl Claims {
    /// The identity that they state. `None` without a subject, and outside the token's validity.
    fn identity(self, now: OffsetDateTime) -> Option<IdToken> {
        let Self { sub, nonce, iat, nbf, exp, email, email_verified, .. } = self;
        let is_valid = !sub.is_empty() && jwt::is_valid_at(now, nbf.unwrap_or(iat).max(iat), exp, LEEWAY);
        is_valid.then_some(IdToken { subject: sub, email, email_verified, nonce })
    }
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
        // Google writes its issuer name with and without the scheme.
        let issuers = [issuer, issuer.trim_start_matches("https://")];
        let validation = jwt::validation(Algorithm::RS256, &issuers, client_id);
        Self { jwks_url: jwks_url.into(), validation: Arc::new(validation), keys: Arc::default() }
    }

    /// The verified token, or `None` for one that is invalid, expired, of another issuer or for another audience.
    ///
    /// # Errors
    /// When no keys were fetched yet, and none can be fetched now.
    #[boxed]
    pub async fn verify(&self, token: &str, now: OffsetDateTime) -> Result<Option<IdToken>, ApiError> {
        let Some(JwtHeader { typ, alg, kid }) = JwtHeader::of(token) else { return Ok(None) };
        if alg != Algorithm::RS256 || typ.is_some_and(|typ| !typ.eq_ignore_ascii_case("JWT")) {
            return Ok(None);
        }
        let Some(key) = self.key(&kid, now).await? else { return Ok(None) };
        let decoded = jsonwebtoken::decode::<Claims>(token, &key, &self.validation);
        Ok(decoded.ok().and_then(|token| token.claims.identity(now)))
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
    use std::sync::{
        PoisonError,
        atomic::{AtomicUsize, Ordering},
    };

    use base64::{Engine, engine::general_purpose::URL_SAFE_NO_PAD as BASE64URL};
    use serde_json::{Value, json};
    use time::macros::datetime;
    use tokio::{
        io::{AsyncReadExt, AsyncWriteExt},
        net::{TcpListener, TcpStream},
    };

    use super::*;
    use crate::error::Problem;

    const NOW: OffsetDateTime = datetime!(2026-11-25 12:00 UTC);
    const MAX_AGE: Duration = Duration::minutes(1);

    /// An issuer's server, which counts how often it is asked.
    #[derive(Clone, Default)]
    struct KeyServer {
        requests: Arc<AtomicUsize>,
        /// The ids of the keys that it publishes; without any it answers that it is out of order.
        published: Arc<std::sync::Mutex<Vec<&'static str>>>,
    }

    impl KeyServer {
        /// A server that publishes these keys, and the issuer that is asked there.
        async fn start(published: &[&'static str]) -> (Self, OpenIdIssuer) {
            let server = Self::default();
            server.publish(published);
            let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
            let url = format!("http://{}/jwks", listener.local_addr().unwrap());
            let serving = server.clone();
            tokio::spawn(async move {
                while let Ok((connection, _)) = listener.accept().await {
                    serving.answer(connection).await;
                }
            });
            (server, OpenIdIssuer::new("https://issuer.example", &url, "souk"))
        }

        fn publish(&self, published: &[&'static str]) {
            *self.published.lock().unwrap_or_else(PoisonError::into_inner) = published.to_vec();
        }

        fn requests(&self) -> usize {
            self.requests.load(Ordering::Relaxed)
        }

        async fn answer(&self, mut connection: TcpStream) {
            self.requests.fetch_add(1, Ordering::Relaxed);
            let mut asked = Vec::new();
            while !asked.ends_with(b"\r\n\r\n") {
                asked.push(connection.read_u8().await.unwrap());
            }
            let published = self.published.lock().unwrap_or_else(PoisonError::into_inner).clone();
            let status = if published.is_empty() { "500 Internal Server Error" } else { "200 OK" };
            let key = |kid: &&str| json!({ "kty": "RSA", "kid": kid, "n": "AQAB", "e": "AQAB" });
            let body = json!({ "keys": published.iter().map(key).collect::<Vec<_>>() }).to_string();
            let (length, max_age) = (body.len(), MAX_AGE.whole_seconds());
            let head = format!("Content-Length: {length}\r\nCache-Control: max-age={max_age}\r\nConnection: close");
            let reply = format!("HTTP/1.1 {status}\r\n{head}\r\n\r\n{body}");
            connection.write_all(reply.as_bytes()).await.unwrap();
        }
    }

    /// Whether the issuer has a key with this id.
    async fn knows(issuer: &OpenIdIssuer, id: &str, now: OffsetDateTime) -> bool {
        issuer.key(id, now).await.unwrap().is_some()
    }

    #[tokio::test]
    async fn keys_are_fetched_when_they_are_old_and_for_an_id_that_is_not_known() {
        let (server, issuer) = KeyServer::start(&["first"]).await;
        assert!(knows(&issuer, "first", NOW).await);
        assert!(knows(&issuer, "first", NOW + MAX_AGE - Duration::SECOND).await);
        assert_eq!(server.requests(), 1, "they are kept as long as the issuer says");
        assert!(knows(&issuer, "first", NOW + MAX_AGE).await);
        assert_eq!(server.requests(), 2, "and no longer");

        server.publish(&["second"]);
        let now = NOW + MAX_AGE + COOLDOWN;
        assert!(!knows(&issuer, "second", now - Duration::SECOND).await);
        assert_eq!(server.requests(), 2, "it was asked just now");
        assert!(knows(&issuer, "second", now).await);
        assert!(!knows(&issuer, "first", now).await, "what is not published any more is not a key any more");
        assert_eq!(server.requests(), 3);
    }

    #[tokio::test]
    async fn while_the_issuer_is_down_its_last_keys_count_and_invented_key_ids_do_not_have_it_asked_each_time() {
        let (server, issuer) = KeyServer::start(&["known"]).await;
        assert!(knows(&issuer, "known", NOW).await);
        server.publish(&[]);
        let mut now = NOW + MAX_AGE;
        for requests in 2..5 {
            for invented in 0..20 {
                assert!(!knows(&issuer, &format!("invented-{invented}"), now).await);
            }
            assert!(knows(&issuer, "known", now).await);
            assert!(knows(&issuer, "known", now + COOLDOWN - Duration::SECOND).await);
            assert_eq!(server.requests(), requests, "once in a cooldown");
            now += COOLDOWN;
        }
        server.publish(&["known"]);
        assert!(knows(&issuer, "known", now).await);
        assert!(knows(&issuer, "known", now + MAX_AGE - Duration::SECOND).await);
        assert_eq!(server.requests(), 5, "fresh again");
    }

    #[tokio::test]
    async fn keys_that_were_never_had_are_not_there_and_are_asked_for_once_in_a_cooldown() {
        let (server, issuer) = KeyServer::start(&[]).await;
        for now in [NOW, NOW, NOW + COOLDOWN - Duration::SECOND] {
            assert_eq!(issuer.key("known", now).await.unwrap_err().problem(), Problem::Unavailable);
        }
        assert_eq!(server.requests(), 1);
        server.publish(&["known"]);
        assert!(knows(&issuer, "known", NOW + COOLDOWN).await);
        assert_eq!(server.requests(), 2);
    }

    #[tokio::test]
    async fn for_a_token_whose_header_is_not_exact_the_issuer_is_not_even_asked() {
        let (server, issuer) = KeyServer::start(&["known"]).await;
        let verify = async |header: &Value| {
            let token =
                format!("{}.{}.AAAA", BASE64URL.encode(header.to_string()), BASE64URL.encode(claims().to_string()));
            issuer.verify(&token, NOW).await.unwrap()
        };
        let exact = json!({ "alg": "RS256", "kid": "known", "typ": "JWT" });
        for (name, value) in [
            ("typ", json!("at+jwt")),
            ("alg", json!("HS256")),
            ("alg", json!("EdDSA")),
            ("alg", json!("none")),
            ("kid", Value::Null),
            ("crit", json!([])),
            ("crit", json!(["exp"])),
            ("jwk", json!({ "kty": "RSA", "n": "AQAB", "e": "AQAB" })),
            ("jku", json!("https://issuer.example/jwks")),
            ("souk", json!(1)),
        ] {
            let mut header = exact.clone();
            header[name] = value.clone();
            assert_eq!((verify(&header).await, server.requests()), (None, 0), "{name}: {value}");
        }
        assert_eq!((verify(&exact).await, server.requests()), (None, 1), "the issuer has not signed it");
    }

    /// The claims of a token that was issued now.
    fn claims() -> Value {
        let now = NOW.unix_timestamp();
        json!({
            "iss": "https://issuer.example", "aud": "souk", "sub": "somebody", "nonce": "what the client made up",
            "iat": now, "exp": now + 600, "email": "somebody@souk.example", "email_verified": "true",
        })
    }

    /// The identity that the claims state, with another value of one of them.
    fn stated(name: &str, value: Value, now: OffsetDateTime) -> Option<IdToken> {
        let mut claims = claims();
        claims[name] = value;
        serde_json::from_value::<Claims>(claims).ok()?.identity(now)
    }

    #[test]
    fn an_id_token_counts_from_its_first_second_to_its_last_and_as_long_as_clocks_may_differ() {
        let issued = NOW.unix_timestamp();
        let counts = |name: &str, value: i64, now| stated(name, json!(value), now).is_some();
        let (first, end) = (NOW - LEEWAY, NOW + Duration::seconds(600) + LEEWAY);
        assert!(!counts("iat", issued, first - Duration::SECOND));
        assert!(counts("iat", issued, first));
        assert!(counts("iat", issued, end - Duration::SECOND));
        assert!(!counts("iat", issued, end));
        for (nbf, now, expected) in [(60, 29, false), (60, 30, true), (-60, 0, true), (-60, -31, false)] {
            assert_eq!(counts("nbf", issued + nbf, NOW + Duration::seconds(now)), expected, "{nbf} {now}");
        }
    }

    #[test]
    fn claims_of_another_type_state_no_identity() {
        assert_eq!(stated("sub", json!("somebody"), NOW).unwrap().subject, "somebody");
        for (name, value) in [
            ("iss", json!(["https://issuer.example"])),
            ("aud", json!(["souk"])),
            ("sub", json!("")),
            ("sub", json!(["somebody"])),
            ("sub", json!(7)),
            ("nonce", Value::Null),
            ("iat", Value::Null),
            ("iat", json!("0")),
            ("nbf", json!("0")),
            ("exp", Value::Null),
            ("exp", json!("9999999999")),
            ("email", json!("not an address")),
            ("email_verified", json!(1)),
        ] {
            assert_eq!(stated(name, value.clone(), NOW), None, "{name}: {value}");
        }
    }

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
