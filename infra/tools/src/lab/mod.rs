//! `tools lab`: the experiments of [`shared::lab`], run, measured and drawn.
//!
//! The binaries are those that the stage deploys, run as Lambda runs them ([`runtime_api`]), so that gateway and
//! emulator do not distort the figures. Every experiment checks its expectation with a wide margin; the figures tell
//! how wide.

mod blocking;
mod breaker;
mod cache;
mod chart;
mod cpu;
mod crypto;
mod environment;
mod environments;
mod finding;
mod latencies;
mod load;
mod page;
mod stream;

use std::{
    fs,
    path::{Path, PathBuf},
    time::Instant,
};

use anyhow::{Context, Result, bail};
use lexopt::{Arg, Parser, ValueExt};
use shared::contract::ResourceContext;

use environment::Environment;
use finding::Finding;

/// How often an experiment is repeated that contradicts its expectation: a busy machine may cause that once.
const ATTEMPTS: u32 = 3;

/// The context of all experiments.
pub struct Lab {
    /// The checkout.
    root: PathBuf,
    context: ResourceContext,
    /// Fewer samples: enough to check the expectations, too few for a page to publish.
    is_quick: bool,
}

impl Lab {
    /// Starts one environment of a function with this concurrency.
    fn start(&self, function: &str, concurrency: u32, variables: &[(&str, String)]) -> Result<Environment> {
        Environment::start(&self.root, function, concurrency, variables)
    }

    /// Chooses an amount.
    fn amount<T>(&self, usual: T, quick: T) -> T {
        if self.is_quick { quick } else { usual }
    }
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Experiment {
    Blocking,
    Crypto,
    Cpu,
    Environments,
    Stream,
    Cache,
    Breaker,
}

impl Experiment {
    const ALL: [Self; 7] =
        [Self::Blocking, Self::Crypto, Self::Cpu, Self::Environments, Self::Stream, Self::Cache, Self::Breaker];

    /// The name on the command line: the last part of the endpoint's path, where there is one.
    fn name(self) -> &'static str {
        match self {
            Self::Blocking => "blocking",
            Self::Crypto => "crypto",
            Self::Cpu => "cpu",
            Self::Environments => "environments",
            Self::Stream => "stream",
            Self::Cache => "cache",
            Self::Breaker => "breaker",
        }
    }

    async fn run(self, lab: &Lab) -> Result<Finding> {
        match self {
            Self::Blocking => blocking::run(lab),
            Self::Crypto => crypto::run(lab),
            Self::Cpu => cpu::run(lab),
            Self::Environments => environments::run(lab).await,
            Self::Stream => stream::run(lab),
            Self::Cache => cache::run(lab),
            Self::Breaker => breaker::run(lab),
        }
    }
}

pub async fn run(arguments: &mut Parser) -> Result<()> {
    let (mut chosen, mut is_quick) = (Vec::new(), false);
    while let Some(argument) = arguments.next()? {
        match argument {
            Arg::Long("quick") => is_quick = true,
            Arg::Value(name) => chosen.push(named(&name.string()?)?),
            other => bail!(other.unexpected()),
        }
    }
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("../..").canonicalize()?;
    let lab = Lab { root, context: ResourceContext::system(), is_quick };
    let mut findings = Vec::new();
    for experiment in Experiment::ALL.into_iter().filter(|one| chosen.is_empty() || chosen.contains(one)) {
        let name = experiment.name();
        let finding = find(&lab, experiment).await.with_context(|| format!("the experiment `{name}`"))?;
        findings.push((name, finding));
    }
    let dir = lab.root.join("target/lab");
    fs::create_dir_all(&dir)?;
    // A quick run does not replace the page of a full one.
    let file = lab.amount("index.html", "quick.html");
    fs::write(dir.join(file), page::html(&findings, lab.context.ambient.now())?)?;
    println!("target/lab/{file} shows it");
    let failed: Vec<_> =
        findings.iter().filter(|(_, finding)| finding.surprise.is_some()).map(|(name, _)| *name).collect();
    if failed.is_empty() { Ok(()) } else { bail!("not as expected: {}", failed.join(", ")) }
}

fn named(name: &str) -> Result<Experiment> {
    let names = || Experiment::ALL.map(Experiment::name).join(", ");
    let found = Experiment::ALL.into_iter().find(|experiment| experiment.name() == name);
    found.with_context(|| format!("there is no experiment `{name}`, but: {}", names()))
}

/// Repeats an experiment until its expectation holds, a few times at most, and prints it.
async fn find(lab: &Lab, experiment: Experiment) -> Result<Finding> {
    let mut attempt = 1;
    loop {
        let start = Instant::now();
        let finding = experiment.run(lab).await?;
        println!("{}: {} ({:.1} s)\n", experiment.name(), finding.title, start.elapsed().as_secs_f64());
        println!("{}", finding.to_text());
        if finding.surprise.is_none() || attempt == ATTEMPTS {
            return Ok(finding);
        }
        attempt += 1;
    }
}
