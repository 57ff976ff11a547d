//! The lab: every experiment confirms its expectation, and its endpoints bound what a request may cost.
//!
//! A program of its own, since other tests would disturb the figures; and one test at a time.

use std::{fs, process::Command, sync::Mutex};

use serde_json::{Value, json};
use tests::{Call, template::repository};

static ALONE: Mutex<()> = Mutex::new(());

/// The experiments check their expectations themselves, with a wide margin.
#[test]
fn every_experiment_shows_its_idea_and_their_page_asks_nobody_for_anything() {
    let _alone = ALONE.lock();
    // Beside this program, which is in `deps`.
    let this = std::env::current_exe().unwrap();
    let tools = this.parent().unwrap().parent().unwrap().join("tools");
    let output = Command::new(tools).args(["lab", "--quick"]).output().unwrap();
    let (printed, complaint) = (String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr));
    println!("{printed}");
    assert!(output.status.success(), "{complaint}");

    let page = fs::read_to_string(repository().join("target/lab/quick.html")).unwrap();
    let experiments = ["blocking", "crypto", "cpu", "environments", "stream", "cache", "breaker"];
    for name in experiments {
        assert!(page.contains(&format!("<section id=\"{name}\">")), "{name} is not on the page");
    }
    assert_eq!(page.matches("<section").count(), experiments.len());
    assert!(page.matches("<svg").count() >= experiments.len());
    let without_namespace = page.replace("xmlns=\"http://www.w3.org/2000/svg\"", "");
    for foreign in ["http:", "https:", "//", "<script", "src=", "url(", "@import", "<iframe", "<object"] {
        assert!(!without_namespace.contains(foreign), "the page has {foreign:?} in it");
    }
    let mut links = page.split("href=\"").skip(1);
    assert!(links.all(|link| link.starts_with('#') || link.starts_with("data:,")));
}

#[test]
fn nobody_can_ask_much_of_the_lab() {
    let _alone = ALONE.lock();
    for (path, refused) in [
        ("blocking", ["milliseconds=1001", "milliseconds=-1", "wait=1"]),
        ("non-blocking", ["milliseconds=1001", "milliseconds=100000", "wait=1"]),
        ("crypto", ["hashes=5", "place=moon", "hashes=-1"]),
        ("cpu", ["threads=0", "threads=10000", "orders=200001"]),
        ("cache", ["milliseconds=1001", "id=1", "guard=maybe"]),
        ("stream", ["rows=1000001", "rows=-1", "mode=later"]),
        ("breaker", ["protection=prayer", "milliseconds=1", "hashes=1"]),
    ] {
        for query in refused {
            let reply = Call::get(format!("/v1/lab/{path}?{query}")).send();
            assert!(matches!(reply.status, 400 | 422), "{path} with {query}: {reply:?}");
        }
    }
}

#[test]
fn what_the_lab_is_asked_for_it_does() {
    let _alone = ALONE.lock();
    let get = |path: &str| Call::get(format!("/v1/lab/{path}")).send().expect(200).json();
    assert_eq!(get("blocking?milliseconds=1")["milliseconds"], 1);
    assert_eq!(get("non-blocking?milliseconds=1000")["milliseconds"], 1000);
    assert_eq!(get("crypto?place=rayon&hashes=2")["hashes"], 2);
    assert_eq!(get("cpu?orders=1234")["orders"], 1234);
    let cached = format!("cache?id={}&milliseconds=1", tests::people::new_key());
    assert_eq!([get(&cached)["cache"].clone(), get(&cached)["cache"].clone()], ["miss", "hit"]);
    for mode in ["stream", "buffer"] {
        let reply = Call::get(format!("/v1/lab/stream?rows=2&mode={mode}")).send().expect(200);
        let lines: Vec<Value> = reply.text.lines().map(|line| serde_json::from_str(line).unwrap()).collect();
        assert_eq!(lines.len(), 3, "{reply:?}");
        assert_eq!((&lines[1]["number"], &lines[2]), (&json!(2), &json!({ "type": "end", "rows": 2 })));
    }
    assert_eq!(get("breaker?protection=none")["ended"], "hung-up");
    assert_eq!(get("breaker?protection=timeout")["ended"], "timed-out");
}
