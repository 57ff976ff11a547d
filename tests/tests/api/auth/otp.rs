//! `POST /v1/auth/otp`, and login with the code from the mail.

use std::{
    sync::Arc,
    time::{Duration, Instant},
};

use serde_json::{Value, json};
use shared::{
    ambient::Ambient,
    mac::MacKey,
    store::{Redis, redis::login_codes},
};
use tests::{
    Call, Reply, Stage, aws,
    people::{self, LoggedIn, PASSWORD},
};
use tokio::task::JoinSet;
use uuid::Uuid;

/// The text before the code in its mail.
const PHRASE: &str = "Your login code";
const TIMEOUT: Duration = Duration::from_mins(1);

fn ask(email: &str) -> Reply {
    Call::post("/v1/auth/otp").json(json!({ "email": email })).send()
}

fn log_in(challenge: &str, code: &str) -> Reply {
    log_in_with(&json!({ "strategy": "otp", "challengeId": challenge, "code": code }))
}

fn log_in_with(credentials: &Value) -> Reply {
    Call::post("/v1/auth/login").json(credentials).send()
}

/// Requests a code, and returns the challenge.
fn open_challenge(email: &str) -> String {
    ask(email).expect(202).json()["challengeId"].as_str().unwrap().to_owned()
}

/// Requests a code, and returns the challenge and the code from the mail.
fn request_code(email: &str) -> (String, String) {
    let mails = || aws::mails(email, PHRASE).len();
    let (before, start) = (mails(), Instant::now());
    let challenge = open_challenge(email);
    while mails() == before {
        assert!(start.elapsed() < TIMEOUT, "no mail to {email}");
        std::thread::sleep(Duration::from_millis(100));
    }
    (challenge, people::mailed_code(email, PHRASE))
}

/// One of the wrong codes.
fn wrong(code: &str, number: u32) -> String {
    format!("{:06}", (code.parse::<u32>().unwrap() + 1 + number) % 1_000_000)
}

/// Expects an exceeded rate limit, whose reply names the limit and its end.
fn expect_limit(reply: Reply, policy: &str) {
    let header = |name: &str| reply.header(name).unwrap_or_else(|| panic!("no {name}: {reply:?}"));
    let seconds = header("retry-after");
    assert!(seconds.parse::<u64>().unwrap() > 0, "{reply:?}");
    assert_eq!(header("ratelimit-policy"), policy);
    assert_eq!(header("ratelimit"), format!("\"account\";r=0;t={seconds}"));
    let _ = reply.expect_problem(429, "too-many-requests");
}

#[test]
fn a_code_from_the_mail_logs_in_once() {
    let email = people::register();
    let (challenge, code) = request_code(&email);
    assert!(code.len() == 6 && code.bytes().all(|byte| byte.is_ascii_digit()), "{code}");

    let logged_in = LoggedIn::of(&log_in(&challenge, &code).expect(200));
    let profile = Call::get("/v1/users/me").token(&logged_in.access_token).send().expect(200).json();
    assert_eq!(profile["email"], email);
    let _ = people::refresh(&logged_in.refresh_token).expect(200);
    let _ = log_in(&challenge, &code).expect_problem(401, "invalid-credentials");
}

#[test]
fn an_unknown_address_gets_the_same_answer_no_mail_and_no_code() {
    let (unknown, known) = (people::new_address(), people::register());
    let mut answers = [&unknown, &known].map(|email| ask(email).expect(202).json());
    let challenges = answers.each_mut().map(|answer| answer["challengeId"].take());
    assert_eq!(answers[0], answers[1]);
    assert_eq!(answers[0]["expiresIn"], 300);

    // This one was requested later, so the first message is processed.
    let _ = people::mailed_code(&known, PHRASE);
    assert!(aws::mails(&unknown, "").is_empty());
    for code in ["000000", "123456", "999999"] {
        let _ = log_in(challenges[0].as_str().unwrap(), code).expect_problem(401, "invalid-credentials");
    }
}

