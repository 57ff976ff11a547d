//! `/v1/auth`: registration and login.

mod google;
mod otp;
mod password;
mod sessions;
mod verify_email;

use std::{fmt::Display, time::Duration};

use garde::Validate;
use serde::Deserialize;
use serde_json::json;
use shared::{
    ambient::Ambient,
    auth::strategy::{Identity, LoginRequest, LoginStrategy, Registry},
    error::{ApiError, Problem},
};
use tests::{
    Call, Stage, aws,
    function::{self, Function},
    people::{self, PASSWORD},
};
use utoipa::ToSchema;
use uuid::Uuid;

fn register(body: impl Display) -> tests::Reply {
    Call::post("/v1/auth/register").json(body).send()
}

fn log_in(body: impl Display) -> tests::Reply {
    Call::post("/v1/auth/login").json(body).send()
}

#[test]
fn a_customer_registers_gets_a_code_by_mail_and_logs_in() {
    let email = people::register();
    let mail = aws::wait_for_mail(&email, "verification code");
    let code = mail.lines().find_map(|line| line.split_once("code: ")).unwrap().1;
    assert_eq!(code.len(), 26, "{mail}");

    let reply = log_in(json!({ "strategy": "email", "email": email, "password": PASSWORD })).expect(200).json();
    assert_eq!((&reply["tokenType"], &reply["expiresIn"]), (&json!("Bearer"), &json!(600)));
    assert_eq!(reply["accessToken"].as_str().unwrap().split('.').count(), 3);
}

#[test]
fn registering_twice_answers_the_same_and_tells_only_the_owner() {
    let email = people::new_address();
    let body = json!({ "email": email, "password": PASSWORD });
    let first = register(&body).expect(202);
    let again = json!({ "email": email.to_uppercase(), "password": "another-password-of-somebody" });
    let second = register(&again).expect(202);
    assert_eq!(first.text, second.text);
    let _ = aws::wait_for_mail(&email, "Somebody tried to register");
    let _ = log_in(json!({ "strategy": "email", "email": email, "password": PASSWORD })).expect(200);
    let _ =
        log_in(json!({ "strategy": "email", "email": email, "password": "another-password-of-somebody" })).expect(401);
}

#[test]
fn registering_in_parallel_makes_one_user() {
    let email = people::new_address();
    let body = json!({ "email": email, "password": PASSWORD }).to_string();
    std::thread::scope(|scope| {
        let calls: Vec<_> = (0..5).map(|_| scope.spawn(|| register(&body).status)).collect();
        assert!(calls.into_iter().all(|call| call.join().unwrap() == 202));
    });
    let _ = aws::wait_for_mail(&email, "verification code");
    assert_eq!(aws::mails(&email, "verification code").len(), 1);
}

#[test]
fn a_role_or_an_operator_in_the_body_is_refused() {
    for (name, value) in [
        ("role", json!("admin")),
        ("roles", json!(["admin"])),
        ("isDeleted", json!(false)),
        ("_id", json!("x")),
        ("$set", json!({ "roles": ["admin"] })),
        ("profile.roles", json!(["admin"])),
    ] {
        let body = json!({ "email": people::new_address(), "password": PASSWORD, name: value });
        let problem = register(body).expect_problem(422, "validation-failed");
        assert!(problem["errors"][0]["detail"].as_str().unwrap().contains("unknown field"), "{problem}");
    }
    let operator = json!({ "strategy": "email", "email": { "$gt": "" }, "password": PASSWORD });
    let _ = log_in(operator).expect_problem(422, "validation-failed");
    let operator = json!({ "strategy": "email", "email": "customer@souk.example", "password": { "$ne": null } });
    let _ = log_in(operator).expect_problem(422, "validation-failed");
}

#[test]
fn passwords_have_12_to_128_characters_of_any_kind_and_are_not_common() {
    for password in ["", "eleven-char", &"x".repeat(129), "password", "qwertyuiop12", "PasswordPassword"] {
        let body = json!({ "email": people::new_address(), "password": password });
        let problem = register(body).expect_problem(422, "validation-failed");
        assert_eq!(problem["errors"][0]["field"], "password");
    }
    let email = people::new_address();
    let password = "пароль-密码-🔑-длинный-и-надёжный".repeat(4);
    let _ = register(json!({ "email": email, "password": password })).expect(202);
    let _ = log_in(json!({ "strategy": "email", "email": email, "password": password })).expect(200);
    // No password is cut off: one that differs only at its end is another.
    let other = password.replace("надёжный", "надёжнейший");
    let _ = log_in(json!({ "strategy": "email", "email": email, "password": other }))
        .expect_problem(401, "invalid-credentials");
}

#[test]
fn a_wrong_password_and_an_unknown_address_answer_the_same() {
    let unknown = json!({ "strategy": "email", "email": people::new_address(), "password": PASSWORD });
    let wrong = json!({ "strategy": "email", "email": "customer@souk.example", "password": "not-the-password" });
    let mut answers = [log_in(unknown), log_in(wrong)].map(|reply| reply.expect_problem(401, "invalid-credentials"));
    for answer in &mut answers {
        answer["requestId"] = json!(null);
    }
    assert_eq!(answers[0], answers[1]);
}

#[test]
fn a_way_to_log_in_that_is_none_is_refused() {
    let problem = log_in(json!({ "strategy": "magic", "spell": "xyzzy" })).expect_problem(422, "validation-failed");
    assert_eq!(problem["errors"][0]["field"], "strategy");
    let _ = log_in(json!({ "email": "customer@souk.example", "password": PASSWORD }))
        .expect_problem(422, "validation-failed");
}

