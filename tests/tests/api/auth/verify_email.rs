//! `/v1/auth/verify-email`

use serde_json::json;
use tests::{Call, Reply, aws, people};

fn verify(code: &str) -> Reply {
    Call::post("/v1/auth/verify-email").json(json!({ "code": code })).send()
}

fn resend(email: &str) -> Reply {
    Call::post("/v1/auth/verify-email/resend").json(json!({ "email": email })).send()
}

fn is_verified(token: &str) -> bool {
    let profile = Call::get("/v1/users/me").token(token).send().expect(200).json();
    profile["emailVerified"].as_bool().unwrap()
}

#[test]
fn the_code_from_the_mail_verifies_the_address_once() {
    let email = people::register();
    let token = people::log_in(&email);
    assert!(!is_verified(&token));
    let code = people::mailed_code(&email, "Your verification code");
    // As a user may type it.
    let _ = verify(&format!(" {} ", code.to_lowercase())).expect(204);
    assert!(is_verified(&token), "the cached profile is forgotten");
    let _ = verify(&code).expect_problem(400, "invalid-code");
}

#[test]
fn a_lost_mail_is_sent_again_and_the_earlier_code_is_void() {
    let email = people::register();
    let first = people::mailed_code(&email, "Your verification code");
    let _ = resend(&email).expect(202);
    let second = loop {
        let mails = aws::mails(&email, "Your verification code");
        let codes: Vec<_> = mails.iter().filter_map(|mail| mail["BodyText"].as_str()?.lines().nth(2)).collect();
        if let Some(line) = codes.iter().find(|line| !line.contains(&first)) {
            break line.rsplit(' ').next().unwrap().to_owned();
        }
        std::thread::sleep(std::time::Duration::from_millis(100));
    };
    let _ = verify(&first).expect_problem(400, "invalid-code");
    let _ = verify(&second).expect(204);
}

#[test]
fn an_address_that_nobody_has_or_that_is_verified_gets_no_mail_and_the_same_answer() {
    let (unknown, known) = (people::new_address(), people::register());
    let _ = verify(&people::mailed_code(&known, "Your verification code")).expect(204);
    let (first, second) = (resend(&unknown).expect(202), resend(&known).expect(202));
    assert_eq!(first.text, second.text);
    // A later mail shows that there was none before.
    let _ = Call::post("/v1/auth/password/forgot").json(json!({ "email": known })).send().expect(202);
    let _ = people::mailed_code(&known, "Your reset code");
    assert_eq!(aws::mails(&known, "Your verification code").len(), 1);
    assert!(aws::mails(&unknown, "").is_empty());
}

#[test]
fn what_is_no_code_is_refused() {
    for code in ["", "x", "00000000000000000000000000", "' OR 1=1", "\u{0}"] {
        let _ = verify(code).expect_problem(400, "invalid-code");
    }
    for body in [json!({ "code": { "$ne": null } }), json!({ "code": 1 }), json!({ "code": ["x"] })] {
        let _ = Call::post("/v1/auth/verify-email").json(body).send().expect_problem(422, "validation-failed");
    }
}
