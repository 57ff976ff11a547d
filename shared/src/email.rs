//! E-mail addresses.

use std::{fmt, str::FromStr};

use serde::{Deserialize, Serialize, de::Error as _};
use utoipa::ToSchema;

/// The longest address that can be delivered to (RFC 5321, 4.5.3.1).
const MAX_LENGTH: usize = 254;

/// An e-mail address, in its owner's spelling. `Debug` redacts it: logs hold no addresses.
#[derive(Clone, PartialEq, Eq, Serialize, ToSchema)]
#[serde(transparent)]
#[schema(value_type = String, format = "email", max_length = 254)]
pub struct EmailAddress(String);

impl EmailAddress {
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// The normalised address, the same for all its spellings: the key of the unique index.
    #[must_use]
    pub fn key(&self) -> String {
        self.0.to_lowercase()
    }
}

impl FromStr for EmailAddress {
    type Err = InvalidEmail;

    fn from_str(text: &str) -> Result<Self, InvalidEmail> {
        let options =
            email_address::Options::default().without_display_text().without_domain_literal().with_required_tld();
        let readable = text.len() <= MAX_LENGTH && text.chars().all(|c| !c.is_control());
        if readable && email_address::EmailAddress::parse_with_options(text, options).is_ok() {
            Ok(Self(text.to_owned()))
        } else {
            Err(InvalidEmail)
        }
    }
}

impl<'de> Deserialize<'de> for EmailAddress {
    fn deserialize<D: serde::Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        String::deserialize(deserializer)?.parse().map_err(D::Error::custom)
    }
}

impl fmt::Debug for EmailAddress {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("EmailAddress(…)")
    }
}

/// The text is not an e-mail address.
#[derive(Debug, thiserror::Error)]
#[error("is not an e-mail address")]
pub struct InvalidEmail;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn addresses_are_told_from_other_text() {
        for good in ["a@example.com", "A.b+c@sub.example.org", "ünï@example.com"] {
            assert!(good.parse::<EmailAddress>().is_ok(), "{good}");
        }
        let long = format!("{}@example.com", "a".repeat(250));
        for bad in [
            "",
            "a",
            "a@",
            "@b.com",
            "a@b",
            "a b@example.com",
            "a@example.com\r\nBcc: b@example.com",
            "A <a@example.com>",
            &long,
        ] {
            assert!(bad.parse::<EmailAddress>().is_err(), "{bad}");
        }
    }

    #[test]
    fn the_key_ignores_case_and_debug_hides_the_address() {
        let address: EmailAddress = "Ann@Example.COM".parse().unwrap();
        assert_eq!(address.key(), "ann@example.com");
        assert_eq!(address.as_str(), "Ann@Example.COM");
        assert!(!format!("{address:?}").contains("Ann"));
    }
}
