//! `cargo xtask logs`: the functions' JSON log lines, each shortened to one line.

use std::collections::HashSet;
use std::time::Duration;

use anyhow::{Result, bail};
use serde_json::Value;

use crate::aws::{Aws, LogEvent};
use crate::progress::say;
use crate::stack_deploy::function_name;
use crate::stage::Stage;

/// Keys that have their own place in the line, or only matter to a machine.
const OMITTED_KEYS: [&str; 9] = [
    "_aws",
    "timestamp",
    "level",
    "message",
    "service",
    "function_name",
    "fields",
    "function_request_id",
    "xray_trace_id",
];

/// How often `--follow` asks for new lines.
const POLL_INTERVAL: Duration = Duration::from_secs(1);

/// Which log lines.
#[derive(Debug, Default, PartialEq, Eq)]
pub struct Selection {
    pub function: Option<String>,
    pub follow: bool,
    /// Only those of the trace with this id.
    pub trace: Option<String>,
}

pub fn logs(stage: &Stage, selection: &Selection) -> Result<()> {
    let aws = Aws::of(stage);
    let all = stage.workspace.functions()?;
    let functions = match selection.function.as_deref() {
        None => all,
        Some(name) if all.iter().any(|known| known == name) => vec![name.to_owned()],
        Some(name) => bail!("there is no function `{name}`; there are: {}", all.join(", ")),
    };
    let mut since = 0;
    let mut seen = HashSet::new();
    loop {
        let mut events = Vec::new();
        for name in &functions {
            let found = aws.log_events(&format!("/aws/lambda/{}", function_name(name)), since)?;
            events.extend(found.into_iter().map(|event| (name.as_str(), event)));
        }
        // Stable: lines of one function and millisecond stay in the order in which they were written.
        events.sort_by_key(|(_, event)| event.milliseconds);
        for (name, event) in events {
            since = since.max(event.milliseconds);
            let is_wanted = is_from_function(&event.message) && is_of(&event.message, selection.trace.as_deref());
            if seen.insert(event.id.clone()) && is_wanted {
                say!("{}", line(name, &event));
            }
        }
        if !selection.follow {
            return Ok(());
        }
        std::thread::sleep(POLL_INTERVAL);
    }
}

/// Lambda frames a function's lines with lines of its own.
fn is_from_function(message: &str) -> bool {
    !["START RequestId:", "END RequestId:", "REPORT RequestId:"].iter().any(|start| message.starts_with(start))
}

/// Whether a line belongs to a trace; without one, every line does.
fn is_of(message: &str, trace: Option<&str>) -> bool {
    let of_trace = |trace| serde_json::from_str::<Value>(message).is_ok_and(|entry| entry["trace_id"] == trace);
    trace.is_none_or(of_trace)
}

/// `12:34:56.789 INFO  orders-place  message  key=value …`
fn line(function: &str, event: &LogEvent) -> String {
    let time = time_of_day(event.milliseconds);
    let Ok(Value::Object(entry)) = serde_json::from_str::<Value>(&event.message) else {
        return format!("{time}       {function}  {}", event.message.trim_end());
    };
    let text = |key: &str| entry.get(key).map(plain).unwrap_or_default();
    let fields = entry.get("fields").and_then(Value::as_object).into_iter().flatten();
    let rest = fields.chain(&entry).filter(|(key, value)| !OMITTED_KEYS.contains(&key.as_str()) && !value.is_null());
    let rest: Vec<String> = rest.map(|(key, value)| format!("{key}={}", plain(value))).collect();
    format!("{time} {:<5} {function}  {}  {}", text("level"), text("message"), rest.join(" "))
}

fn plain(value: &Value) -> String {
    match value {
        Value::String(text) => text.clone(),
        Value::Number(number) if number.is_f64() => format!("{:.2}", number.as_f64().unwrap_or_default()),
        other => other.to_string(),
    }
}

/// In UTC, as everywhere in the logs.
fn time_of_day(milliseconds: i64) -> String {
    let of_day = milliseconds.rem_euclid(86_400_000);
    let seconds = of_day / 1000;
    format!("{:02}:{:02}:{:02}.{:03}", seconds / 3600, seconds / 60 % 60, seconds % 60, of_day % 1000)
}

#[cfg(test)]
mod tests {
    use super::{LogEvent, is_of, line};

    fn shown(message: &str) -> String {
        line(
            "health",
            &LogEvent { id: "1".to_owned(), milliseconds: 86_400_000 + 3_723_004, message: message.to_owned() },
        )
    }

    #[test]
    fn an_entry_becomes_one_line() {
        let entry = r#"{"level":"INFO","message":"GET /health","service":"souk","status":200,"latency_ms":0.17750400000000002,"route":"GET /health","x":null}"#;
        assert_eq!(
            shown(entry),
            "01:02:03.004 INFO  health  GET /health  latency_ms=0.18 route=GET /health status=200"
        );
    }

    #[test]
    fn a_trace_has_the_lines_that_name_it_and_no_others() {
        let entry = r#"{"message":"order abc","trace_id":"def"}"#;
        assert!(
            is_of(entry, None) && is_of(entry, Some("def")) && !is_of(entry, Some("abc")) && !is_of("def", Some("def"))
        );
    }

    #[test]
    fn text_without_json_is_shown_as_it_is() {
        assert_eq!(shown("thread panicked\n"), "01:02:03.004       health  thread panicked");
    }
}
