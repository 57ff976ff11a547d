//! `tools openapi`: writes the OpenAPI document, or compares it with the contract.

use std::{fs, path::Path};

use anyhow::{Context, Result, ensure};
use lexopt::{Arg, Parser};

pub fn run(arguments: &mut Parser) -> Result<()> {
    let file = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../openapi.json");
    let document = shared::api::document().to_pretty_json()? + "\n";
    match arguments.next()? {
        None => {
            fs::write(&file, document).context("cannot write openapi.json")?;
            println!("openapi.json is written");
        }
        Some(Arg::Long("check")) => {
            let written = fs::read_to_string(&file).context("cannot read openapi.json")?;
            ensure!(written == document, "openapi.json is not what the contract says: run `cargo xtask openapi`");
            println!("openapi.json is what the contract says");
        }
        Some(other) => return Err(other.unexpected().into()),
    }
    Ok(())
}
