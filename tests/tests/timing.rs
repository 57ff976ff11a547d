//! User enumeration: no reply reveals whether an address has an account, neither by its content nor by its timing.
//!
//! These are the only tests that compare times; all others avoid it, since a busy machine fails such a test for no
//! reason. So they run a function's binary without gateway and emulator, alternate between known and unknown addresses,
//! compare medians, and take fresh samples where these differ: a real difference is there each time.
//!
//! A program of its own, since other tests would disturb it; and one test at a time.

use std::{
    net::Ipv4Addr,
    sync::atomic::{AtomicU32, Ordering},
    time::{Duration, Instant},
};

use serde_json::{Value, json};
use shared::{
    ambient::Ambient,
    auth::password,
    identity::{Role, Roles},
    store::{
        Mongodb,
        mongodb::users::{self, Inserted, NewUser},
    },
};
use tests::{
    Stage, aws,
    function::Function,
    people::{self, PASSWORD},
};
use tokio::sync::Mutex;

/// Samples of known and of unknown addresses each.
const SAMPLES: usize = 200;
/// Warm-up requests before them, which do not count.
const WARM_UP: usize = 20;
/// Attempts, before a difference of the medians counts.
const ROUNDS: usize = 3;
/// The tolerated difference, as a part of the larger median.
const TOLERANCE: f64 = 0.1;

static ALONE: Mutex<()> = Mutex::const_new(());

#[test]
fn logging_in_takes_the_same_time_for_every_address() {
    let body = |email: &str| json!({ "strategy": "email", "email": email, "password": "not-the-password" });
    compare("auth-login", "POST /v1/auth/login", 401, body);
}

#[test]
fn registering_takes_the_same_time_for_every_address() {
    let body = |email: &str| json!({ "email": email, "password": PASSWORD });
    compare("auth-register", "POST /v1/auth/register", 202, body);
}

#[test]
fn having_forgotten_the_password_takes_the_same_time_for_every_address() {
    compare("auth-password-forgot", "POST /v1/auth/password/forgot", 202, |email| json!({ "email": email }));
}

#[test]
fn asking_for_a_login_code_takes_the_same_time_for_every_address() {
    compare("auth-otp", "POST /v1/auth/otp", 202, |email| json!({ "email": email }));
}

/// A reply and its time, as an attacker sees them.
struct Answer {
    reply: Value,
    took: Duration,
}

/// Calls an endpoint for known and unknown addresses: the replies and their times are the same.
fn compare(name: &str, route_key: &str, status: u16, body: impl Fn(&str) -> Value) {
    let _alone = ALONE.blocking_lock();
    let function = Function::start(name, &[("SOUK_EMAIL_QUEUE_URL", queue_without_consumer())]);
    let ask = |email: &str| {
        let (body, address) = (body(email), new_network_address());
        let start = Instant::now();
        let reply = function.http(route_key, &body, &address);
        let took = start.elapsed();
        assert_eq!(reply["statusCode"], status, "{route_key}: {reply}");
        Answer { reply: visible(&reply), took }
    };
    for round in 1..=ROUNDS {
        let [known, unknown] = medians(&ask);
        let difference = known.abs_diff(unknown).div_duration_f64(known.max(unknown));
        println!(
            "{route_key}: known {known:?}, unknown {unknown:?}, {:.1} % apart (round {round})",
            difference * 100.0
        );
        if difference <= TOLERANCE {
            return;
        }
    }
    panic!("{route_key} takes another time for an address that has an account");
}

/// The median times for known and unknown addresses. Each address is used once.
fn medians(ask: &impl Fn(&str) -> Answer) -> [Duration; 2] {
    let mut times = [Vec::with_capacity(SAMPLES), Vec::with_capacity(SAMPLES)];
    for (index, known) in new_users(WARM_UP + SAMPLES).iter().enumerate() {
        let unknown = people::new_address();
        // The second request may profit from what the first one warmed.
        let (known, unknown) = if index % 2 == 0 {
            let known = ask(known);
            (known, ask(&unknown))
        } else {
            let unknown = ask(&unknown);
            (ask(known), unknown)
        };
        assert_eq!(known.reply, unknown.reply);
        if index >= WARM_UP {
            times[0].push(known.took);
            times[1].push(unknown.took);
        }
    }
    times.map(|mut times| {
        times.sort_unstable();
        times[SAMPLES / 2]
    })
}

/// Status, body, and the names of the headers. A challenge's id differs for each request.
fn visible(reply: &Value) -> Value {
    let mut body: Value = serde_json::from_str(reply["body"].as_str().unwrap()).unwrap();
    if let Some(challenge) = body.get_mut("challengeId") {
        *challenge = Value::Null;
    }
    let headers: Vec<&String> = reply["headers"].as_object().unwrap().keys().collect();
    json!({ "status": reply["statusCode"], "body": body, "headers": headers })
}

/// Adds users straight to the store, and returns their addresses. One hash serves them all, since hashing is slow on
/// purpose.
fn new_users(count: usize) -> Vec<String> {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    runtime.block_on(async {
        let (mongodb, ambient): (Mongodb, _) = (Stage::get().resource(), Ambient::system());
        let password_hash = password::hash(&PASSWORD.into(), &ambient).await.unwrap();
        let mut emails = Vec::with_capacity(count);
        for _ in 0..count {
            let email = people::new_address();
            let user = NewUser {
                id: ambient.id(),
                email: email.parse().unwrap(),
                email_verified: true,
                password_hash: Some(password_hash.clone()),
                identity_key: None,
                roles: Roles(vec![Role::Customer]),
                now: ambient.now(),
            };
            assert_eq!(users::insert(&mongodb, &user, None).await.unwrap(), Inserted::Yes);
            emails.push(email);
        }
        emails
    })
}

/// The address of a mail queue without a consumer, which would slow down the next request for known users.
fn queue_without_consumer() -> String {
    let reply = aws::json_call("sqs", "AmazonSQS.CreateQueue", &json!({ "QueueName": "souk-local-timing" }));
    reply["QueueUrl"].as_str().unwrap_or_else(|| panic!("{reply}")).to_owned()
}

/// Another address each time, so that no request meets the rate limit of its address.
fn new_network_address() -> String {
    static COUNT: AtomicU32 = AtomicU32::new(0);
    let host = COUNT.fetch_add(1, Ordering::Relaxed);
    Ipv4Addr::from_bits(Ipv4Addr::new(10, 0, 0, 0).to_bits() + host).to_string()
}
