//! `tools mail`: previews of all mails.

use std::{fs, path::Path};

use anyhow::{Context, Result, bail};
use lexopt::{Arg, Parser, ValueExt};
use shared::mail::Content;

/// In place of a code.
const SAMPLE_CODE: &str = "123456";

pub fn run(arguments: &mut Parser) -> Result<()> {
    let name = match arguments.next()? {
        None => {
            list();
            return Ok(());
        }
        Some(Arg::Value(name)) => name.string()?,
        Some(other) => bail!(other.unexpected()),
    };
    let content = Content::samples().into_iter().find(|content| content.name() == name);
    let content = content.with_context(|| format!("there is no mail `{name}`; `cargo xtask mail` lists them"))?;
    let mail = content.mail(SAMPLE_CODE);
    let dir = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../target/mail");
    fs::create_dir_all(&dir)?;
    for (extension, body) in [("html", &mail.html), ("txt", &mail.text)] {
        fs::write(dir.join(&name).with_extension(extension), body)?;
        println!("target/mail/{name}.{extension}");
    }
    Ok(())
}

fn list() {
    for content in Content::samples() {
        println!("{:<18} {}", content.name(), content.mail(SAMPLE_CODE).subject);
    }
}