#[test]
fn a_challenge_that_nobody_opened_is_a_wrong_code() {
    let _ = log_in(&people::new_key(), "123456").expect_problem(401, "invalid-credentials");
}

#[test]
fn what_is_not_six_digits_is_refused_and_no_guess() {
    let email = people::register();
    let (challenge, code) = request_code(&email);
    for typed in ["", "12345", "1234567", "12345x", "-12345", " 12345", "123 45", "１２３４５６", "１２"] {
        let problem = log_in(&challenge, typed).expect_problem(422, "validation-failed");
        assert_eq!(problem["errors"][0]["field"], "code", "{typed}");
    }
    for (field, credentials) in [
        ("code", json!({ "strategy": "otp", "challengeId": challenge, "code": 123_456 })),
        ("code", json!({ "strategy": "otp", "challengeId": challenge, "code": null })),
        ("challengeId", json!({ "strategy": "otp", "challengeId": "*", "code": code })),
        ("challengeId", json!({ "strategy": "otp", "challengeId": { "$ne": null }, "code": code })),
    ] {
        let problem = log_in_with(&credentials).expect_problem(422, "validation-failed");
        assert_eq!(problem["errors"][0]["field"], field, "{credentials}");
    }
    let unknown_member = json!({ "strategy": "otp", "challengeId": challenge, "code": code, "email": email });
    let _ = log_in_with(&unknown_member).expect_problem(422, "validation-failed");
    let _ = log_in(&challenge, &code).expect(200);
}

#[test]
fn each_code_belongs_to_its_own_challenge() {
    let email = people::register();
    let [(first, first_code), (second, second_code)] = [(), ()].map(|()| request_code(&email));
    assert_ne!(first, second);
    let _ = log_in(&first, &second_code).expect_problem(401, "invalid-credentials");
    let _ = log_in(&second, &first_code).expect_problem(401, "invalid-credentials");
    // Another request does not void the first code.
    let _ = log_in(&first, &first_code).expect(200);
    let _ = log_in(&second, &second_code).expect(200);
}

#[test]
fn guesses_in_parallel_kill_a_code_but_not_the_account() {
    let email = people::register();
    let (challenge, code) = request_code(&email);
    std::thread::scope(|scope| {
        let guess = |number| log_in(&challenge, &wrong(&code, number)).status;
        let calls: Vec<_> = (0..40).map(|number| scope.spawn(move || guess(number))).collect();
        assert!(calls.into_iter().all(|call| call.join().unwrap() == 401));
    });
    let _ = log_in(&challenge, &code).expect_problem(401, "invalid-credentials");

    let (challenge, code) = request_code(&email);
    let _ = log_in(&challenge, &code).expect(200);
}

#[test]
fn guesses_are_counted_over_all_codes_of_an_account() {
    let email = people::register();
    people::wait_for_room(Duration::from_hours(1));
    let codes = [(); 3].map(|()| request_code(&email));
    for (challenge, code) in &codes[..2] {
        for number in 0..5 {
            let _ = log_in(challenge, &wrong(code, number)).expect_problem(401, "invalid-credentials");
        }
    }
    // The eleventh attempt in the hour is limited, even with the right code.
    let (challenge, code) = &codes[2];
    expect_limit(log_in(challenge, code), "\"account\";q=10;w=3600");
    // The account can still log in another way, and other accounts are not limited.
    let _ = people::try_log_in(&email, PASSWORD).expect(200);
    let (challenge, code) = request_code(&people::register());
    let _ = log_in(&challenge, &code).expect(200);
}

#[test]
fn a_sixth_code_in_a_quarter_of_an_hour_is_refused_for_every_address() {
    people::wait_for_room(Duration::from_mins(15));
    for email in [people::new_address(), people::register()] {
        for _ in 0..5 {
            let _ = ask(&email).expect(202);
        }
        // In another case it is the same address.
        expect_limit(ask(&email.to_uppercase()), "\"account\";q=5;w=900");
    }
}

