//! `/v1/auth/password`

use std::time::Duration;

use serde_json::json;
use tests::{
    Call, Reply, aws,
    people::{self, PASSWORD},
};
use ureq::http::Method;

const NEW: &str = "quite-another-battery-staple";

fn forgot(email: &str) -> Reply {
    Call::post("/v1/auth/password/forgot").json(json!({ "email": email })).send()
}

fn reset(code: &str, password: &str) -> Reply {
    Call::post("/v1/auth/password/reset").json(json!({ "code": code, "password": password })).send()
}

fn change(token: &str, current: &str, new: &str) -> Reply {
    let body = json!({ "currentPassword": current, "newPassword": new });
    Call::new(Method::PUT, "/v1/auth/password").token(token).json(body).send()
}

#[test]
fn a_forgotten_password_is_replaced_with_the_code_from_the_mail_once_and_all_sessions_end() {
    let email = people::register();
    let session = people::begin_session(&email);
    let _ = forgot(&email).expect(202);
    let code = people::mailed_code(&email, "Your reset code");
    // An invalid password does not consume the code.
    let _ = reset(&code, "short").expect_problem(422, "validation-failed");
    let _ = reset(&code, NEW).expect(204);

    people::wait_until_refused(&session.access_token);
    let _ = people::refresh(&session.refresh_token).expect_problem(401, "invalid-refresh-token");
    let _ = people::try_log_in(&email, PASSWORD).expect_problem(401, "invalid-credentials");
    let _ = people::try_log_in(&email, NEW).expect(200);
    let _ = reset(&code, PASSWORD).expect_problem(400, "invalid-code");
    let _ = aws::wait_for_mail(&email, "Your password was changed");
}

#[test]
fn a_reset_code_used_in_parallel_works_once() {
    let email = people::register();
    let _ = forgot(&email).expect(202);
    let code = people::mailed_code(&email, "Your reset code");
    let passwords: Vec<String> = (0..4).map(|number| format!("{NEW}-{number}")).collect();
    let statuses: Vec<u16> = std::thread::scope(|scope| {
        let calls: Vec<_> = passwords.iter().map(|password| scope.spawn(|| reset(&code, password).status)).collect();
        calls.into_iter().map(|call| call.join().unwrap()).collect()
    });
    assert_eq!(statuses.iter().filter(|&&status| status == 204).count(), 1, "{statuses:?}");
    for (password, status) in passwords.iter().zip(&statuses) {
        let expected = if *status == 204 { 200 } else { 401 };
        let _ = people::try_log_in(&email, password).expect(expected);
    }
}

#[test]
fn an_address_that_nobody_has_is_answered_the_same_and_gets_no_mail() {
    let (known, unknown) = (people::register(), people::new_address());
    assert_eq!(forgot(&known).expect(202).text, forgot(&unknown).expect(202).text);
    let _ = people::mailed_code(&known, "Your reset code");
    assert!(aws::mails(&unknown, "").is_empty());
}

#[test]
fn a_code_for_one_thing_is_none_for_another() {
    let email = people::register();
    let verification = people::mailed_code(&email, "Your verification code");
    let _ = reset(&verification, NEW).expect_problem(400, "invalid-code");
    let _ = forgot(&email).expect(202);
    let code = people::mailed_code(&email, "Your reset code");
    let _ = Call::post("/v1/auth/verify-email").json(json!({ "code": code })).send().expect(400);
}

#[test]
fn a_changed_password_ends_the_other_sessions_and_keeps_this_one() {
    let email = people::register();
    let (here, there) = (people::begin_session(&email), people::begin_session(&email));
    let _ = change(&here.access_token, "not-the-password", NEW).expect_problem(401, "invalid-credentials");
    let _ = change(&here.access_token, PASSWORD, "password1234").expect_problem(422, "validation-failed");
    let _ = change(&here.access_token, PASSWORD, NEW).expect(204);

    people::wait_until_refused(&there.access_token);
    let _ = people::refresh(&there.refresh_token).expect(401);
    assert!(people::is_let_in(&here.access_token));
    let _ = people::refresh(&here.refresh_token).expect(200);
    let _ = people::try_log_in(&email, PASSWORD).expect(401);
    let _ = people::try_log_in(&email, NEW).expect(200);
    let _ = aws::wait_for_mail(&email, "Your password was changed");
}

#[test]
fn guesses_of_the_present_password_are_limited() {
    people::wait_for_room(Duration::from_mins(5));
    let token = people::log_in(&people::register());
    for _ in 0..10 {
        let _ = change(&token, "not-the-password", NEW).expect(401);
    }
    let _ = change(&token, PASSWORD, NEW).expect_problem(429, "too-many-requests");
}
