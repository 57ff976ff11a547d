//! `/v1/users`

use std::collections::HashSet;

use serde_json::{Value, json};
use tests::{
    Call, Reply,
    people::{self, LoggedIn},
};
use ureq::http::Method;

fn me(token: &str) -> Reply {
    Call::get("/v1/users/me").token(token).send().expect(200)
}

fn change(token: &str, tag: &str, profile: &Value) -> Reply {
    let call = Call::new(Method::PATCH, "/v1/users/me").token(token).header("if-match", tag);
    call.json(json!({ "profile": profile })).send()
}

fn user(id: &str) -> Reply {
    Call::get(format!("/v1/users/{id}")).token(people::admin()).send()
}

fn delete(id: &str) -> Reply {
    Call::new(Method::DELETE, format!("/v1/users/{id}")).token(people::admin()).send()
}

fn restore(id: &str) -> Reply {
    Call::post(format!("/v1/users/{id}/restore")).token(people::admin()).send()
}

fn list(query: &str) -> Reply {
    Call::get(format!("/v1/users?{query}")).token(people::admin()).send()
}

/// A new customer: address, id, tokens.
fn somebody() -> (String, String, LoggedIn) {
    let email = people::register();
    let session = people::begin_session(&email);
    let id = people::id_of(&session.access_token);
    (email, id, session)
}

#[test]
fn a_user_reads_the_own_profile_from_the_store_then_from_the_cache() {
    let email = people::register();
    let token = people::log_in(&email);
    let (first, second) = (me(&token), me(&token));
    assert_eq!((first.header("x-cache"), second.header("x-cache")), (Some("miss"), Some("hit")));
    assert_eq!((first.header("etag"), second.header("etag")), (Some("\"1\""), Some("\"1\"")));
    assert_eq!(first.text, second.text);

    let profile = first.json();
    assert_eq!(profile["email"], email);
    assert_eq!(profile["emailVerified"], false);
    assert_eq!(profile["roles"], json!(["customer"]));
    for hidden in ["passwordHash", "outbox", "verification", "reset", "emailKey", "isDeleted", "epoch", "_id"] {
        assert!(profile.get(hidden).is_none(), "{profile}");
    }
}

#[test]
fn a_changed_profile_is_read_at_once_and_only_the_version_that_was_seen_is_changed() {
    let (_, _, session) = somebody();
    let token = &session.access_token;
    let tag = me(token).header("etag").unwrap().to_owned();
    let given = json!({ "name": "Ann 🐎", "sizes": [1, 2.5], "address": { "city": "Tübingen" }, "old": 1 });
    let changed = change(token, &tag, &given).expect(200);
    assert_eq!(changed.json()["profile"], given);
    assert_eq!(me(token).json()["profile"], given);

    let _ = change(token, &tag, &json!({ "name": "Eve" })).expect_problem(412, "precondition-failed");
    let next = changed.header("etag").unwrap();
    let changed = change(token, next, &json!({ "old": null, "name": "Anna" })).expect(200).json();
    assert_eq!(changed["profile"], json!({ "name": "Anna", "sizes": [1, 2.5], "address": { "city": "Tübingen" } }));

    let without = Call::new(Method::PATCH, "/v1/users/me").token(token).json(json!({ "profile": {} })).send();
    let _ = without.expect_problem(428, "precondition-required");
    for tag in ["*", "1", "W/\"1\"", "\"x\""] {
        let _ = change(token, tag, &json!({})).expect_problem(400, "malformed-request");
    }
}

#[test]
fn of_parallel_changes_of_one_version_one_wins() {
    let (_, _, session) = somebody();
    let token = &session.access_token;
    let tag = me(token).header("etag").unwrap().to_owned();
    let mut statuses: Vec<u16> = std::thread::scope(|scope| {
        let calls: Vec<_> = (0..6)
            .map(|number| {
                scope.spawn({
                    let tag = &tag;
                    move || change(token, tag, &json!({ "n": number })).status
                })
            })
            .collect();
        calls.into_iter().map(|call| call.join().unwrap()).collect()
    });
    statuses.sort_unstable();
    assert_eq!(statuses, [200, 412, 412, 412, 412, 412]);
}

