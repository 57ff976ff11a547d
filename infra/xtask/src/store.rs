//! The address and the credentials of a store, apart from each other: the address goes to SSM, the credentials to
//! Secrets Manager, as in AWS.

use std::fmt::Write as _;

use anyhow::{Context, Result, bail};
use serde_json::{Value, json};

#[derive(Clone)]
pub struct Store {
    /// A URL without credentials.
    pub endpoint: String,
    pub username: String,
    pub password: String,
    /// The user's own server: used, never started or stopped.
    pub is_external: bool,
}

impl Store {
    /// The server named by `url`, or else the stage's own.
    pub fn choose(variable: &str, url: Option<&str>, own: String, username: &str, password: String) -> Result<Self> {
        match url {
            Some(url) => Self::parse(url).with_context(|| format!("{variable} is not usable")),
            None => Ok(Self { endpoint: own, username: username.to_owned(), password, is_external: false }),
        }
    }

    /// Takes the credentials out of a URL.
    fn parse(url: &str) -> Result<Self> {
        let (scheme, rest) = url.split_once("://").context("it has no `scheme://`")?;
        let authority_end = rest.find(['/', '?']).unwrap_or(rest.len());
        let (authority, path) = rest.split_at(authority_end);
        let (user, hosts) = authority.rsplit_once('@').unwrap_or(("", authority));
        if hosts.is_empty() {
            bail!("it names no host");
        }
        let (username, password) = user.split_once(':').unwrap_or((user, ""));
        Ok(Self {
            endpoint: format!("{scheme}://{hosts}{path}"),
            username: percent_decode(username)?,
            password: percent_decode(password)?,
            is_external: true,
        })
    }

    /// The secret as functions read it from Secrets Manager.
    pub fn secret(&self) -> Value {
        json!({"username": self.username, "password": self.password})
    }

    /// The address with the credentials in it.
    pub fn url(&self) -> String {
        let credentials = match (self.username.as_str(), self.password.as_str()) {
            ("", "") => String::new(),
            (username, password) => format!("{}:{}@", percent_encode(username), percent_encode(password)),
        };
        self.endpoint.replacen("://", &format!("://{credentials}"), 1)
    }

    /// For `stage.json`.
    pub fn describe(&self) -> Value {
        json!({"endpoint": self.endpoint, "username": self.username, "password": self.password})
    }
}

/// Encodes every byte but RFC 3986's unreserved characters.
fn percent_encode(text: &str) -> String {
    text.bytes().fold(String::new(), |mut encoded, byte| {
        if byte.is_ascii_alphanumeric() || b"-._~".contains(&byte) {
            encoded.push(byte.into());
        } else {
            let _ = write!(encoded, "%{byte:02X}");
        }
        encoded
    })
}

fn percent_decode(text: &str) -> Result<String> {
    let mut bytes = Vec::with_capacity(text.len());
    let mut rest = text.as_bytes();
    while let Some((&byte, after)) = rest.split_first() {
        if byte == b'%' {
            let digits = after.get(..2).and_then(|digits| std::str::from_utf8(digits).ok());
            let decoded = digits.and_then(|digits| u8::from_str_radix(digits, 16).ok());
            bytes.push(decoded.context("it has a `%` that is not followed by two hexadecimal digits")?);
            rest = &after[2..];
        } else {
            bytes.push(byte);
            rest = after;
        }
    }
    String::from_utf8(bytes).context("its credentials are not UTF-8")
}

#[cfg(test)]
mod tests {
    use super::Store;

    #[test]
    fn credentials_leave_the_address() {
        let store = Store::parse("mysql://me:p%40ss%2F@db.example:3306/shop?ssl-mode=required").unwrap();
        assert_eq!(store.endpoint, "mysql://db.example:3306/shop?ssl-mode=required");
        assert_eq!((store.username.as_str(), store.password.as_str()), ("me", "p@ss/"));
    }

    #[test]
    fn an_address_without_credentials_stays_as_it_is() {
        let store = Store::parse("mongodb://a:1,b:2/?replicaSet=x").unwrap();
        assert_eq!(store.endpoint, "mongodb://a:1,b:2/?replicaSet=x");
        assert_eq!((store.username.as_str(), store.password.as_str()), ("", ""));
    }

    #[test]
    fn credentials_return_into_the_address() {
        for url in ["rediss://me:p%40ss%2F%C3%A9@cache.example:6380/0?x=y", "redis://:secret@a/0", "redis://a:1/0"] {
            assert_eq!(Store::parse(url).unwrap().url(), url);
        }
    }

    #[test]
    fn text_that_is_no_url_is_refused() {
        assert!(Store::parse("localhost:3306").is_err());
        assert!(Store::parse("redis://user:pw@/0").is_err());
        assert!(Store::parse("redis://user:p%zz@host").is_err());
    }
}
