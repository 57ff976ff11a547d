//! `/v1/auth`

use std::fmt::Display;

use serde_json::json;
use shared::{
    auth::{
        Role, Roles,
        strategy::{Attempt, Identity, LoginRequest, LoginStrategy, Registry},
    },
    error::Problem,
    store::Mongodb,
};
use tests::{Call, Stage, aws, people, people::PASSWORD};
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
fn passwords_have_12_to_128_characters_of_any_kind() {
    for password in ["", "eleven-char", &"x".repeat(129)] {
        let body = json!({ "email": people::new_address(), "password": password });
        let problem = register(body).expect_problem(422, "validation-failed");
        assert_eq!(problem["errors"][0]["field"], "password");
    }
    let email = people::new_address();
    let password = "пароль-密码-🔑-длинный-и-надёжный".repeat(4);
    let _ = register(json!({ "email": email, "password": password })).expect(202);
    let _ = log_in(json!({ "strategy": "email", "email": email, "password": password })).expect(200);
    // None is cut off: one that is the same but for its end is another.
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

/// A way to log in that only this test has.
struct Magic;

impl LoginStrategy for Magic {
    fn name(&self) -> &'static str {
        "magic"
    }

    fn authenticate<'a>(&'a self, request: &'a str) -> Attempt<'a> {
        Box::pin(async move {
            if !request.contains("xyzzy") {
                return Err(Problem::InvalidCredentials.into());
            }
            Ok(Identity { user_id: Uuid::nil(), roles: Roles(vec![Role::Customer]) })
        })
    }
}

#[tokio::test]
async fn another_way_to_log_in_is_found_by_its_name() {
    let mongodb: Mongodb = Stage::get().resource();
    let registry = Registry::new(&mongodb).with(Box::new(Magic));
    let request = |text: &str| serde_json::from_str::<LoginRequest>(text).unwrap();

    let identity = registry.authenticate(request(r#"{"strategy":"magic","spell":"xyzzy"}"#)).await.unwrap();
    assert_eq!(identity.user_id, Uuid::nil());
    let refused = registry.authenticate(request(r#"{"strategy":"magic","spell":"abracadabra"}"#)).await;
    assert_eq!(refused.unwrap_err().problem(), Problem::InvalidCredentials);
    let customer = format!(r#"{{"strategy":"email","email":"customer@souk.example","password":"{PASSWORD}"}}"#);
    assert_eq!(registry.authenticate(request(&customer)).await.unwrap().roles, Roles(vec![Role::Customer]));
}
