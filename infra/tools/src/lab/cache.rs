//! The same read with a cold, a warm and a broken Redis; and a cache stampede with and without the guard.

use std::{
    net::TcpListener,
    sync::atomic::{AtomicU32, Ordering},
    thread,
};

use anyhow::Result;

use super::{
    Lab,
    chart::Chart,
    environment::Environment,
    finding::{Finding, Table, unless},
    latencies::{Latencies, rounded},
    load,
};

/// How long the database takes, in milliseconds.
const QUERY: u32 = 10;
/// The same in a stampede: slightly longer than a request takes to arrive.
const STAMPEDE_QUERY: u32 = 60;
const ENVIRONMENTS: u32 = 4;
const CLIENTS: u32 = 32;

pub fn run(lab: &Lab) -> Result<Finding> {
    let reads = reads(lab)?;
    let [cold, warm, broken] = reads.each_ref().map(|(_, latencies)| latencies.p50());
    let [without, with] = [stampede(lab, "off")?, stampede(lab, "on")?];
    let mut rows: Vec<Vec<String>> = reads
        .iter()
        .map(|(name, latencies)| {
            vec![(*name).to_owned(), rounded(latencies.p50()), rounded(latencies.p99()), String::new()]
        })
        .collect();
    for (name, queries) in [("stampede without guard", without), ("stampede with guard", with)] {
        rows.push(vec![name.to_owned(), String::new(), String::new(), rounded(queries)]);
    }
    Ok(Finding {
        title: "The cache: cold, warm, broken, and stormed",
        table: Table { columns: vec!["Redis", "p50 ms", "p99 ms", "queries"], rows },
        charts: vec![
            Chart::bars("A read, in ms (median)", &[("cold", cold), ("warm", warm), ("broken", broken)]),
            Chart::bars(
                "Queries to MySQL when 32 ask at once for what is not cached",
                &[("without guard", without), ("with guard", with)],
            ),
        ],
        seen: format!(
            "A read takes {} ms with a cold cache, {} ms with a warm one and {} ms while Redis hangs and the breaker is open; when {CLIENTS} clients of \
             {ENVIRONMENTS} environments ask for the same cold key, MySQL gets {} queries without the guard and {} with it.",
            rounded(cold),
            rounded(warm),
            rounded(broken),
            rounded(without),
            rounded(with),
        ),
        said: "A cache may make reads faster but must not be needed: bounded timeouts and a breaker keep a broken one from being worse than none, and one \
               reader loads a cold key for all, or the cache's loss becomes the database's.",
        surprise: unless(warm * 2.0 <= cold, || {
            format!("a warm read takes {warm:.1} ms, more than half of a cold one's {cold:.1} ms")
        })
        .or_else(|| {
            unless(broken <= cold * 3.0, || {
                format!("a read takes {broken:.1} ms without Redis, {cold:.1} ms with a cold one")
            })
        })
        .or_else(|| {
            unless(with * 4.0 <= without, || format!("{with:.1} queries with the guard, {without:.1} without"))
        }),
    })
}

fn reads(lab: &Lab) -> Result<[(&'static str, Latencies); 3]> {
    let environment = lab.start("lab-cache", 1, &[])?;
    let read = |environment: &Environment, id| environment.get(&format!("id={id}&milliseconds={QUERY}")).map(drop);
    let same = lab.context.ambient.id();
    read(&environment, same)?;
    let each = load::times(lab.amount(200, 60));
    let cold = load::run(1, &each, |_, _| read(&environment, lab.context.ambient.id()))?;
    let warm = load::run(1, &each, |_, _| read(&environment, same))?;
    let endpoint = format!("redis://{}/0", hanging_server()?);
    let environment = lab.start("lab-cache", 1, &[("SOUK_REDIS_ENDPOINT", endpoint)])?;
    let broken = load::run(1, &each, |_, _| read(&environment, same))?;
    Ok([("cold", cold.latencies), ("warm", warm.latencies), ("broken", broken.latencies)])
}

/// A server that accepts connections and never answers; it ends with this program.
fn hanging_server() -> Result<std::net::SocketAddr> {
    let listener = TcpListener::bind("127.0.0.1:0")?;
    let address = listener.local_addr()?;
    thread::spawn(move || listener.incoming().collect::<Vec<_>>());
    Ok(address)
}

/// The average number of MySQL queries of a cache stampede.
fn stampede(lab: &Lab, guard: &str) -> Result<f64> {
    let running =
        (0..ENVIRONMENTS).map(|_| lab.start("lab-cache", CLIENTS / ENVIRONMENTS, &[])).collect::<Result<Vec<_>>>()?;
    let ask = |query: &str| -> Result<u32> {
        let queries = AtomicU32::new(0);
        load::run(CLIENTS as usize, load::times(1), |client, _| {
            let reply = running[client % running.len()].get(query)?;
            queries.fetch_add(u32::from(reply["cache"] != "hit"), Ordering::Relaxed);
            Ok(())
        })?;
        Ok(queries.into_inner())
    };
    let query = || format!("id={}&guard={guard}&milliseconds={STAMPEDE_QUERY}", lab.context.ambient.id());
    // The first round pays for the connections of new environments.
    ask(&query())?;
    let rounds = lab.amount(10, 4);
    let queries = (0..rounds).map(|_| ask(&query())).sum::<Result<u32>>()?;
    Ok(f64::from(queries) / f64::from(rounds))
}
