//! The keys of the stage's access tokens and the state of their rotation, kept in `token-keys.json`.
//!
//! A new key waits as `next` until its public half is everywhere. So every function accepts the key in `signing` at any
//! moment, and a run that died can be continued from the file.

use std::collections::BTreeMap;
use std::fs;
use std::path::PathBuf;

use anyhow::{Context, Result};
use serde_json::{Value, json};

use crate::files;
use crate::stage::Stage;

/// Retention of a replaced key, in seconds. Its last token expires 20 minutes after it was replaced (`docs/KEYS.md`).
const RETENTION_SECONDS: u64 = 60 * 60;

pub struct TokenKeys {
    /// The private key that signs, as the functions read it from its secret.
    pub signing: Value,
    /// The private key that will sign as soon as its public half has been handed out.
    next: Option<Value>,
    /// The public keys that are accepted, the newest first.
    public: Vec<Value>,
    /// When a key was replaced: its id, and seconds since 1970.
    replaced: BTreeMap<String, u64>,
    /// Whether the old keys go as soon as no function signs with them.
    drops_old: bool,
}

impl TokenKeys {
    /// Where a stage keeps them.
    pub fn path(stage: &Stage) -> PathBuf {
        stage.dir.join("token-keys.json")
    }

    /// Reads a stage's keys.
    pub fn read(stage: &Stage) -> Result<Self> {
        let path = Self::path(stage);
        let text = fs::read_to_string(&path).with_context(|| format!("cannot read {}", path.display()))?;
        Self::of_text(&text).with_context(|| format!("{} is damaged: remove it and run `up` again", path.display()))
    }

    pub fn save(&self, stage: &Stage) -> Result<()> {
        files::write_private(&Self::path(stage), &self.to_text())
    }

    /// Parses `token-keys.json`, or the output of `tools keys new`: a key that was never replaced.
    pub fn of_text(text: &str) -> Option<Self> {
        let value: Value = serde_json::from_str(text).ok()?;
        let next = &value["nextSigningKey"];
        let replaced = value["replacedAt"].as_object().into_iter().flatten();
        let keys = Self {
            signing: value["signingKey"].clone(),
            next: (!next.is_null()).then(|| next.clone()),
            public: value["publicKeys"]["keys"].as_array()?.clone(),
            replaced: replaced.map(|(id, at)| Some((id.clone(), at.as_u64()?))).collect::<Option<_>>()?,
            drops_old: value["dropsOld"] == true,
        };
        let is_complete = keys.signing["kid"].is_string() && keys.public.iter().all(|key| key["kid"].is_string());
        is_complete.then_some(keys)
    }

    pub fn to_text(&self) -> String {
        let mut value = json!({
            "signingKey": self.signing,
            "publicKeys": {"keys": self.public},
            "replacedAt": self.replaced,
            "dropsOld": self.drops_old,
        });
        if let Some(next) = &self.next {
            value["nextSigningKey"] = next.clone();
        }
        value.to_string()
    }

    /// The key set that verifies tokens (RFC 7517).
    pub fn key_set(&self) -> String {
        json!({"keys": self.public}).to_string()
    }

    pub fn signing_id(&self) -> &str {
        id(&self.signing)
    }

    /// The ids of the keys that are accepted.
    pub fn accepted_ids(&self) -> Vec<&str> {
        self.public.iter().map(id).collect()
    }

    /// Whether a rotation has begun and not ended.
    pub fn is_unfinished(&self) -> bool {
        self.next.is_some() || self.drops_old
    }

    pub fn has_next(&self) -> bool {
        self.next.is_some()
    }

    pub fn drops_old(&self) -> bool {
        self.drops_old
    }

    /// Accepts a new key, which does not sign yet, and drops keys whose retention is over.
    pub fn accept(&mut self, new: Self, now: u64) {
        let is_fresh = |key: &Value| self.replaced.get(id(key)).is_none_or(|at| now < at + RETENTION_SECONDS);
        let kept: Vec<Value> = self.public.iter().filter(|key| is_fresh(key)).cloned().collect();
        self.public = new.public.into_iter().chain(kept).collect();
        self.replaced.retain(|replaced, _| self.public.iter().any(|key| id(key) == replaced));
        self.next = Some(new.signing);
    }