#[test]
fn a_profile_that_the_store_would_misread_or_that_is_too_large_is_refused() {
    let (_, _, session) = somebody();
    let before = me(&session.access_token);
    let tag = before.header("etag").unwrap();
    for profile in [
        json!({ "role": "admin" }),
        json!({ "isDeleted": true }),
        json!({ "_id": 1 }),
        json!({ "$set": { "roles": ["admin"] } }),
        json!({ "a": { "$inc": 1 } }),
        json!({ "address.city": "x" }),
        json!({ "a": u64::MAX }),
        json!({ "a": "x".repeat(17_000) }),
        json!("text"),
    ] {
        let _ = change(&session.access_token, tag, &profile).expect_problem(422, "validation-failed");
    }
    assert_eq!(me(&session.access_token).json(), before.json());
}

#[test]
fn a_user_who_deletes_the_account_is_out_and_the_address_is_free() {
    let (email, id, session) = somebody();
    let _ = Call::new(Method::DELETE, "/v1/users/me").token(&session.access_token).send().expect(204);
    people::wait_until_refused(&session.access_token);
    let _ = people::refresh(&session.refresh_token).expect(401);
    let _ = people::try_log_in(&email, people::PASSWORD).expect(401);
    assert_eq!(user(&id).expect(200).json()["status"], "deleted");

    let again = json!({ "email": email, "password": people::PASSWORD });
    let _ = Call::post("/v1/auth/register").json(again).send().expect(202);
    let new = people::log_in(&email);
    assert_ne!(people::id_of(&new), id);
    let _ = restore(&id).expect_problem(409, "email-taken");
    assert_eq!(user(&id).expect(200).json()["status"], "deleted");
}

#[test]
fn a_deleted_user_is_restored_while_the_address_is_free() {
    let (email, id, session) = somebody();
    let _ = restore(&id).expect_problem(404, "not-found");
    let _ = delete(&id).expect(204);
    let _ = delete(&id).expect_problem(404, "not-found");
    people::wait_until_refused(&session.access_token);
    let restored = restore(&id).expect(200).json();
    assert_eq!((&restored["status"], &restored["email"]), (&json!("active"), &json!(email)));
    let token = people::log_in(&email);
    assert_eq!(people::id_of(&token), id);
    // Sessions that ended with the deletion do not come back.
    let _ = people::refresh(&session.refresh_token).expect(401);
    assert!(!people::is_let_in(&session.access_token));
}

#[test]
fn a_disabled_user_is_out_until_enabled_again() {
    let (email, id, session) = somebody();
    let _ = people::manage(people::admin(), &id, &json!({ "disabled": true })).expect(200);
    people::wait_until_refused(&session.access_token);
    let _ = people::refresh(&session.refresh_token).expect(401);
    let _ = people::try_log_in(&email, people::PASSWORD).expect_problem(401, "invalid-credentials");
    // The address is still taken.
    let again = json!({ "email": email, "password": "some-other-password" });
    let _ = Call::post("/v1/auth/register").json(again).send().expect(202);

    let _ = people::manage(people::admin(), &id, &json!({ "disabled": false })).expect(200);
    let _ = people::log_in(&email);
    let _ = people::refresh(&session.refresh_token).expect(401);
}

#[test]
fn nobody_changes_their_own_roles_or_status() {
    let email = people::register_with_roles(&json!(["admin"]));
    let token = people::log_in(&email);
    let id = people::id_of(&token);
    for changes in [json!({ "roles": ["customer"] }), json!({ "disabled": true })] {
        let _ = people::manage(&token, &id, &changes).expect_problem(403, "forbidden");
    }
    let _ = delete(&id).expect(204);
}

