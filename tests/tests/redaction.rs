//! Redaction: neither logs nor spans hold passwords, tokens, codes, addresses, or the stores' credentials.
//!
//! At log level `TRACE`, below what the template allows, and with all traces sampled, a client uses everything that
//! handles secrets, and sends garbage with secrets in it. Then all log lines of that time are searched.

use std::collections::BTreeSet;

use serde_json::{Value, json};
use shared::ambient::Ambient;
use tests::{
    Call, Stage, aws,
    collector::Collector,
    declared::declared,
    deployed::Deployed,
    people::{self, PASSWORD},
    schema::Schemas,
};
use ureq::http::Method;

const NEW_PASSWORD: &str = "quite-another-battery-staple";

/// Log lines per request.
const MAX_LINES: usize = 10_000;

/// All functions but the lab's, which handle no secret.
fn functions() -> Vec<String> {
    declared().into_keys().filter(|name| !name.starts_with("lab-")).collect()
}

/// All functions, temporarily with other variables.
struct AllDeployed(Vec<Deployed>);

impl AllDeployed {
    fn with(variables: &[(&str, &str)]) -> Self {
        let all: Vec<Deployed> = functions().iter().map(|name| Deployed::of(name)).collect();
        for function in &all {
            function.put_with(variables);
        }
        Self(all)
    }
}

impl Drop for AllDeployed {
    fn drop(&mut self) {
        self.0.iter().for_each(Deployed::put);
    }
}

/// Texts that must not be found.
#[derive(Default)]
struct Secrets(BTreeSet<String>);

impl Secrets {
    fn add(&mut self, secret: &str) {
        assert!(secret.len() >= 6, "{secret} would be found by chance");
        self.0.insert(secret.to_owned());
    }

    /// A token, and its secret part alone.
    fn add_token(&mut self, token: &str) {
        self.add(token);
        self.add(token.rsplit('.').next().unwrap());
    }

    /// The first secret in a text, as a whole word.
    fn found_in(&self, text: &str) -> Option<&str> {
        let is_word = |at: usize, length: usize| {
            let is_inside =
                |character: Option<char>| character.is_some_and(|character| character.is_ascii_alphanumeric());
            !is_inside(text[..at].chars().next_back()) && !is_inside(text[at + length..].chars().next())
        };
        self.0
            .iter()
            .map(String::as_str)
            .find(|secret| text.match_indices(*secret).any(|(at, _)| is_word(at, secret.len())))
    }
}

/// Uses everything that handles secrets.
fn live(secrets: &mut Secrets) {
    let email = people::new_address();
    for secret in [email.as_str(), PASSWORD, NEW_PASSWORD] {
        secrets.add(secret);
    }
    let post = |path: &str, body: Value| Call::post(path).json(body).send();
    let _ = post("/v1/auth/register", json!({ "email": email, "password": PASSWORD })).expect(202);
    let verification = people::mailed_code(&email, "Your verification code");
    secrets.add(&verification);
    let _ = post("/v1/auth/verify-email", json!({ "code": verification })).expect(204);

    let session = people::begin_session(&email);
    let next = people::LoggedIn::of(&people::refresh(&session.refresh_token).expect(200));
    for token in [&session.access_token, &session.refresh_token, &next.access_token, &next.refresh_token] {
        secrets.add_token(token);
    }
    let _ = Call::get("/v1/users/me").token(&next.access_token).send().expect(200);
    let product = people::new_product(3);
    let order = json!({ "lines": [{ "productId": product, "quantity": 1 }] });
    let order =
        Call::post("/v1/orders").token(&next.access_token).key(&people::new_key()).json(order).send().expect(201);
    let _ = aws::wait_for_mail(&email, order.json()["id"].as_str().unwrap());

    let challenge = post("/v1/auth/otp", json!({ "email": email })).expect(202).json()["challengeId"].clone();
    let code = people::mailed_code(&email, "Your login code");
    secrets.add(&code);
    let _ = post("/v1/auth/login", json!({ "strategy": "otp", "challengeId": challenge, "code": code })).expect(200);

    let _ = post("/v1/auth/password/forgot", json!({ "email": email })).expect(202);
    let reset = people::mailed_code(&email, "Your reset code");
    secrets.add(&reset);
    let _ = post("/v1/auth/password/reset", json!({ "code": reset, "password": NEW_PASSWORD })).expect(204);
    let token = people::LoggedIn::of(&people::try_log_in(&email, NEW_PASSWORD).expect(200)).access_token;
    secrets.add_token(&token);
    let change = json!({ "currentPassword": NEW_PASSWORD, "newPassword": PASSWORD });
    let _ = Call::new(Method::PUT, "/v1/auth/password").token(&token).json(change).send().expect(204);
    let _ = aws::wait_for_mail(&email, "Your password was changed");
}

