//! `/v1/users`

use tests::{Call, people};

#[test]
fn a_user_reads_the_own_profile_from_the_store_then_from_the_cache() {
    let email = people::register();
    let token = people::log_in(&email);
    let first = Call::get("/v1/users/me").token(&token).send().expect(200);
    let second = Call::get("/v1/users/me").token(&token).send().expect(200);
    assert_eq!((first.header("x-cache"), second.header("x-cache")), (Some("miss"), Some("hit")));
    assert_eq!(first.text, second.text);

    let profile = first.json();
    assert_eq!(profile["email"], email);
    assert_eq!(profile["emailVerified"], false);
    assert_eq!(profile["roles"], serde_json::json!(["customer"]));
    for hidden in ["passwordHash", "outbox", "verification", "emailKey", "isDeleted", "_id"] {
        assert!(profile.get(hidden).is_none(), "{profile}");
    }
}
