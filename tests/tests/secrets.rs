//! The repository holds no secret: no key, no account number.
//!
//! Passwords of the local stage are generated when it starts; those of sample users open nothing else.

use std::{fs, process::Command};

use tests::template::repository;

/// Digests, which look like keys; public certificates; common passwords.
const NOT_LOOKED_AT: [&str; 3] = ["Cargo.lock", "infra/certificates/rds.pem", "shared/src/auth/common_passwords.txt"];
/// pip's prefix of a digest.
const DIGEST: &str = "--hash=sha256:";
/// The account numbers of the local AWS and of AWS's documentation.
const NOBODYS_ACCOUNTS: [&str; 2] = ["000000000000", "123456789012"];

/// The marks of a private key in PEM: on two lines, or this file would hold what it looks for.
const BEGINS: &str = "-----BEGIN";
const PRIVATE: &str = "PRIVATE KEY-----";

/// The kind of secret in a line, if there is one.
fn secret(line: &str) -> Option<&'static str> {
    if line.contains(BEGINS) && line.contains(PRIVATE) {
        return Some("a private key");
    }
    let words = line.split(|character: char| !character.is_ascii_alphanumeric());
    words.filter(|word| !word.is_empty()).find_map(|word| {
        let all = |is: fn(&u8) -> bool| word.bytes().all(|byte| is(&byte));
        let any = |is: fn(&u8) -> bool| word.bytes().any(|byte| is(&byte));
        if word.len() == 12 && all(u8::is_ascii_digit) && !NOBODYS_ACCOUNTS.contains(&word) {
            return Some("the number of an account");
        }
        let is_access_key = word.starts_with("AKIA") || word.starts_with("ASIA");
        if word.len() == 20 && is_access_key && !any(u8::is_ascii_lowercase) {
            return Some("an access key of AWS");
        }
        let is_mixed = any(u8::is_ascii_lowercase) && any(u8::is_ascii_uppercase) && any(u8::is_ascii_digit);
        (word.len() == 40 && is_mixed).then_some("what looks like a secret access key of AWS")
    })
}

#[test]
fn the_repository_holds_no_account_id_and_no_key() {
    let listed = Command::new("git").args(["ls-files", "-z"]).current_dir(repository()).output().unwrap();
    let files = String::from_utf8(listed.stdout).unwrap();
    let files: Vec<&str> = files.split_terminator('\0').filter(|file| !NOT_LOOKED_AT.contains(file)).collect();
    assert!(files.len() > 300, "{} files", files.len());
    let mut found = Vec::new();
    for file in files {
        // A file that is deleted but not yet committed.
        let Ok(content) = fs::read(repository().join(file)) else { continue };
        let text = String::from_utf8(content).unwrap_or_else(|_| panic!("{file} is no text: look at it yourself"));
        for (number, line) in (1..).zip(text.lines()) {
            if let Some(secret) = secret(line).filter(|_| !line.contains(DIGEST)) {
                found.push(format!("{file}:{number}: {secret}"));
            }
        }
    }
    assert!(found.is_empty(), "{found:#?}");
}

/// Assembled here, so that this file holds none.
#[test]
fn a_planted_secret_is_found() {
    for (planted, found) in [
        (format!("-----BEGIN RSA {} KEY-----", "PRIVATE"), "a private key"),
        (format!("arn:aws:iam::{}{}:role/x", "48271", "9301764"), "the number of an account"),
        (format!("aws_access_key_id = {}{}", "AKIA", "Z7Q2M4X8K1P9W3R5"), "an access key of AWS"),
        (format!("secret: {}", "aB3d".repeat(10)), "what looks like a secret access key of AWS"),
    ] {
        assert_eq!(secret(&planted), Some(found), "{planted}");
    }
    for harmless in
        ["arn:aws:iam::000000000000:role/x", "shared/src/lib.rs", "0123456789abcdef0123456789abcdef01234567"]
    {
        assert_eq!(secret(harmless), None, "{harmless}");
    }
}
