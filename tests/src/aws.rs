//! The stage's AWS: direct invocations, sent mails, routes of the gateway.

use std::time::{Duration, Instant};

pub use runtime_api::http_event;
use serde_json::{Value, json};
use ureq::http::Request;

use crate::Stage;

/// Longer than the relay's schedule, which sends what the fast path missed.
const TIMEOUT: Duration = Duration::from_secs(90);

/// Invokes a function and returns its reply, or its error object.
///
/// # Panics
/// When the function does not answer.
#[must_use]
pub fn invoke(function: &str, event: &Value) -> Value {
    let path = format!("/2015-03-31/functions/{}/invocations", Stage::function(function));
    call("lambda", "POST", &path, Some(event))
}

/// The mails to an address with a phrase in their text or subject.
#[must_use]
pub fn mails(address: &str, phrase: &str) -> Vec<Value> {
    let inbox = call("ses", "GET", "/_ministack/ses/messages", None);
    let accounts = inbox["messages"].as_object().into_iter().flat_map(|accounts| accounts.values());
    let has = |mail: &Value, key: &str, text: &str| mail[key].to_string().contains(text);
    accounts
        .filter_map(Value::as_array)
        .flatten()
        .filter(|mail| has(mail, "To", address) && (has(mail, "BodyText", phrase) || has(mail, "Subject", phrase)))
        .cloned()
        .collect()
}

/// Waits for one such mail, and returns its text.
///
/// # Panics
/// When none comes.
#[must_use]
pub fn wait_for_mail(address: &str, phrase: &str) -> String {
    let start = Instant::now();
    loop {
        if let Some(mail) = mails(address, phrase).pop() {
            return mail["BodyText"].as_str().unwrap_or_default().to_owned();
        }
        assert!(start.elapsed() < TIMEOUT, "no mail to {address} with {phrase:?}");
        std::thread::sleep(Duration::from_millis(100));
    }
}

/// Calls a service with the REST protocol.
///
/// # Panics
/// When it fails.
#[must_use]
pub fn call(service: &str, method: &str, path: &str, body: Option<&Value>) -> Value {
    let body = body.map(ToString::to_string).unwrap_or_default();
    let text = send(service, method, path, &[("content-type", "application/json")], &body);
    serde_json::from_str(&text).unwrap_or(Value::Null)
}

/// Calls a service with the JSON protocol.
///
/// # Panics
/// When it fails.
#[must_use]
pub fn json_call(service: &str, target: &str, body: &Value) -> Value {
    let headers = [("content-type", "application/x-amz-json-1.1"), ("x-amz-target", target)];
    serde_json::from_str(&send(service, "POST", "/", &headers, &body.to_string())).unwrap_or(Value::Null)
}

/// The value of a secret.
///
/// # Panics
/// When there is no secret of this name, or it is not JSON.
#[must_use]
pub fn secret(name: &str) -> Value {
    let secret = json_call("secretsmanager", "secretsmanager.GetSecretValue", &json!({ "SecretId": name }));
    serde_json::from_str(secret["SecretString"].as_str().unwrap()).unwrap()
}

/// Creates a secret, or sets its value.
pub fn put_secret(name: &str, value: &Value) {
    let body = json!({ "Name": name, "SecretId": name, "SecretString": value.to_string() });
    let call =
        |operation: &str, body: &Value| json_call("secretsmanager", &format!("secretsmanager.{operation}"), body);
    let secrets = call("ListSecrets", &json!({ "Filters": [{ "Key": "name", "Values": [name] }] }));
    let is_there = secrets["SecretList"].as_array().is_some_and(|secrets| !secrets.is_empty());
    let _ = call(if is_there { "PutSecretValue" } else { "CreateSecret" }, &body);
}

/// Calls a service with the query protocol, whose replies are XML.
///
/// # Panics
/// When it fails.
#[must_use]
pub fn query_call(service: &str, parameters: &[(&str, &str)]) -> String {
    try_query_call(service, parameters).unwrap()
}

/// As [`query_call`].
///
/// # Errors
/// The reply, if it is an error.
///
/// # Panics
/// When there is no reply.
pub fn try_query_call(service: &str, parameters: &[(&str, &str)]) -> Result<String, String> {
    let headers = [("content-type", "application/x-www-form-urlencoded")];
    try_send(service, "POST", "/", &headers, serde_urlencoded::to_string(parameters).unwrap().as_bytes())
}

/// Uploads a file to a bucket.
///
/// # Panics
/// When it is refused.
pub fn upload(bucket: &str, key: &str, content: &[u8]) {
    let text = try_send("s3", "PUT", &format!("/{bucket}/{key}"), &[], content);
    text.unwrap_or_else(|text| panic!("{bucket}/{key}: {text}"));
}

fn send(service: &str, method: &str, path: &str, headers: &[(&str, &str)], body: &str) -> String {
    try_send(service, method, path, headers, body.as_bytes()).unwrap_or_else(|text| panic!("{method} {path}: {text}"))
}

/// MiniStack reads the access key and verifies no signature.
fn try_send(service: &str, method: &str, path: &str, headers: &[(&str, &str)], body: &[u8]) -> Result<String, String> {
    let stage = Stage::get();
    let scope = format!("{}/20260101/{}/{service}/aws4_request", stage.access_key_id, stage.region);
    let mut request = Request::builder()
        .method(method)
        .uri(format!("{}{path}", stage.aws_endpoint))
        .header("authorization", format!("AWS4-HMAC-SHA256 Credential={scope}, SignedHeaders=host, Signature=0"));
    for (name, value) in headers {
        request = request.header(*name, *value);
    }
    let mut response = stage.agent.run(request.body(body).unwrap()).unwrap();
    let text = response.body_mut().read_to_string().unwrap();
    if response.status().is_success() { Ok(text) } else { Err(text) }
}