/// The resources of a login. Several of these act like several environments: each has its own connections.
struct Environment {
    redis: Redis,
    mac: MacKey,
}

impl Environment {
    /// Several connected ones, so that their attempts are concurrent.
    async fn start() -> Vec<Arc<Self>> {
        let mut environments = Vec::new();
        for _ in 0..8 {
            let environment = Self { redis: Stage::get().resource(), mac: Stage::get().resource() };
            environment.redis.ping().await.unwrap();
            environment.mac.tag("test", &[]).await.unwrap();
            environments.push(Arc::new(environment));
        }
        environments
    }

    /// Opens a challenge and issues its code, as the function and the consumer of its message do.
    async fn challenge(&self) -> (Uuid, String) {
        let ambient = Ambient::system();
        let (id, code) = (ambient.id(), ambient.code());
        login_codes::open(&self.redis, id, &people::new_address(), ambient.now()).await.unwrap();
        assert!(login_codes::issue(&self.redis, &self.mac, id, &code, ambient.now()).await.unwrap());
        (id, code)
    }

    /// Attempts a code: whether it was right, or `None` if it was not even compared.
    async fn attempt(&self, challenge_id: Uuid, code: &str) -> Option<bool> {
        let attempt = login_codes::attempt(&self.redis, challenge_id, Ambient::system().now()).await.unwrap()?;
        Some(attempt.redeem(&self.redis, &self.mac, code).await.unwrap())
    }
}

/// Attempts codes concurrently, and returns the results of those that were compared.
async fn attempt_at_once(
    environments: &[Arc<Environment>],
    challenge_id: Uuid,
    codes: impl Iterator<Item = String>,
) -> Vec<bool> {
    let mut attempts = JoinSet::new();
    for (environment, code) in environments.iter().cycle().zip(codes) {
        let environment = Arc::clone(environment);
        attempts.spawn(async move { environment.attempt(challenge_id, &code).await });
    }
    attempts.join_all().await.into_iter().flatten().collect()
}

#[tokio::test(flavor = "multi_thread")]
async fn of_a_thousand_guesses_at_once_at_most_five_are_compared() {
    let environments = Environment::start().await;
    let (challenge_id, code) = environments[0].challenge().await;
    let guesses = (0..1000).map(|number| wrong(&code, number));
    let compared = attempt_at_once(&environments, challenge_id, guesses).await;
    // A command that was retried has spent two.
    assert!((1..=5).contains(&compared.len()), "{compared:?}");
    assert!(compared.iter().all(|right| !right), "{compared:?}");
    assert_eq!(environments[0].attempt(challenge_id, &code).await, None, "the code is dead");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_right_code_that_comes_many_times_at_once_is_right_once() {
    let environments = Environment::start().await;
    for round in 0..20 {
        let (challenge_id, code) = environments[0].challenge().await;
        let compared = attempt_at_once(&environments, challenge_id, (0..20).map(|_| code.clone())).await;
        assert_eq!(compared.iter().filter(|right| **right).count(), 1, "round {round}: {compared:?}");
        assert_eq!(environments[0].attempt(challenge_id, &code).await, None, "round {round}");
    }
}

#[tokio::test]
async fn the_fifth_guess_may_be_right_and_the_sixth_is_not_compared() {
    let environment = &Environment::start().await[0];
    let ((good, good_code), (dead, dead_code)) = (environment.challenge().await, environment.challenge().await);
    for number in 0..4 {
        assert_eq!(environment.attempt(good, &wrong(&good_code, number)).await, Some(false));
    }
    assert_eq!(environment.attempt(good, &good_code).await, Some(true));
    for number in 0..5 {
        assert_eq!(environment.attempt(dead, &wrong(&dead_code, number)).await, Some(false));
    }
    assert_eq!(environment.attempt(dead, &dead_code).await, None);
}
