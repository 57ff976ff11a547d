//! CloudWatch Logs: the functions' log lines.

use anyhow::Result;
use serde_json::json;

use super::{Aws, optional};

pub struct LogEvent {
    pub id: String,
    pub milliseconds: i64,
    pub message: String,
}

impl Aws {
    /// The events of a group from a time on, oldest first; none if the function never ran.
    pub fn log_events(&self, group: &str, since_milliseconds: i64) -> Result<Vec<LogEvent>> {
        let mut events = Vec::new();
        let mut body = json!({"logGroupName": group, "startTime": since_milliseconds, "limit": 10_000});
        while let Some(page) = optional(self.json("logs", "Logs_20140328.FilterLogEvents", &body))? {
            let found = page["events"].as_array().into_iter().flatten();
            events.extend(found.filter_map(|event| {
                let (milliseconds, message) = (event["timestamp"].as_i64()?, event["message"].as_str()?.to_owned());
                // MiniStack gives events no id. A function's lines name their request, so this one is unique.
                let id = format!("{} {milliseconds} {message}", event["logStreamName"]);
                Some(LogEvent { id, milliseconds, message })
            }));
            let Some(next) = page["nextToken"].as_str() else { break };
            body["nextToken"] = json!(next);
        }
        Ok(events)
    }
}
