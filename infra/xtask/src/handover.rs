//! What `infra/stores.yaml` hands to the app stack in AWS, written for the stage: addresses, secrets, signing keys.

use std::fs;

use anyhow::{Context, Result, bail};
use serde_json::Value;

use crate::aws::Aws;
use crate::files;
use crate::stage::{STAGE, Stage};

const SENDER: &str = "Souk <no-reply@souk.example>";
const SENDER_ADDRESS: &str = "no-reply@souk.example";

/// Writes all of it; returns the parameters, which the template reads when it is deployed.
pub fn write(stage: &Stage, aws: &Aws) -> Result<Vec<(String, String)>> {
    let keys = signing_keys(stage)?;
    for (name, store) in [("mysql", &stage.mysql), ("mongodb", &stage.mongodb), ("redis", &stage.redis)] {
        aws.put_secret(&format!("souk/{STAGE}/{name}"), &store.secret())?;
    }
    aws.put_secret(&format!("souk/{STAGE}/token-signing-key"), &keys["signingKey"])?;
    aws.verify_sender(SENDER_ADDRESS)?;
    let parameters = [
        ("mysql/endpoint", stage.mysql.endpoint.clone()),
        ("mongodb/endpoint", stage.mongodb.endpoint.clone()),
        ("redis/endpoint", stage.redis.endpoint.clone()),
        ("email/sender", SENDER.to_owned()),
        ("email/identity", SENDER_ADDRESS.to_owned()),
        ("token/public-keys", keys["publicKeys"].to_string()),
    ];
    let mut written = Vec::new();
    for (name, value) in parameters {
        let name = format!("/souk/{STAGE}/{name}");
        aws.put_parameter(&name, &value)?;
        written.push((name, value));
    }
    Ok(written)
}

/// Made once per stage: with new keys every session would end.
fn signing_keys(stage: &Stage) -> Result<Value> {
    let path = stage.dir.join("token-keys.json");
    if !path.exists() {
        let output = stage.command(stage.workspace.binary("tools")).args(["keys", "new"]).output()?;
        if !output.status.success() {
            bail!("`tools keys new` failed: {}", String::from_utf8_lossy(&output.stderr));
        }
        files::write_private(&path, &String::from_utf8(output.stdout)?)?;
    }
    let keys: Value = serde_json::from_str(&fs::read_to_string(&path)?)
        .with_context(|| format!("{} is damaged: remove it and run `up` again", path.display()))?;
    if keys["signingKey"].is_null() || keys["publicKeys"].is_null() {
        bail!("`tools keys new` printed no keys");
    }
    Ok(keys)
}
