//! A dependency that hangs, called without protection, with a timeout, and with a timeout and a breaker.

use std::{
    thread,
    time::{Duration, Instant},
};

use anyhow::{Result, bail};

use super::{
    Lab,
    chart::{Axis, Chart, Line},
    finding::{Finding, Table, unless},
    latencies::{Latencies, milliseconds, rounded},
};

const PROTECTIONS: [&str; 3] = ["none", "timeout", "breaker"];

pub fn run(lab: &Lab) -> Result<Finding> {
    let requests = lab.amount(12, 8);
    // Concurrently, since all of them only wait.
    let measured: Result<Vec<Vec<Duration>>> = thread::scope(|scope| {
        let threads = PROTECTIONS.map(|protection| scope.spawn(move || call(lab, protection, requests)));
        threads.into_iter().map(|thread| thread.join().unwrap_or_else(|_| bail!("a client panicked"))).collect()
    });
    let measured = measured?;
    let totals: Vec<f64> = measured.iter().map(|times| milliseconds(times.iter().sum())).collect();
    let row = |((protection, times), total): ((&str, &Vec<Duration>), &f64)| {
        let latencies = Latencies::new(times.clone());
        let figures = [latencies.p50(), latencies.p99(), *total].map(rounded);
        [protection.to_owned()].into_iter().chain(figures).collect()
    };
    let line = |(name, times): (&'static str, &Vec<Duration>)| {
        Line::marked(name, (1_u32..).map(f64::from).zip(times.iter().copied().map(milliseconds)).collect())
    };
    let [none, timeout, breaker] = totals[..] else { bail!("not three measurements") };
    let slowest = measured[0].iter().copied().max().map_or(f64::NAN, milliseconds);
    Ok(Finding {
        title: "A dependency that hangs",
        table: Table {
            columns: vec!["Protection", "p50 ms", "p99 ms", "all ms"],
            rows: PROTECTIONS.into_iter().zip(&measured).zip(&totals).map(row).collect(),
        },
        charts: vec![Chart::lines(
            "How long each request waits, one after the other",
            Axis { name: "request", end: f64::from(requests) },
            Axis { name: "ms", end: slowest * 1.15 },
            PROTECTIONS.into_iter().zip(&measured).map(line).collect(),
        )],
        seen: format!(
            "{requests} requests to a dependency that hangs for half a second lose {} ms without protection, {} ms with a timeout, and {} ms with a \
             breaker, which lets only the first three wait.",
            rounded(none),
            rounded(timeout),
            rounded(breaker),
        ),
        said: "A timeout bounds what one request loses and a breaker bounds what all of them lose together; on Lambda both save money too, since waiting is \
               billed and every request that waits needs an environment of its own.",
        surprise: unless(timeout * 2.0 <= none, || format!("{timeout:.0} ms with a timeout, {none:.0} ms without"))
            .or_else(|| {
                unless(breaker * 1.5 <= timeout, || format!("{breaker:.0} ms with a breaker, {timeout:.0} ms without"))
            }),
    })
}

fn call(lab: &Lab, protection: &str, requests: u32) -> Result<Vec<Duration>> {
    let environment = lab.start("lab-breaker", 1, &[])?;
    let request = |_| {
        let sent = Instant::now();
        environment.get(&format!("protection={protection}"))?;
        Ok(sent.elapsed())
    };
    (0..requests).map(request).collect()
}
