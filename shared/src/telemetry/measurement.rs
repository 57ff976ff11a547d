//! Metrics in CloudWatch's embedded metric format.

use serde_json::{Value, json};

use crate::{ambient::Ambient, environment};

/// Records a metric as one log line, by deployment (dimension `stage`). CloudWatch extracts the metric; no API is
/// called.
pub fn measure(name: &str, unit: &str, value: f64, ambient: &Ambient) {
    let namespace = environment::optional(environment::METRICS_NAMESPACE).unwrap_or_else(|| "souk".into());
    let stage = environment::optional(environment::STAGE).unwrap_or_default();
    println!("{}", metric(&namespace, &stage, (name, unit, value), ambient));
}

fn metric(namespace: &str, stage: &str, (name, unit, value): (&str, &str, f64), ambient: &Ambient) -> Value {
    json!({
        "_aws": {
            "Timestamp": u64::try_from(ambient.now().unix_timestamp_nanos() / 1_000_000).unwrap_or_default(),
            "CloudWatchMetrics": [{
                "Namespace": namespace,
                "Dimensions": [["stage"]],
                "Metrics": [{ "Name": name, "Unit": unit }],
            }],
        },
        "stage": stage,
        name: value,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_metric_names_its_dimension_and_its_value_beside_the_metadata() {
        let line = metric("souk", "local", ("OutboxLagSeconds", "Seconds", 1.5), &Ambient::system());
        let declared = &line["_aws"]["CloudWatchMetrics"][0];
        assert_eq!(declared["Dimensions"], json!([["stage"]]));
        assert_eq!(declared["Metrics"], json!([{ "Name": "OutboxLagSeconds", "Unit": "Seconds" }]));
        assert_eq!((&line["stage"], &line["OutboxLagSeconds"]), (&json!("local"), &json!(1.5)));
        assert!(line["_aws"]["Timestamp"].as_u64().unwrap() > 1_700_000_000_000);
    }
}
