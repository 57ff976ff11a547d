//! One environment per concurrent request, as on classic Lambda, against one for all of them: Node's cluster against
//! one process.

use std::time::Duration;

use anyhow::{Context, Result};
use shared::{
    contract::Resource,
    store::{Mysql, Redis, lab as queries},
};

use super::{
    Lab,
    chart::Chart,
    environment::Environment,
    finding::{Finding, Table, unless},
    latencies::rounded,
    load::{self, Load},
};

/// Concurrent requests.
const CLIENTS: u32 = 16;

struct Measured {
    load: Load,
    /// Of all environments together, in MB.
    memory: f64,
    /// To MySQL and Redis.
    connections: [f64; 2],
}

pub async fn run(lab: &Lab) -> Result<Finding> {
    let classic = measure(lab, CLIENTS, 1).await?;
    let managed = measure(lab, 1, CLIENTS).await?;
    let row = |name: &str, measured: &Measured| {
        let Measured { load, memory, connections: [mysql, redis] } = measured;
        let (rate, p99) = (load.per_second(), load.latencies.p99());
        [name.to_owned()]
            .into_iter()
            .chain([rate, p99, *memory].map(rounded))
            .chain([mysql, redis].map(|count| format!("{count:.0}")))
            .collect()
    };
    let percent = |of: fn(&Measured) -> f64| 100.0 * of(&managed) / of(&classic);
    let connections: fn(&Measured) -> f64 = |measured| measured.connections.iter().sum();
    let shares =
        [percent(|measured| measured.load.per_second()), percent(|measured| measured.memory), percent(connections)];
    Ok(Finding {
        title: "One environment for each request, or one for many",
        table: Table {
            columns: vec!["Model", "per second", "p99 ms", "MB", "to MySQL", "to Redis"],
            rows: vec![row("16 × 1", &classic), row("1 × 16", &managed)],
        },
        charts: vec![Chart::bars(
            "What one environment does and takes, in % of what 16 do and take",
            &["requests/s", "memory", "connections"].into_iter().zip(shares).collect::<Vec<_>>(),
        )],
        seen: format!(
            "One environment that serves 16 requests at once answers {:.0} % as many cached reads as 16 environments with one each, in {:.0} % of the \
             memory and with {:.0} of their {:.0} connections.",
            shares[0],
            shares[1],
            connections(&managed),
            connections(&classic),
        ),
        said: "Classic Lambda scales by processes, so a thousand requests at once are a thousand connections, which is what RDS Proxy is for; managed \
               instances scale inside the process first, and then everything that blocks matters.",
        surprise: unless(shares[1] * 3.0 <= 100.0, || format!("it takes {:.0} % of the memory", shares[1]))
            .or_else(|| unless(shares[2] * 2.0 <= 100.0, || format!("it takes {:.0} % of the connections", shares[2])))
            .or_else(|| {
                unless(shares[0] * 4.0 >= 100.0, || format!("it answers only {:.0} % of the requests", shares[0]))
            }),
    })
}

/// Reads a cached value, with the same number of clients for any number of environments.
async fn measure(lab: &Lab, environments: u32, concurrency: u32) -> Result<Measured> {
    let stores = (Mysql::open(&lab.context)?, <Redis>::open(&lab.context)?);
    let before = connections(&stores).await?;
    let running = (0..environments).map(|_| lab.start("lab-cache", concurrency, &[])).collect::<Result<Vec<_>>>()?;
    let query = format!("id={}&milliseconds=1", lab.context.ambient.id());
    let request = |client: usize, _| running[client % running.len()].get(&query).map(drop);
    // The first request fills the cache, the others wait for it; after that every environment has served one.
    load::run(CLIENTS as usize, load::times(5), request)?;
    let time = lab.amount(Duration::from_secs(3), Duration::from_secs(1));
    let load = load::run(CLIENTS as usize, load::during(time), request)?;
    let after = connections(&stores).await?;
    let memory = running.iter().map(Environment::peak_memory).sum::<Result<f64>>()?;
    Ok(Measured { load, memory, connections: [after[0] - before[0], after[1] - before[1]] })
}

async fn connections((mysql, redis): &(Mysql, Redis)) -> Result<[f64; 2]> {
    let (to_mysql, to_redis) = tokio::try_join!(queries::mysql_connections(mysql), queries::redis_connections(redis))?;
    let count = |count: Option<u32>| count.map(f64::from).context("a number of connections");
    Ok([count(u32::try_from(to_mysql).ok())?, count(u32::try_from(to_redis).ok())?])
}
