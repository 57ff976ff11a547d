//! Verification of JWTs (RFC 7519, RFC 8725): shared by access tokens and ID tokens.
//!
//! `jsonwebtoken` verifies the signature, with ring as its crypto provider: `EdDSA` for our own tokens, RS256 for those
//! of other issuers; every other algorithm is refused. It compares issuer and audience too. Header and times are
//! checked here: the library ignores `crit`, and its clock is the system's, which no test can set.

use base64::{Engine, engine::general_purpose::URL_SAFE_NO_PAD as BASE64URL};
use jsonwebtoken::{
    Algorithm, DecodingKey, DecodingKeyKind, EncodingKey, Validation,
    crypto::{CryptoProvider, JwtSigner, JwtVerifier, KeyUtils},
    errors::{Error as JwtError, ErrorKind},
    signature::{Error as SignatureError, Signer, Verifier},
};
use ring::signature::{ED25519, Ed25519KeyPair, RSA_PKCS1_2048_8192_SHA256, RsaPublicKeyComponents, UnparsedPublicKey};
use serde::Deserialize;
use time::{Duration, OffsetDateTime};

/// The header of a token (RFC 7515, 4.1). It is exact: a token with any other member is refused, so that no `crit` goes
/// unread and no token brings its own key.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub struct JwtHeader {
    pub typ: Option<String>,
    pub alg: Algorithm,
    pub kid: String,
}

impl JwtHeader {
    /// The header of a token, before its signature is verified. `None` where it is not exact.
    #[must_use]
    pub fn of(token: &str) -> Option<Self> {
        let (header, _) = token.split_once('.')?;
        serde_json::from_slice(&BASE64URL.decode(header).ok()?).ok()
    }
}

/// The library's checks: algorithm, issuer, audience. Presence and type of each claim are checked by the type that the
/// claims are decoded to.
#[must_use]
pub fn validation(algorithm: Algorithm, issuers: &[&str], audience: &str) -> Validation {
    let mut validation = Validation::new(algorithm);
    validation.validate_exp = false;
    validation.validate_nbf = false;
    validation.set_audience(&[audience]);
    validation.set_issuer(issuers);
    validation
}

/// Whether a token is valid at `now`: from `nbf` until `exp` (RFC 7519, 4.1.4 and 4.1.5), both in seconds since 1970.
/// `leeway` is the tolerated clock skew.
#[must_use]
pub fn is_valid_at(now: OffsetDateTime, nbf: i64, exp: i64, leeway: Duration) -> bool {
    nbf <= (now + leeway).unix_timestamp() && (now - leeway).unix_timestamp() < exp
}

/// Installs the provider. Idempotent.
pub fn install_crypto() {
    static PROVIDER: CryptoProvider = CryptoProvider {
        signer_factory: |algorithm, key| match algorithm {
            Algorithm::EdDSA => Ok(Box::new(Ed25519Signer::new(key)?)),
            _ => Err(ErrorKind::InvalidAlgorithm.into()),
        },
        verifier_factory: |algorithm, key| match algorithm {
            Algorithm::EdDSA => Ok(Box::new(Ed25519Verifier(key.try_get_as_bytes()?.to_vec()))),
            Algorithm::RS256 => Ok(Box::new(Rs256Verifier::new(key)?)),
            _ => Err(ErrorKind::InvalidAlgorithm.into()),
        },
        key_utils: KeyUtils::new_unimplemented(),
    };
    // An error means that it is installed already.
    let _ = PROVIDER.install_default();
}

struct Ed25519Signer(Ed25519KeyPair);

impl Ed25519Signer {
    fn new(key: &EncodingKey) -> Result<Self, JwtError> {
        Ed25519KeyPair::from_pkcs8(key.as_bytes()).map(Self).map_err(|_| ErrorKind::InvalidEddsaKey.into())
    }
}

impl Signer<Vec<u8>> for Ed25519Signer {
    fn try_sign(&self, message: &[u8]) -> Result<Vec<u8>, SignatureError> {
        Ok(self.0.sign(message).as_ref().to_vec())
    }
}

impl JwtSigner for Ed25519Signer {
    fn algorithm(&self) -> Algorithm {
        Algorithm::EdDSA
    }
}

struct Ed25519Verifier(Vec<u8>);

impl Verifier<Vec<u8>> for Ed25519Verifier {
    fn verify(&self, message: &[u8], signature: &Vec<u8>) -> Result<(), SignatureError> {
        UnparsedPublicKey::new(&ED25519, &self.0).verify(message, signature).map_err(|_| SignatureError::new())
    }
}

impl JwtVerifier for Ed25519Verifier {
    fn algorithm(&self) -> Algorithm {
        Algorithm::EdDSA
    }
}

struct Rs256Verifier(RsaPublicKeyComponents<Vec<u8>>);

impl Rs256Verifier {
    fn new(key: &DecodingKey) -> Result<Self, JwtError> {
        match key.kind() {
            DecodingKeyKind::RsaModulusExponent { n, e } => {
                Ok(Self(RsaPublicKeyComponents { n: n.clone(), e: e.clone() }))
            }
            DecodingKeyKind::SecretOrDer(_) => Err(ErrorKind::InvalidKeyFormat.into()),
        }
    }
}

impl Verifier<Vec<u8>> for Rs256Verifier {
    fn verify(&self, message: &[u8], signature: &Vec<u8>) -> Result<(), SignatureError> {
        self.0.verify(&RSA_PKCS1_2048_8192_SHA256, message, signature).map_err(|_| SignatureError::new())
    }
}

impl JwtVerifier for Rs256Verifier {
    fn algorithm(&self) -> Algorithm {
        Algorithm::RS256
    }
}