/// Sends invalid requests, with secrets in the wrong places.
fn send_garbage(secrets: &mut Secrets) {
    let secret = format!("secret-{}", people::random());
    secrets.add(&secret);
    let address = format!("{secret}@souk.example");
    // Of each strategy, whatever it takes.
    let schemas = Schemas::new(&Stage::get().openapi);
    let strategies = schemas.alternatives(schemas.body("POST", "/v1/auth/login").unwrap());
    let misplaced = strategies.into_iter().map(|strategy| {
        let mut body = schemas.sample(strategy);
        for (_, value) in body.as_object_mut().unwrap().iter_mut().filter(|(name, _)| *name != "strategy") {
            *value = json!(secret);
        }
        body.to_string()
    });
    for body in misplaced.chain([
        format!(r#"{{"strategy":"email","email":"{address}","password":"{secret}""#),
        format!(r#"{{"strategy":"email","email":"{address}","password":{{"$ne":"{secret}"}}}}"#),
        format!(r#"{{"strategy":"{secret}","email":"{address}"}}"#),
        format!(r#"{{"strategy":"email","email":"{secret}","password":"{secret}"}}"#),
        format!(r#"{{"strategy":"email","email":"{address}","password":"{secret}","{secret}":1}}"#),
        format!(r#"{{"strategy":"google","idToken":"{secret}.{secret}.{secret}","nonce":"{secret}"}}"#),
        secret.clone(),
    ]) {
        let status = Call::post("/v1/auth/login").body("application/json", body.clone()).send().status;
        assert!((400..500).contains(&status), "{status} {body}");
    }
    let _ = people::try_log_in(&address, &secret).expect(401);
    let _ = people::refresh(&secret).expect(401);
    let _ = Call::get("/v1/users/me").token(&secret).send().expect(403);
    let _ = Call::get(format!("/v1/products?cursor={secret}")).send();
    let _ = Call::get(format!("/v1/products/{secret}?token={secret}")).header("cookie", secret.clone()).send();
    let _ = Call::post("/v1/auth/verify-email").json(json!({ "code": secret })).send();
    let _ = Call::post("/v1/orders").token(people::customer()).key(&secret).json(json!({ "lines": secret })).send();
}

/// The credentials of the stores and the keys of tokens, as read by functions.
fn of_the_stage(secrets: &mut Secrets) {
    let list = aws::json_call("secretsmanager", "secretsmanager.ListSecrets", &json!({ "MaxResults": 100 }));
    let names: Vec<&Value> = list["SecretList"].as_array().unwrap().iter().map(|secret| &secret["Name"]).collect();
    assert!(names.len() >= 4, "{names:?}");
    for name in names {
        let value = aws::json_call("secretsmanager", "secretsmanager.GetSecretValue", &json!({ "SecretId": name }));
        let text = value["SecretString"].as_str().unwrap();
        let mut leaves = Vec::new();
        collect_leaves(&serde_json::from_str(text).unwrap_or_else(|_| json!(text)), &mut leaves);
        // Short values, like `souk`, are names.
        leaves.into_iter().filter(|leaf| leaf.len() >= 16).for_each(|leaf| secrets.add(&leaf));
    }
}

fn collect_leaves(value: &Value, leaves: &mut Vec<String>) {
    match value {
        Value::String(text) => leaves.push(text.clone()),
        Value::Array(items) => items.iter().for_each(|item| collect_leaves(item, leaves)),
        Value::Object(fields) => fields.values().for_each(|field| collect_leaves(field, leaves)),
        _ => {}
    }
}

/// Every log line of the functions since a time, in milliseconds since 1970.
fn log_lines(since: i128) -> Vec<String> {
    let mut lines = Vec::new();
    for function in functions() {
        let group = format!("/aws/lambda/{}", Stage::function(&function));
        let known = json!({ "logGroupNamePrefix": group });
        let known = aws::json_call("logs", "Logs_20140328.DescribeLogGroups", &known);
        // The function was not invoked.
        if known["logGroups"].as_array().is_none_or(|groups| groups.iter().all(|known| known["logGroupName"] != group))
        {
            continue;
        }
        let request = json!({ "logGroupName": group, "startTime": since, "limit": MAX_LINES });
        let found = aws::json_call("logs", "Logs_20140328.FilterLogEvents", &request);
        let events = found["events"].as_array().cloned().unwrap_or_default();
        assert!(events.len() < MAX_LINES, "the stage's AWS hands out no more");
        lines.extend(events.iter().map(|event| event["message"].as_str().unwrap_or_default().to_owned()));
    }
    lines
}

#[test]
fn logs_and_spans_hold_no_secret_however_much_is_logged() {
    let collector = Collector::start();
    let mut secrets = Secrets::default();
    let began = Ambient::system().now().unix_timestamp_nanos() / 1_000_000;
    {
        let _all = AllDeployed::with(&[
            ("POWERTOOLS_LOG_LEVEL", "TRACE"),
            ("SOUK_TRACES", "collector"),
            ("OTEL_EXPORTER_OTLP_TRACES_ENDPOINT", &collector.endpoint),
        ]);
        live(&mut secrets);
        send_garbage(&mut secrets);
        of_the_stage(&mut secrets);
        let _ = Call::get(format!("/v1/products/{}", people::new_key())).send().expect(404);
    }
    let lines = log_lines(began);
    let spans: Vec<String> = collector.spans().into_iter().map(|span| span.text).collect();
    println!("{} lines, {} spans, {} secrets", lines.len(), spans.len(), secrets.0.len());
    // The logs are detailed enough for a secret to be found.
    let detailed = lines.iter().filter(|line| line.contains(r#""level":"DEBUG""#)).count();
    for span in ["users.find_for_login", "sessions.rotate", "orders.place", "login_codes.redeem", "ses.send"] {
        assert!(lines.iter().any(|line| line.contains(&format!(r#""span":"{span}""#))), "no line of {span}");
        assert!(spans.iter().any(|text| text.contains(span)), "no span of {span}");
    }
    assert!(detailed > 50 && lines.len() > 200 && spans.len() > 50, "{detailed} of {} lines", lines.len());

    for text in lines.iter().chain(&spans) {
        assert_eq!(secrets.found_in(text), None, "{text}");
        // Traces of any address, token or hash.
        for trace_of in ["@souk.example", "eyJ", "$argon2", "Bearer "] {
            assert!(!text.contains(trace_of), "{trace_of}: {text}");
        }
    }
}

#[test]
fn a_planted_secret_is_found() {
    let mut secrets = Secrets::default();
    secrets.add("123456");
    secrets.add_token("head.payload.signature");
    assert_eq!(secrets.found_in(r#"{"cause":"no code 123456"}"#), Some("123456"));
    assert_eq!(secrets.found_in("it was signature, they say"), Some("signature"));
    assert_eq!(secrets.found_in("1234567 and a12345600"), None);
}