#[test]
fn changes_that_cannot_be_are_refused() {
    let (_, id, _) = somebody();
    for changes in [
        json!({}),
        json!({ "roles": [] }),
        json!({ "roles": ["customer", "customer"] }),
        json!({ "roles": ["root"] }),
        json!({ "roles": "admin" }),
        json!({ "disabled": "yes" }),
        json!({ "email": "x@souk.example" }),
        json!({ "isDeleted": true }),
        json!({ "$set": { "roles": ["admin"] } }),
        json!({ "profile.name": "x" }),
    ] {
        let _ = people::manage(people::admin(), &id, &changes).expect_problem(422, "validation-failed");
    }
    let path = format!("/v1/users/{id}");
    let call = || Call::new(Method::PATCH, path.clone()).token(people::admin());
    let _ = call().json(json!({ "disabled": true })).send().expect_problem(428, "precondition-required");
    let stale = call().header("if-match", "\"99\"").json(json!({ "disabled": true })).send();
    let _ = stale.expect_problem(412, "precondition-failed");
    let unknown = format!("/v1/users/{}", people::new_key());
    let call = Call::new(Method::PATCH, unknown).token(people::admin()).header("if-match", "\"1\"");
    let _ = call.json(json!({ "disabled": true })).send().expect_problem(404, "not-found");
}

#[test]
fn users_are_listed_in_pages_by_filter_each_once() {
    let mut staff: HashSet<String> = HashSet::new();
    for _ in 0..5 {
        let email = people::register_with_roles(&json!(["customer", "staff"]));
        staff.insert(people::id_of(&people::log_in(&email)));
    }
    let (mut found, mut cursor, mut pages) = (Vec::new(), String::new(), 0);
    loop {
        let page = list(&format!("role=staff&limit=2{cursor}")).expect(200).json();
        let items = page["items"].as_array().unwrap();
        assert!(items.len() <= 2);
        assert!(items.iter().all(|user| user["roles"].as_array().unwrap().contains(&json!("staff"))), "{page}");
        found.extend(items.iter().map(|user| user["id"].as_str().unwrap().to_owned()));
        pages += 1;
        match page["next"].as_str() {
            Some(next) => cursor = format!("&cursor={next}"),
            None => break,
        }
    }
    assert!(pages >= 3);
    assert!(found.is_sorted_by(|a, b| a > b), "the newest first: {found:?}");
    assert!(staff.iter().all(|id| found.iter().filter(|found| *found == id).count() == 1));

    let (email, id, _) = somebody();
    let by_address = list(&format!("email={}", email.to_uppercase())).expect(200).json();
    assert_eq!(by_address["items"][0]["id"], json!(id));
    let _ = delete(&id).expect(204);
    let deleted = list("status=deleted&limit=1").expect(200).json();
    assert_eq!(deleted["items"][0]["status"], "deleted");
    for hidden in ["passwordHash", "outbox", "verification", "reset", "emailKey"] {
        assert!(deleted["items"][0].get(hidden).is_none(), "{deleted}");
    }
}

#[test]
fn a_cursor_that_was_changed_or_is_of_another_list_is_refused() {
    let _ = (somebody(), somebody());
    let next = list("limit=1").expect(200).json()["next"].as_str().unwrap().to_owned();
    let _ = list(&format!("limit=1&cursor={next}")).expect(200);
    let changed = format!("{}{}", &next[..next.len() - 1], if next.ends_with('A') { 'B' } else { 'A' });
    for query in [
        format!("cursor={changed}"),
        format!("cursor={}", &next[..20]),
        format!("role=customer&cursor={next}"),
        format!("status=active&cursor={next}"),
        "cursor=".to_owned(),
        "cursor=x".to_owned(),
    ] {
        let _ = list(&query).expect_problem(400, "invalid-cursor");
    }
    for query in ["limit=0", "limit=101"] {
        let _ = list(query).expect_problem(422, "validation-failed");
    }
    for query in ["limit=-1", "limit=many", "role=root", "offset=10", "status=gone", "email=x"] {
        let _ = list(query).expect_problem(400, "malformed-request");
    }
}
