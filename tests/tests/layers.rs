//! The rooms of `shared` import only from those below them, in the order of the table in its `lib.rs`.

#[path = "../../infra/xtask/src/layers.rs"]
mod layers;

use std::path::Path;

const ENTRY: &str = include_str!("../../shared/src/lib.rs");

#[test]
fn every_room_imports_only_from_rooms_below_it() {
    let violations = layers::violations(Path::new("../shared/src"), ENTRY);
    assert!(violations.is_empty(), "\n{}", violations.join("\n"));
}

#[test]
fn an_import_of_a_higher_room_is_found() {
    let mut sources = layers::sources(Path::new("../shared/src"));
    let before = layers::violations_of(&sources, ENTRY);
    sources.push(layers::Source {
        path: "ambient/planted.rs".into(),
        text: "use crate::{store, api::orders};".to_owned(),
    });
    let mut found = layers::violations_of(&sources, ENTRY);
    found.retain(|violation| !before.contains(violation));
    assert_eq!(
        found,
        ["store", "api"].map(|room| format!("ambient/planted.rs:1: `ambient` imports `{room}`, which is above it"))
    );
}
