//! What `infra/stores.yaml` hands to the app stack in AWS, written for the stage: addresses and secrets.

use anyhow::Result;
use serde_json::json;

use crate::aws::Aws;
use crate::stage::{
    GOOGLE_CLIENT_ID, MAC_KEY, MYSQL_ADMIN, SENDER, SENDER_ADDRESS, Stage, parameter_name, secret_name,
};

/// Writes all of it; returns what the template reads of it while it is deployed.
pub fn write(stage: &Stage, aws: &Aws) -> Result<Vec<(String, String)>> {
    let stores = [
        ("mysql", &stage.mysql),
        (MYSQL_ADMIN, &stage.mysql_admin),
        ("mongodb", &stage.mongodb),
        ("redis", &stage.redis),
    ];
    for (name, store) in stores {
        aws.put_secret(&secret_name(name), &store.secret())?;
    }
    aws.put_secret(&secret_name(MAC_KEY), &json!({"key": stage.mac_key}))?;
    let (revocation, url) = (secret_name("redis-revocation"), stage.revocation.url());
    aws.put_secret(&revocation, &json!({"url": url}))?;
    aws.verify_sender(SENDER_ADDRESS)?;
    let parameters = [
        ("mysql/endpoint", stage.mysql.endpoint.clone()),
        ("mongodb/endpoint", stage.mongodb.endpoint.clone()),
        ("redis/endpoint", stage.redis.endpoint.clone()),
        ("email/sender", SENDER.to_owned()),
        ("email/address", SENDER_ADDRESS.to_owned()),
        ("google/issuer", stage.openid_issuer()),
        ("google/jwks-url", stage.openid_jwks_url()),
        ("google/client-id", GOOGLE_CLIENT_ID.to_owned()),
        // The stage has no network. CloudFormation looks these up all the same.
        ("network/subnet-1", "none".to_owned()),
        ("network/subnet-2", "none".to_owned()),
        ("network/subnet-3", "none".to_owned()),
        ("network/security-group", "none".to_owned()),
    ];
    // The authorizer starts with this one; the other secrets are read when they are needed.
    let mut read = vec![(revocation, url)];
    for (name, value) in parameters {
        let name = parameter_name(name);
        aws.put_parameter(&name, &value)?;
        read.push((name, value));
    }
    Ok(read)
}
