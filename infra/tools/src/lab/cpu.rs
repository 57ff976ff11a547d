//! The sales report's sums on one thread and on several, beside Amdahl's law.

use std::{
    num::NonZero,
    thread,
    time::{Duration, Instant},
};

use anyhow::{Context, Result, bail};
use serde_json::Value;
use shared::lab::cpu::amdahl;

use super::{
    Lab,
    chart::{Axis, Chart, Line},
    environment::Environment,
    finding::{Finding, Table, unless},
};

/// Small enough that some attempts are undisturbed.
const ORDERS: u32 = 25_000;

/// The shortest durations of the parts, in milliseconds.
#[derive(Clone, Copy)]
struct Times {
    serial: f64,
    parallel: f64,
}

impl Times {
    fn total(self) -> f64 {
        self.serial + self.parallel
    }
}

pub fn run(lab: &Lab) -> Result<Finding> {
    let cores = thread::available_parallelism().map_or(1, NonZero::get);
    let Measured { best, given } = measure(lab, cores)?;
    let one = best[0];
    let parallel = one.parallel / one.total();
    let threads: Vec<f64> = (1..=u32::try_from(cores)?).map(f64::from).collect();
    let speed_up = |times: &Times| one.total() / times.total();
    let row = |(threads, times): (&f64, &Times)| {
        let speed_ups = [speed_up(times), amdahl(parallel, *threads)].map(|speed_up| format!("{speed_up:.2}"));
        let [serial, parallel] = [times.serial, times.parallel].map(|time| format!("{time:.1}"));
        let [found, expected] = speed_ups;
        vec![threads.to_string(), serial, parallel, found, expected]
    };
    let most = u32::try_from(cores)?.max(8);
    let law = (1..=most).map(|threads| (f64::from(threads), amdahl(parallel, threads.into()))).collect();
    let (last, ceiling) = (speed_up(&best[cores - 1]), 1.0 / (1.0 - parallel));
    let expected = amdahl(parallel, threads[cores - 1]);
    Ok(Finding {
        title: "A computation on one thread and on more",
        table: Table {
            columns: vec!["Threads", "serial ms", "parallel ms", "speed-up", "Amdahl"],
            rows: threads.iter().zip(&best).map(row).collect(),
        },
        charts: vec![Chart::lines(
            "How many times as fast, by the number of threads",
            Axis { name: "threads", end: most.into() },
            Axis { name: "times as fast", end: amdahl(parallel, most.into()) * 1.15 },
            vec![
                Line::marked("measured", threads.iter().copied().zip(best.iter().map(speed_up)).collect()),
                Line::plain("Amdahl's law", law),
            ],
        )],
        seen: if cores == 1 {
            "This machine has one core, so there is nothing to see but what Amdahl's law would give on more.".to_owned()
        } else {
            format!(
                "Of adding up 25,000 orders {:.0} % can be shared; {cores} threads make it {last:.2} times as fast, where Amdahl's \
                 law gives {expected:.2}, and no number of threads makes it more than {ceiling:.0} times as fast.",
                parallel * 100.0,
            )
        },
        said: "rayon is what worker threads are in Node, without copies between them; on Lambda cores are bought as memory, so measure the serial part \
               before buying.",
        surprise: best.get(1).and_then(|two| {
            let found = speed_up(two);
            unless(found >= least(given), || {
                format!("two threads are only {found:.2} times as fast as one, where two environments do {given:.2} times the work")
            })
        }),
    })
}

/// The least speedup of two threads over one. 1.3 where the machine gives two environments twice the work of one; less
/// where other programs use its cores, down to 0.8 where they use a whole one and threads only wait for each other.
fn least(given: f64) -> f64 {
    0.8 + 0.5 * (given - 1.0)
}

struct Measured {
    /// For 1, 2, … threads.
    best: Vec<Times>,
    /// The speedup of two concurrent environments over one: 2 with two cores to themselves.
    given: f64,
}

/// The best of several attempts. They take turns, so that any other load disturbs all of them alike.
fn measure(lab: &Lab, cores: usize) -> Result<Measured> {
    let start = || lab.start("lab-cpu", 1, &[]);
    let environments = [start()?, start()?];
    let mut best = vec![Times { serial: f64::MAX, parallel: f64::MAX }; cores];
    let (mut alone, mut together) = (Duration::MAX, Duration::MAX);
    for _ in 0..lab.amount(40, 20) {
        for (index, best) in best.iter_mut().enumerate() {
            let reply = environments[0].get(&format!("threads={}&orders={ORDERS}", index + 1))?;
            let times = Times { serial: part(&reply, "serial")?, parallel: part(&reply, "parallel")? };
            *best = Times { serial: best.serial.min(times.serial), parallel: best.parallel.min(times.parallel) };
        }
        alone = alone.min(time(&environments[..1])?);
        together = together.min(time(&environments)?);
    }
    Ok(Measured { best, given: 2.0 * alone.as_secs_f64() / together.as_secs_f64() })
}

/// How long all of them take for one thread's work each, concurrently.
fn time(environments: &[Environment]) -> Result<Duration> {
    let start = Instant::now();
    let replies: Result<Vec<Value>> = thread::scope(|scope| {
        let call =
            |environment| scope.spawn(move || Environment::get(environment, &format!("threads=1&orders={ORDERS}")));
        let calls: Vec<_> = environments.iter().map(call).collect();
        calls.into_iter().map(|call| call.join().unwrap_or_else(|_| bail!("a client panicked"))).collect()
    });
    replies.map(|_| start.elapsed())
}

fn part(reply: &Value, name: &str) -> Result<f64> {
    let microseconds = reply[format!("{name}Microseconds")].as_f64();
    Ok(microseconds.with_context(|| format!("no time of the {name} part"))? / 1e3)
}
