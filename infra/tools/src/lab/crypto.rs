//! Passwords hashed on the reactor, on the blocking pool and on rayon: the effect on other requests of the environment.

use std::{
    sync::atomic::{AtomicBool, Ordering},
    thread,
    time::Duration,
};

use anyhow::{Result, bail};

use super::{
    Lab,
    chart::Chart,
    finding::{Finding, Table, unless},
    latencies::rounded,
    load::{self, Load},
};

const PLACES: [&str; 3] = ["reactor", "blocking-pool", "rayon"];
/// Concurrent logins.
const HASHING: usize = 8;

struct Measured {
    hashing: Load,
    /// Requests that hash nothing.
    others: Load,
    memory: f64,
}

pub fn run(lab: &Lab) -> Result<Finding> {
    let measured = PLACES.into_iter().map(|place| measure(lab, place)).collect::<Result<Vec<_>>>()?;
    let row = |(place, measured): (&str, &Measured)| {
        let Measured { hashing, others, memory } = measured;
        let latencies = &others.latencies;
        vec![
            place.to_owned(),
            rounded(hashing.per_second()),
            rounded(latencies.p50()),
            rounded(latencies.p99()),
            rounded(*memory),
        ]
    };
    let medians: Vec<f64> = measured.iter().map(|measured| measured.others.latencies.p50()).collect();
    let (reactor, pool) = (medians[0], medians[1]);
    Ok(Finding {
        title: "Hashing passwords on the reactor, on the blocking pool, on rayon",
        table: Table {
            columns: vec!["Hashed on", "hashes/s", "others' p50 ms", "others' p99 ms", "peak MB"],
            rows: PLACES.into_iter().zip(&measured).map(row).collect(),
        },
        charts: vec![Chart::bars(
            "What a request that hashes nothing waits, in ms (median)",
            &PLACES.into_iter().zip(medians).collect::<Vec<_>>(),
        )],
        seen: format!(
            "While {HASHING} clients log in again and again, a request that hashes nothing takes {} ms if passwords are hashed on the reactor and {} ms \
             if they are hashed on the blocking pool.",
            rounded(reactor),
            rounded(pool),
        ),
        said: "A hash is slow on purpose and costs the same wherever it is made, so what there is to choose is who waits for it; a pool of threads has \
               nobody wait who did not ask, and wants a bound like libuv's four, since every thread that hashes keeps memory for it.",
        surprise: unless(pool * 2.0 <= reactor, || {
            format!(
                "others wait {pool:.1} ms while the blocking pool hashes, more than half of the {reactor:.1} ms while the reactor does"
            )
        }),
    })
}

fn measure(lab: &Lab, place: &str) -> Result<Measured> {
    let environment = lab.start("lab-crypto", 16, &[])?;
    let hash = |_, _| environment.get(&format!("place={place}")).map(drop);
    let other = |_, _| environment.get("hashes=0").map(drop);
    load::run(HASHING, load::times(1), hash)?;
    let is_over = AtomicBool::new(false);
    let (hashing, others) = thread::scope(|scope| {
        let hashing = scope.spawn(|| load::run(HASHING, |_| !is_over.load(Ordering::Relaxed), hash));
        let others = load::run(1, load::during(lab.amount(Duration::from_secs(3), Duration::from_millis(1500))), other);
        is_over.store(true, Ordering::Relaxed);
        (hashing.join().unwrap_or_else(|_| bail!("a client panicked")), others)
    });
    Ok(Measured { hashing: hashing?, others: others?, memory: environment.peak_memory()? })
}
