//! A blocking handler against a non-blocking one, in one environment with concurrent requests.

use anyhow::Result;

use super::{
    Lab,
    chart::{Axis, Chart, Line},
    finding::{Finding, Table, unless},
    latencies::{Latencies, rounded},
    load,
};

/// Concurrent requests, and the concurrency of the environment.
const CONCURRENCIES: [u32; 5] = [1, 2, 4, 8, 16];
/// How long each handler waits, in milliseconds.
const WAIT: u32 = 20;

pub fn run(lab: &Lab) -> Result<Finding> {
    let (blocking, non_blocking) = (measure(lab, "lab-blocking")?, measure(lab, "lab-non-blocking")?);
    let row = |name: &str, (at_once, latencies): (u32, &Latencies)| {
        vec![format!("{name}, {at_once} at once"), rounded(latencies.p50()), rounded(latencies.p99())]
    };
    let rows = |name: &'static str, all: &[Latencies]| -> Vec<Vec<String>> {
        CONCURRENCIES.into_iter().zip(all).map(|point| row(name, point)).collect()
    };
    let line = |name, all: &[Latencies]| {
        Line::marked(name, CONCURRENCIES.into_iter().map(f64::from).zip(all.iter().map(Latencies::p99)).collect())
    };
    let [slow, fast] = [&blocking, &non_blocking].map(|all| all.last().map_or(f64::NAN, Latencies::p99));
    Ok(Finding {
        title: "A blocking handler against a non-blocking one",
        table: Table {
            columns: vec!["Handler", "p50 ms", "p99 ms"],
            rows: [rows("blocking", &blocking), rows("non-blocking", &non_blocking)].concat(),
        },
        charts: vec![Chart::lines(
            "The slowest request in a hundred, by how many there are at once",
            Axis { name: "requests at once", end: 16.0 },
            Axis { name: "ms", end: slow * 1.1 },
            vec![line("blocking", &blocking), line("non-blocking", &non_blocking)],
        )],
        seen: format!(
            "Both handlers wait {WAIT} ms, but of 16 requests at once in one environment the slowest take {} ms with the blocking one and {} ms \
             with the other.",
            rounded(slow),
            rounded(fast),
        ),
        said: "An environment that serves several requests at once has them share a few threads, so whoever blocks one makes strangers wait: await, \
               or leave the thread; classic Lambda, with one request at a time, only hides the mistake.",
        surprise: unless(fast * 4.0 <= slow, || {
            format!(
                "p99 at 16 requests at once is {fast:.0} ms without blocking, more than a quarter of {slow:.0} ms with it"
            )
        }),
    })
}

/// Latencies by the number of concurrent requests.
fn measure(lab: &Lab, function: &str) -> Result<Vec<Latencies>> {
    let environment = lab.start(function, 16, &[])?;
    let request = |_, _| environment.get(&format!("milliseconds={WAIT}")).map(drop);
    load::run(16, load::times(1), request)?;
    let each = load::times(lab.amount(15, 6));
    CONCURRENCIES.into_iter().map(|clients| Ok(load::run(clients as usize, &each, request)?.latencies)).collect()
}