#[test]
fn a_member_that_comes_twice_is_refused() {
    let twice = r#"{"strategy":"email","email":"a@souk.example","password":"x","password":"y"}"#;
    let problem = log_in(twice).expect_problem(422, "validation-failed");
    assert!(problem["errors"][0]["detail"].as_str().unwrap().contains("duplicate field"), "{problem}");
    let twice = r#"{"strategy":"email","strategy":"magic","email":"a@souk.example","password":"x"}"#;
    let _ = log_in(twice).expect_problem(422, "validation-failed");
}

/// A login strategy of this test only.
struct Magic;

#[derive(Deserialize, Validate, ToSchema)]
#[serde(deny_unknown_fields)]
#[garde(allow_unvalidated)]
struct Spell {
    #[expect(dead_code, reason = "the registry has read it")]
    strategy: String,
    spell: String,
}

impl LoginStrategy for Magic {
    const NAME: &'static str = "magic";
    type Credentials = Spell;

    async fn authenticate(&self, credentials: Spell, _: &Ambient) -> Result<Identity, ApiError> {
        match credentials.spell.as_str() {
            "xyzzy" => Ok(Identity { user_id: Uuid::nil(), epoch: 0 }),
            _ => Err(Problem::InvalidCredentials.into()),
        }
    }
}

#[tokio::test]
async fn a_fourth_way_to_log_in_is_found_by_its_name_beside_the_others() {
    let ambient = Ambient::system();
    let registry = Stage::get().resource::<Registry>().with(Magic);
    let request = |text: &str| serde_json::from_str::<LoginRequest>(text).unwrap();

    let identity = registry.authenticate(request(r#"{"strategy":"magic","spell":"xyzzy"}"#), &ambient).await.unwrap();
    assert_eq!(identity.user_id, Uuid::nil());
    for (refused, problem) in [
        (r#"{"strategy":"magic","spell":"abracadabra"}"#, Problem::InvalidCredentials),
        (r#"{"strategy":"magic","spell":"xyzzy","role":"admin"}"#, Problem::ValidationFailed),
        (r#"{"strategy":"black-magic"}"#, Problem::ValidationFailed),
    ] {
        let error = registry.authenticate(request(refused), &ambient).await.unwrap_err();
        assert_eq!(error.problem(), problem, "{refused}");
    }
    let customer = format!(r#"{{"strategy":"email","email":"customer@souk.example","password":"{PASSWORD}"}}"#);
    let identity = registry.authenticate(request(&customer), &ambient).await.unwrap();
    assert_eq!(identity.user_id.to_string(), people::id_of(people::customer()));
}

#[test]
fn attempts_to_log_in_are_limited_by_account_whatever_comes_of_them() {
    people::wait_for_room(Duration::from_mins(5));
    let email = people::new_address();
    for attempt in 1..=20 {
        let reply = people::try_log_in(&email, "not-the-password").expect(401);
        assert!(reply.header("ratelimit").unwrap().starts_with("\"address\";"), "{attempt}: {reply:?}");
    }
    let reply = people::try_log_in(&email, "not-the-password");
    let seconds: u64 = reply.header("retry-after").unwrap().parse().unwrap();
    assert!((1..=300).contains(&seconds), "{reply:?}");
    assert_eq!(reply.header("ratelimit-policy"), Some("\"account\";q=20;w=300"));
    assert!(reply.header("ratelimit").unwrap().starts_with("\"account\";r=0;t="), "{reply:?}");
    let _ = reply.expect_problem(429, "too-many-requests");
    // In another case it is the same account; other accounts are not limited.
    let _ = people::try_log_in(&email.to_uppercase(), "not-the-password").expect(429);
    let _ = people::try_log_in(&people::new_address(), "not-the-password").expect(401);
}

#[test]
fn registrations_and_mails_are_limited_by_account() {
    people::wait_for_room(Duration::from_mins(15));
    let email = people::new_address();
    let registration = json!({ "email": email, "password": PASSWORD });
    let address = json!({ "email": email });
    for (path, body) in
        [("/v1/auth/register", &registration), ("/v1/auth/password/forgot", &address), ("/v1/auth/otp", &address)]
    {
        for _ in 0..5 {
            let _ = Call::post(path).json(body).send().expect(202);
        }
        let _ = Call::post(path).json(body).send().expect_problem(429, "too-many-requests");
    }
}

#[test]
fn requests_are_limited_by_address_too() {
    people::wait_for_room(Duration::from_mins(5));
    // The binary itself, with a deployment's limits: on the stage all requests come from one address.
    let function = Function::start("auth-login", &[]);
    let attempt = |address: &str| {
        let body = json!({ "strategy": "email", "email": people::new_address(), "password": "not-the-password" });
        let event = function::from_address(aws::http_event("POST /v1/auth/login", &body), address);
        function.invoke(&event)["statusCode"].as_u64().unwrap()
    };
    // Different addresses of one customer's IPv6 network.
    let mut statuses: Vec<u64> = (0..101).map(|number| attempt(&format!("2001:db8:0:7::{number:x}"))).collect();
    assert_eq!(statuses.pop(), Some(429));
    assert!(statuses.iter().all(|&status| status == 401), "{statuses:?}");
    assert_eq!(attempt("2001:db8:0:8::1"), 401);
    assert_eq!(attempt("192.0.2.1"), 401);
}
