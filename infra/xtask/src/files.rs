//! Small files: private ones, hashes, random secrets, the end of a log, a zip.

use std::fmt::Write as _;
use std::fs;
use std::hash::{DefaultHasher, Hasher};
use std::io::{Read, Write};
use std::os::unix::fs::OpenOptionsExt;
use std::path::Path;
use std::process::Command;

use anyhow::{Context, Result, bail};

/// Atomically writes a file that only its owner can read: a crash leaves the old one.
pub fn write_private(path: &Path, content: &str) -> Result<()> {
    let cannot = || format!("cannot write {}", path.display());
    let new = path.with_extension("new");
    let mut file =
        fs::OpenOptions::new().write(true).create(true).truncate(true).mode(0o600).open(&new).with_context(cannot)?;
    file.write_all(content.as_bytes()).with_context(cannot)?;
    fs::rename(&new, path).with_context(cannot)
}

pub fn create_dir(path: &Path) -> Result<()> {
    fs::create_dir_all(path).with_context(|| format!("cannot create {}", path.display()))
}

/// Removes a directory and all in it, if it is there.
pub fn remove_dir(path: &Path) -> Result<()> {
    match fs::remove_dir_all(path) {
        Err(error) if error.kind() != std::io::ErrorKind::NotFound => {
            Err(error).with_context(|| format!("cannot remove {}", path.display()))
        }
        _ => Ok(()),
    }
}

/// A hash that tells one build from another. The standard library's is enough: collisions by intent do not occur, and a
/// Rust version with another hash only causes work to be repeated.
pub fn fingerprint(content: &[u8]) -> String {
    let mut hasher = DefaultHasher::new();
    hasher.write(content);
    format!("{:016x}", hasher.finish())
}

pub fn fingerprint_of_file(path: &Path) -> Result<String> {
    Ok(fingerprint(&fs::read(path).with_context(|| format!("cannot read {}", path.display()))?))
}

/// A password: 192 random bits in hexadecimal, so that it needs no escaping anywhere.
pub fn random_secret() -> Result<String> {
    Ok(hex(&random::<24>()?))
}

/// A key of 256 random bits, base64url without padding.
pub fn random_key() -> Result<String> {
    Ok(base64url(&random::<32>()?))
}

fn random<const LENGTH: usize>() -> Result<[u8; LENGTH]> {
    let mut bytes = [0; LENGTH];
    fs::File::open("/dev/urandom")?.read_exact(&mut bytes).context("cannot read /dev/urandom")?;
    Ok(bytes)
}

fn base64url(bytes: &[u8]) -> String {
    const ALPHABET: &[u8; 64] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_";
    let characters = bytes.chunks(3).flat_map(|group| {
        let bits = (0..3).fold(0, |bits, index| bits << 8 | usize::from(group.get(index).copied().unwrap_or_default()));
        [18, 12, 6, 0].into_iter().take(group.len() + 1).map(move |shift| char::from(ALPHABET[bits >> shift & 63]))
    });
    characters.collect()
}

fn hex(bytes: &[u8]) -> String {
    bytes.iter().fold(String::new(), |mut text, byte| {
        let _ = write!(text, "{byte:02x}");
        text
    })
}

/// The last lines of a log, indented, for an error message.
pub fn tail(path: &Path, lines: usize) -> String {
    let bytes = fs::read(path).unwrap_or_default();
    let text = String::from_utf8_lossy(&bytes);
    let all: Vec<&str> = text.lines().collect();
    let last = &all[all.len().saturating_sub(lines)..];
    last.iter().fold(String::new(), |text, line| text + "    | " + line + "\n")
}

/// Zips a file as SAM does, with this Python, in place of an earlier zip.
pub fn zip(mut python: Command, file: &Path, zip: &Path) -> Result<()> {
    fs::remove_file(zip).ok();
    let output = python.args(["-m", "zipfile", "-c"]).arg(zip).arg(file).output()?;
    if !output.status.success() {
        bail!("cannot zip {}: {}", file.display(), String::from_utf8_lossy(&output.stderr));
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::base64url;

    #[test]
    fn base64url_is_that_of_rfc_4648() {
        for (plain, encoded) in [("", ""), ("f", "Zg"), ("fo", "Zm8"), ("foo", "Zm9v"), ("foobar", "Zm9vYmFy")] {
            assert_eq!(base64url(plain.as_bytes()), encoded);
        }
        assert_eq!(base64url(&[0xfb, 0xff, 0xfe]), "-__-");
    }
}
