//! `/health`

use tests::Call;

#[test]
fn the_system_is_up_and_ready() {
    assert_eq!(Call::get("/health").send().expect(200).json()["status"], "ok");
    let ready = Call::get("/health/ready").send().expect(200).json();
    for part in ["status", "mysql", "mongodb", "redis"] {
        assert_eq!(ready[part], "ok", "{ready}");
    }
}

#[test]
fn a_request_is_named_and_an_unknown_query_refused() {
    assert!(Call::get("/health").send().header("x-request-id").is_some_and(|id| !id.is_empty()));
    let _ = Call::get("/health?verbose=1").send().expect_problem(400, "malformed-request");
}
