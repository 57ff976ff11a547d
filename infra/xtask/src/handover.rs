//! Addresses and secrets of the stores: handed to the app stack as `infra/stores.yaml` does in AWS, and to programs of this
//! repository as environment variables.

use anyhow::Result;
use serde_json::{Value, json};

use crate::aws::Aws;
use crate::stage::{
    GOOGLE_CLIENT_ID, MAC_KEY, MYSQL_ADMIN, QUEUES, SENDER, SENDER_ADDRESS, STAGE, Stage, TOKEN_SIGNING_KEY,
    parameter_name, queue_url, secret_name, topic_arn,
};
use crate::token_keys::TokenKeys;

/// Secrets: the name, the environment variable that says which one it is, and the value.
fn secrets(stage: &Stage) -> [(&'static str, &'static str, Value); 5] {
    [
        ("mysql", "SOUK_MYSQL_SECRET", stage.mysql.secret()),
        (MYSQL_ADMIN, "SOUK_MYSQL_ADMIN_SECRET", stage.mysql_admin.secret()),
        ("mongodb", "SOUK_MONGODB_SECRET", stage.mongodb.secret()),
        ("redis", "SOUK_REDIS_SECRET", stage.redis.secret()),
        (MAC_KEY, "SOUK_MAC_SECRET", json!({"key": stage.mac_key})),
    ]
}

/// SSM parameters: the name, the environment variable that holds the value, if a function reads it, and the value.
fn parameters(stage: &Stage) -> [(&'static str, Option<&'static str>, String); 12] {
    [
        ("mysql/endpoint", Some("SOUK_MYSQL_ENDPOINT"), stage.mysql.endpoint.clone()),
        ("mongodb/endpoint", Some("SOUK_MONGODB_ENDPOINT"), stage.mongodb.endpoint.clone()),
        ("redis/endpoint", Some("SOUK_REDIS_ENDPOINT"), stage.redis.endpoint.clone()),
        ("email/sender", Some("SOUK_EMAIL_SENDER"), SENDER.to_owned()),
        ("email/address", None, SENDER_ADDRESS.to_owned()),
        ("google/issuer", Some("SOUK_GOOGLE_ISSUER"), stage.openid_issuer()),
        ("google/jwks-url", Some("SOUK_GOOGLE_JWKS_URL"), stage.openid_jwks_url()),
        ("google/client-id", Some("SOUK_GOOGLE_CLIENT_ID"), GOOGLE_CLIENT_ID.to_owned()),
        // The stage has no network; CloudFormation resolves these all the same.
        ("network/subnet-1", None, "none".to_owned()),
        ("network/subnet-2", None, "none".to_owned()),
        ("network/subnet-3", None, "none".to_owned()),
        ("network/security-group", None, "none".to_owned()),
    ]
}

/// Writes all of them to the stage's AWS; returns those that CloudFormation resolves while it deploys the template.
pub fn write(stage: &Stage, aws: &Aws) -> Result<Vec<(String, String)>> {
    for (name, _, value) in secrets(stage) {
        aws.put_secret(&secret_name(name), &value)?;
    }
    let (revocation, url) = (secret_name("redis-revocation"), stage.revocation.url());
    aws.put_secret(&revocation, &json!({"url": url}))?;
    aws.verify_sender(SENDER_ADDRESS)?;
    // The authorizer starts with this one; the other secrets are read when they are needed.
    let mut resolved = vec![(revocation, url)];
    for (name, _, value) in parameters(stage) {
        let name = parameter_name(name);
        aws.put_parameter(&name, &value)?;
        resolved.push((name, value));
    }
    Ok(resolved)
}

/// Environment variables with which a program of this repository opens every resource, as a function would.
pub fn function_environment(stage: &Stage) -> Vec<(String, String)> {
    let mut variables = stage.aws_environment().to_vec();
    variables.extend(secrets(stage).map(|(name, variable, _)| (variable, secret_name(name))));
    variables.extend(parameters(stage).into_iter().filter_map(|(_, variable, value)| Some((variable?, value))));
    variables.extend([
        ("SOUK_STAGE", STAGE.to_owned()),
        ("SOUK_TOKEN_SIGNING_SECRET", secret_name(TOKEN_SIGNING_KEY)),
        ("SOUK_ADDRESS_LIMIT_FACTOR", "1".to_owned()),
        ("SOUK_REFRESH_GRACE_SECONDS", "10".to_owned()),
        ("SOUK_REVOCATION_REDIS_URL", stage.revocation.url()),
    ]);
    // Not there before the first `up`.
    variables.extend(TokenKeys::read(stage).ok().map(|keys| ("SOUK_TOKEN_PUBLIC_KEYS", keys.key_set())));
    variables.push(("SOUK_EVENTS_TOPIC_ARN", topic_arn("events")));
    let mut environment: Vec<_> = variables.into_iter().map(|(name, value)| (name.to_owned(), value)).collect();
    for queue in QUEUES {
        let (variable, url) = (queue.to_uppercase(), queue_url(stage, queue));
        environment.push((format!("SOUK_{variable}_DEAD_LETTER_QUEUE_URL"), format!("{url}-dlq")));
        environment.push((format!("SOUK_{variable}_QUEUE_URL"), url));
    }
    environment
}
