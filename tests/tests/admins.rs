//! At least one active admin remains. A program of its own, since it takes the seeded admin's role away for a while.

use serde_json::json;
use tests::{Call, Reply, people, tokens};
use ureq::http::Method;

fn manage(by: &str, id: &str, changes: &serde_json::Value) -> u16 {
    people::manage(by, id, changes).status
}

fn delete_me(token: &str) -> Reply {
    Call::new(Method::DELETE, "/v1/users/me").token(token).send()
}

/// Two admins take each other's role away concurrently, again and again: each time one of them keeps it.
#[test]
fn the_last_admin_cannot_be_removed_by_whoever_and_however_fast() {
    let (ann, bob) = (people::register(), people::register());
    let seeded = "admin@souk.example";
    let id = |email: &str| people::id_of(&people::log_in(email));
    let (ann_id, bob_id, seeded_id) = (id(&ann), id(&bob), id(seeded));
    // Tokens without a session that could end: only the store keeps the last admin.
    let token_of = |id: &str| tokens::good(id.parse().unwrap(), tokens::id(), "admin");
    let admin = token_of(&seeded_id);
    for id in [&ann_id, &bob_id] {
        assert_eq!(manage(&admin, id, &json!({ "roles": ["admin"] })), 200);
    }
    // Other admins of this run must not count.
    let others = Call::get("/v1/users?role=admin&status=active&limit=100").token(&admin).send().expect(200).json();
    let mine = [&ann_id, &bob_id, &seeded_id];
    for other in others["items"].as_array().unwrap() {
        let id = other["id"].as_str().unwrap();
        if !mine.iter().any(|mine| *mine == id) {
            assert_eq!(manage(&admin, id, &json!({ "roles": ["customer"] })), 200);
        }
    }
    assert_eq!(manage(&token_of(&ann_id), &seeded_id, &json!({ "roles": ["customer"] })), 200);

    for round in 0..10 {
        let (ann_token, bob_token) = (token_of(&ann_id), token_of(&bob_id));
        let kind = if round % 2 == 0 { json!({ "roles": ["customer"] }) } else { json!({ "disabled": true }) };
        let (first, second) = std::thread::scope(|scope| {
            let ann_does = scope.spawn(|| attack(&ann_token, &bob_id, &kind));
            let bob_does = scope.spawn(|| attack(&bob_token, &ann_id, &kind));
            (ann_does.join().unwrap(), bob_does.join().unwrap())
        });
        let removed = [first, second].iter().filter(|&&status| status == 200).count();
        assert!(removed <= 1, "round {round}: {first} and {second}");
        // The remaining admin restores the other one.
        let (left, gone) = if second == 200 { (&bob_id, &ann_id) } else { (&ann_id, &bob_id) };
        let token = token_of(left);
        let _ = delete_me(&token).expect_problem(409, "last-admin");
        assert_eq!(manage(&token, gone, &json!({ "roles": ["admin"], "disabled": false })), 200, "round {round}");
    }
    let token = token_of(&ann_id);
    assert_eq!(manage(&token, &seeded_id, &json!({ "roles": ["admin"] })), 200);
    assert_eq!(manage(&token_of(&seeded_id), &bob_id, &json!({ "roles": ["customer"] })), 200);
}

/// Takes an admin's role away, unless the attacker's own was taken first: then the authorizer answers.
fn attack(token: &str, id: &str, changes: &serde_json::Value) -> u16 {
    let path = format!("/v1/users/{id}");
    let seen = Call::get(&path).token(token).send();
    let Some(tag) = seen.header("etag") else { return seen.status };
    Call::new(Method::PATCH, path).token(token).header("if-match", tag).json(changes).send().status
}
