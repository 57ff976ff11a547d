//! Events: what happened, told once to every subscriber.

use serde::{Deserialize, Deserializer, Serialize, de::DeserializeOwned, de::Error as _};
use serde_json::value::RawValue;

/// An event's declaration.
pub trait Event: Serialize + Send + Sync + 'static {
    /// The name that subscriptions filter by, with its version: `order-placed.v1`. A change that a subscriber would notice is
    /// another type; an added member is not.
    const TYPE: &'static str;
}

/// The message of a queue that takes commands and subscribes to events.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Incoming<E, C> {
    /// Something that happened.
    Event(E),
    /// Something that is asked for.
    Command(C),
}

/// Told apart by the member `type`, which only events have.
impl<'de, E: DeserializeOwned, C: DeserializeOwned> Deserialize<'de> for Incoming<E, C> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        #[derive(Deserialize)]
        struct Kind {
            #[serde(rename = "type")]
            event: Option<serde::de::IgnoredAny>,
        }
        let text = Box::<RawValue>::deserialize(deserializer)?;
        let message = match serde_json::from_str(text.get()) {
            Ok(Kind { event: Some(_) }) => serde_json::from_str(text.get()).map(Self::Event),
            _ => serde_json::from_str(text.get()).map(Self::Command),
        };
        message.map_err(D::Error::custom)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[derive(Debug, PartialEq, Eq, Deserialize)]
    #[serde(tag = "type", content = "data")]
    enum Happened {
        #[serde(rename = "a.v1")]
        A(u32),
    }

    #[derive(Debug, PartialEq, Eq, Deserialize)]
    struct Asked {
        to: u32,
    }

    #[test]
    fn an_event_is_told_from_a_command_and_both_from_garbage() {
        let read = serde_json::from_str::<Incoming<Happened, Asked>>;
        assert_eq!(read(r#"{"type":"a.v1","data":7}"#).unwrap(), Incoming::Event(Happened::A(7)));
        assert_eq!(read(r#"{"to":7}"#).unwrap(), Incoming::Command(Asked { to: 7 }));
        for (garbage, reason) in [
            (r#"{"type":"b.v1","data":7}"#, "unknown variant"),
            (r#"{"tu":7}"#, "missing field"),
            ("7", "invalid type"),
        ] {
            assert!(read(garbage).unwrap_err().to_string().contains(reason), "{garbage}");
        }
    }
}
