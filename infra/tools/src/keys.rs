//! `tools keys new`: a signing key for access tokens.

use anyhow::{Result, bail};
use lexopt::{Arg, Parser};
use serde_json::json;
use shared::auth::keys::{KeySet, generate};

pub fn run(arguments: &mut Parser) -> Result<()> {
    match arguments.next()? {
        Some(Arg::Value(word)) if word == "new" => {
            let (signing_key, public) = generate();
            println!("{}", json!({ "signingKey": signing_key, "publicKeys": KeySet { keys: vec![public] } }));
            Ok(())
        }
        _ => bail!("the one thing that can be done with keys is `keys new`"),
    }
}
