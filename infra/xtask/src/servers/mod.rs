//! The servers of a stage: preparation, start, readiness, stop.

mod mariadb;
pub mod ministack;
mod mongodb;
mod openid_issuer;
mod redis;

use std::net::{TcpListener, TcpStream};
use std::process::Command;
use std::time::Duration;

use anyhow::{Context, Result, bail};

use crate::files;
use crate::interrupt;
use crate::process::{Process, wait_until};
use crate::progress;
use crate::stage::Stage;
use crate::tools::Tools;

const STARTUP_TIMEOUT: Duration = Duration::from_mins(1);
/// How long a server that is recorded as running may take to answer before it counts as dead.
const PROBE_TIMEOUT: Duration = Duration::from_secs(3);
/// Long enough to write to disk: MiniStack saves its state, MariaDB flushes.
const SHUTDOWN_TIMEOUT: Duration = Duration::from_secs(20);

pub trait Server: Sync {
    fn name(&self) -> &'static str;
    fn port(&self) -> u16;
    /// The environment variable that sets another port.
    fn port_variable(&self) -> &'static str;
    /// Makes the data directory and the configuration that the server starts with. Idempotent.
    fn prepare(&self) -> Result<()>;
    fn command(&self) -> Command;
    /// Whether it answers in its own protocol.
    fn is_ready(&self) -> bool;
}

/// The servers that the stage runs itself, without the user's own.
pub fn of<'a>(stage: &'a Stage, tools: &'a Tools) -> Vec<Box<dyn Server + 'a>> {
    let mut servers: Vec<Box<dyn Server + 'a>> =
        vec![Box::new(ministack::MiniStack { stage, tools }), Box::new(openid_issuer::OpenIdIssuer { stage, tools })];
    if !stage.mysql.is_external {
        servers.push(Box::new(mariadb::MariaDb { stage }));
    }
    if !stage.redis.is_external {
        servers.push(Box::new(redis::Redis { stage }));
    }
    if !stage.mongodb.is_external {
        servers.push(Box::new(mongodb::MongoDb { stage, tools }));
    }
    servers
}

/// The names of all servers, in the order in which they stop: first the one whose functions use the others.
pub const NAMES: [&str; 5] = [ministack::NAME, openid_issuer::NAME, "MariaDB", "Redis", "MongoDB"];

/// The servers that one run started, to be stopped again if it fails later on.
pub struct Started {
    processes: Vec<Process>,
}

impl Started {
    pub fn stop(&self) {
        for process in &self.processes {
            if let Err(error) = process.stop(SHUTDOWN_TIMEOUT) {
                progress::note(&format!("{error:#}"));
            }
        }
    }
}

/// Fails fast where the port of a server that does not run is taken.
pub fn check_ports(stage: &Stage, tools: &Tools) -> Result<()> {
    for server in of(stage, tools) {
        if Process::new(server.name(), &stage.dir).running().is_none() {
            check_port(server.as_ref())?;
        }
    }
    Ok(())
}

/// Starts all servers that do not run, side by side. If one fails, those started here are stopped again.
pub fn start(stage: &Stage, tools: &Tools) -> Result<Started> {
    let servers = of(stage, tools);
    let missing: Vec<&dyn Server> =
        servers.iter().map(AsRef::as_ref).filter(|server| !runs(*server, stage, tools)).collect();
    for server in &missing {
        Process::new(server.name(), &stage.dir).stop(SHUTDOWN_TIMEOUT)?;
        check_port(*server)?;
    }
    let started = Started { processes: missing.iter().map(|server| Process::new(server.name(), &stage.dir)).collect() };
    let results: Vec<Result<()>> = std::thread::scope(|scope| {
        let starting: Vec<_> = missing.iter().map(|server| scope.spawn(|| start_one(*server, stage, tools))).collect();
        starting
            .into_iter()
            .map(|thread| thread.join().unwrap_or_else(|_| bail!("a starting thread panicked")))
            .collect()
    });
    let outcome = results.into_iter().collect::<Result<Vec<()>>>();
    if let Err(error) = outcome {
        started.stop();
        return Err(error);
    }
    Ok(started)
}

/// Stops every server of the stage that a run of this program started.
pub fn stop(stage_dir: &std::path::Path) -> Result<Vec<&'static str>> {
    let mut stopped = Vec::new();
    for name in NAMES {
        if Process::new(name, stage_dir).stop(SHUTDOWN_TIMEOUT)? {
            stopped.push(name);
        }
    }
    Ok(stopped)
}

/// A hash of the command line and the tools: a server that runs with another one is started anew.
fn fingerprint(server: &dyn Server, tools: &Tools) -> String {
    files::fingerprint(format!("{:?} {}", server.command(), tools.stamp()).as_bytes())
}

fn runs(server: &dyn Server, stage: &Stage, tools: &Tools) -> bool {
    let record = Process::new(server.name(), &stage.dir).running();
    record.is_some_and(|record| record.fingerprint == fingerprint(server, tools))
        && wait_until(PROBE_TIMEOUT, || server.is_ready())
}

fn check_port(server: &dyn Server) -> Result<()> {
    let port = server.port();
    TcpListener::bind(("127.0.0.1", port)).map(drop).with_context(|| {
        format!(
            "port {port} for {} is taken by another program: stop that one, or choose another port, for example {}={}",
            server.name(),
            server.port_variable(),
            port.checked_add(1000).unwrap_or(20_000),
        )
    })
}

fn start_one(server: &dyn Server, stage: &Stage, tools: &Tools) -> Result<()> {
    let name = server.name();
    progress::step(&format!("{name} on port {}", server.port()), || {
        server.prepare().with_context(|| format!("{name} could not be set up"))?;
        let process = Process::new(name, &stage.dir);
        let mut child = process.spawn(server.command(), &fingerprint(server, tools))?;
        let mut exited = None;
        wait_until(STARTUP_TIMEOUT, || {
            exited = child.try_wait().ok().flatten();
            exited.is_some() || interrupt::requested() || server.is_ready()
        });
        interrupt::check()?;
        if let Some(status) = exited {
            return Err(
                process.failure(&format!("ended at once ({status})"), "fix what the log says and run `up` again")
            );
        }
        if !server.is_ready() {
            let advice = "look at the whole log; `cargo xtask down --purge` starts over with empty data";
            return Err(process.failure("does not answer", advice));
        }
        Ok(())
    })
}

/// A connection to a local port, with a time limit on every use.
fn connect(port: u16) -> Option<TcpStream> {
    let address = std::net::SocketAddr::from(([127, 0, 0, 1], port));
    let stream = TcpStream::connect_timeout(&address, Duration::from_secs(1)).ok()?;
    stream.set_read_timeout(Some(Duration::from_secs(1))).ok()?;
    Some(stream)
}