    /// From now on the next key signs.
    pub fn promote(&mut self, now: u64) {
        if let Some(next) = self.next.take() {
            let old = std::mem::replace(&mut self.signing, next);
            self.replaced.insert(id(&old).to_owned(), now);
        }
    }

    /// Drops the old keys at the end of this rotation.
    pub fn plan_to_drop_old(&mut self) {
        self.drops_old = true;
    }

    /// From now on only the key that signs is accepted.
    pub fn drop_old(&mut self) {
        let signing = id(&self.signing).to_owned();
        self.public.retain(|key| id(key) == signing);
        self.replaced.clear();
        self.drops_old = false;
    }
}

/// The id of a private or public key.
fn id(key: &Value) -> &str {
    key["kid"].as_str().unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::{RETENTION_SECONDS, TokenKeys};

    const NOW: u64 = 1_800_000_000;

    /// The output of `tools keys new`.
    fn new(id: &str) -> TokenKeys {
        let text =
            json!({"signingKey": {"kid": id, "privateKey": "p"}, "publicKeys": {"keys": [{"kid": id, "x": "x"}]}});
        TokenKeys::of_text(&text.to_string()).unwrap()
    }

    fn rotate(keys: &mut TokenKeys, id: &str, now: u64) {
        keys.accept(new(id), now);
        keys.promote(now);
    }

    #[test]
    fn a_new_key_is_accepted_before_it_signs() {
        let mut keys = new("a");
        keys.accept(new("b"), NOW);
        assert_eq!((keys.signing_id(), keys.accepted_ids()), ("a", vec!["b", "a"]));
        assert!(keys.is_unfinished());
        keys.promote(NOW);
        assert_eq!((keys.signing_id(), keys.accepted_ids()), ("b", vec!["b", "a"]));
        assert!(!keys.is_unfinished());
    }

    #[test]
    fn a_key_goes_an_hour_after_it_was_replaced() {
        let mut keys = new("a");
        rotate(&mut keys, "b", NOW);
        rotate(&mut keys, "c", NOW + RETENTION_SECONDS - 1);
        assert_eq!(keys.accepted_ids(), ["c", "b", "a"]);
        rotate(&mut keys, "d", NOW + RETENTION_SECONDS);
        assert_eq!(keys.accepted_ids(), ["d", "c", "b"], "b signed until a second ago");
    }

    #[test]
    fn the_key_that_signs_stays_however_old_it_is() {
        let mut keys = new("a");
        rotate(&mut keys, "b", NOW + 1000 * RETENTION_SECONDS);
        assert_eq!(keys.accepted_ids(), ["b", "a"]);
    }

    #[test]
    fn dropping_the_old_keys_leaves_the_one_that_signs() {
        let mut keys = new("a");
        rotate(&mut keys, "b", NOW);
        keys.plan_to_drop_old();
        assert!(keys.is_unfinished());
        keys.drop_old();
        assert_eq!((keys.signing_id(), keys.accepted_ids()), ("b", vec!["b"]));
        assert!(!keys.is_unfinished());
    }

    #[test]
    fn the_file_remembers_where_a_rotation_stopped() {
        let mut keys = new("a");
        rotate(&mut keys, "b", NOW);
        keys.accept(new("c"), NOW + 1);
        keys.plan_to_drop_old();
        let mut read = TokenKeys::of_text(&keys.to_text()).unwrap();
        assert_eq!(read.to_text(), keys.to_text());
        assert!(read.drops_old());
        read.promote(NOW + 2);
        assert_eq!((read.signing_id(), read.accepted_ids()), ("c", vec!["c", "b", "a"]));
    }

    #[test]
    fn a_damaged_key_file_is_refused() {
        for text in ["", "{}", r#"{"signingKey":{"kid":"a"}}"#, r#"{"signingKey":null,"publicKeys":{"keys":[]}}"#] {
            assert!(TokenKeys::of_text(text).is_none(), "{text}");
        }
    }
}
