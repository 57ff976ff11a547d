//! `/v1/auth/refresh`, `/v1/auth/logout` and `/v1/auth/sessions`

use std::collections::HashSet;

use serde_json::{Value, json};
use tests::{
    Call, Reply,
    people::{self, LoggedIn},
};
use ureq::http::Method;

fn sessions(token: &str) -> Vec<Value> {
    let reply = Call::get("/v1/auth/sessions").token(token).send().expect(200);
    reply.json()["items"].as_array().unwrap().clone()
}

#[test]
fn a_refresh_gets_new_tokens_with_the_same_session() {
    let first = people::begin_session(&people::register());
    let second = LoggedIn::of(&people::refresh(&first.refresh_token).expect(200));
    assert_ne!(first.refresh_token, second.refresh_token);
    assert!(people::is_let_in(&second.access_token));
    assert_eq!(sessions(&second.access_token).len(), 1);
    let third = LoggedIn::of(&people::refresh(&second.refresh_token).expect(200));
    assert!(people::is_let_in(&third.access_token));
}

#[test]
fn fifty_refreshes_of_one_token_at_once_sign_nobody_out_and_have_one_successor() {
    let first = people::begin_session(&people::register());
    let replies: Vec<Reply> = std::thread::scope(|scope| {
        let calls: Vec<_> = (0..50).map(|_| scope.spawn(|| people::refresh(&first.refresh_token))).collect();
        calls.into_iter().map(|call| call.join().unwrap()).collect()
    });
    let granted: Vec<LoggedIn> = replies.into_iter().map(|reply| LoggedIn::of(&reply.expect(200))).collect();
    let successors: HashSet<&str> = granted.iter().map(|granted| granted.refresh_token.as_str()).collect();
    assert_eq!(successors.len(), 1);
    assert!(granted.iter().all(|granted| people::is_let_in(&granted.access_token)));
    let _ = people::refresh(&granted[0].refresh_token).expect(200);
}

#[test]
fn a_token_that_is_used_again_after_its_successor_was_used_ends_its_session() {
    let first = people::begin_session(&people::register());
    let second = LoggedIn::of(&people::refresh(&first.refresh_token).expect(200));
    let third = LoggedIn::of(&people::refresh(&second.refresh_token).expect(200));
    let _ = people::refresh(&first.refresh_token).expect_problem(401, "invalid-refresh-token");
    let _ = people::refresh(&third.refresh_token).expect_problem(401, "invalid-refresh-token");
    for token in [&first, &second, &third].map(|tokens| &tokens.access_token) {
        people::wait_until_refused(token);
    }
}

#[test]
fn what_is_no_refresh_token_is_refused_and_ends_nothing() {
    let session = people::begin_session(&people::register());
    let token = &session.refresh_token;
    let swapped: String = token.chars().rev().collect();
    for other in ["", "x", &token[1..], &swapped, &session.access_token, &"A".repeat(64), &"€".repeat(1000)] {
        let _ = people::refresh(other).expect_problem(401, "invalid-refresh-token");
    }
    let _ = people::refresh(token).expect(200);
}

#[test]
fn a_secret_that_was_never_the_familys_ends_it() {
    let session = people::begin_session(&people::register());
    // The family of the real token with another secret: only a stolen token tells its family.
    let forged = format!("{}{}", &session.refresh_token[..24], "A".repeat(40));
    let _ = people::refresh(&forged).expect_problem(401, "invalid-refresh-token");
    let _ = people::refresh(&session.refresh_token).expect_problem(401, "invalid-refresh-token");
}

#[test]
fn logging_out_ends_this_session_and_no_other() {
    let email = people::register();
    let (here, there) = (people::begin_session(&email), people::begin_session(&email));
    let _ = Call::post("/v1/auth/logout").token(&here.access_token).send().expect(204);
    people::wait_until_refused(&here.access_token);
    let _ = people::refresh(&here.refresh_token).expect_problem(401, "invalid-refresh-token");
    assert!(people::is_let_in(&there.access_token));
    assert_eq!(sessions(&there.access_token).len(), 1);
}

#[test]
fn logging_out_everywhere_ends_all_sessions() {
    let email = people::register();
    let all: Vec<LoggedIn> = (0..3).map(|_| people::begin_session(&email)).collect();
    let _ = Call::new(Method::DELETE, "/v1/auth/sessions").token(&all[0].access_token).send().expect(204);
    for session in &all {
        people::wait_until_refused(&session.access_token);
        let _ = people::refresh(&session.refresh_token).expect(401);
    }
    let _ = people::begin_session(&email);
}

#[test]
fn sessions_are_listed_to_their_owner_who_ends_one_of_them() {
    let email = people::register();
    let (here, there) = (people::begin_session(&email), people::begin_session(&email));
    let stranger = people::log_in(&people::register());
    let listed = sessions(&here.access_token);
    assert_eq!(listed.len(), 2);
    let current: Vec<&Value> = listed.iter().filter(|session| session["isCurrent"] == true).collect();
    assert_eq!(current.len(), 1, "{listed:?}");
    for session in &listed {
        for hidden in ["tokenHash", "familyHash", "previous", "userId"] {
            assert!(session.get(hidden).is_none(), "{session}");
        }
    }
    let other = listed.iter().find(|session| session["isCurrent"] == false).unwrap();
    let path = format!("/v1/auth/sessions/{}", other["id"].as_str().unwrap());
    let end = |token: &str| Call::new(Method::DELETE, path.clone()).token(token).send();
    let _ = end(&stranger).expect_problem(404, "not-found");
    let _ = end(&here.access_token).expect(204);
    let _ = end(&here.access_token).expect_problem(404, "not-found");
    people::wait_until_refused(&there.access_token);
    assert!(people::is_let_in(&here.access_token));
}

#[test]
fn roles_survive_a_refresh_and_new_ones_come_with_it() {
    let email = people::register_with_roles(&json!(["customer", "staff"]));
    let session = people::begin_session(&email);
    let roles = |token: &str| Call::get("/v1/users/me").token(token).send().expect(200).json()["roles"].clone();
    let refreshed = LoggedIn::of(&people::refresh(&session.refresh_token).expect(200));
    assert_eq!(roles(&refreshed.access_token), json!(["customer", "staff"]));
    // With a permission of the new role.
    let _ = Call::post("/v1/products").token(&refreshed.access_token).json("{}").send().expect(422);

    let id = people::id_of(&refreshed.access_token);
    let _ = people::manage(people::admin(), &id, &json!({ "roles": ["customer"] })).expect(200);
    people::wait_until_refused(&refreshed.access_token);
    let demoted = LoggedIn::of(&people::refresh(&refreshed.refresh_token).expect(200));
    assert_eq!(roles(&demoted.access_token), json!(["customer"]));
    let _ = Call::post("/v1/products").token(&demoted.access_token).json("{}").send().expect(403);
}
