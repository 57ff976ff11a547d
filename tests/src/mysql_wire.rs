//! What a client sends to MySQL, read off the wire. The stage encrypts nothing.
//!
//! A packet is its payload's length (3 bytes), a sequence number and the payload; a command begins with number 0.
//! <https://dev.mysql.com/doc/dev/mysql-server/latest/PAGE_PROTOCOL.html>

use std::{
    collections::HashMap,
    sync::{
        Arc, Mutex, PoisonError,
        atomic::{AtomicUsize, Ordering},
    },
    thread,
    time::{Duration, Instant},
};

use shared::environment;

use crate::proxy::{Proxy, Tap};

const COM_QUERY: u8 = 0x03;
const COM_PING: u8 = 0x0e;
const COM_STMT_PREPARE: u8 = 0x16;
const COM_STMT_EXECUTE: u8 = 0x17;

const TIMEOUT: Duration = Duration::from_secs(30);

/// A command of a client.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Command {
    /// A statement as text.
    Query(String),
    Prepare(String),
    /// A prepared statement, by its text.
    Execute(String),
    Ping,
    /// Another one, by its code.
    Other(u8),
}

impl Command {
    /// The statement that the server executes, if it is to execute one.
    #[must_use]
    pub fn statement(&self) -> Option<&str> {
        match self {
            Self::Query(text) | Self::Execute(text) => Some(text),
            Self::Prepare(_) | Self::Ping | Self::Other(_) => None,
        }
    }
}

/// A proxy to the stage's MySQL that records the commands of all its clients.
pub struct MysqlProxy {
    pub proxy: Proxy,
    /// The value of `SOUK_MYSQL_ENDPOINT` that leads through it.
    pub endpoint: String,
    commands: Commands,
    connections: Arc<AtomicUsize>,
}

type Commands = Arc<Mutex<Vec<Command>>>;

impl MysqlProxy {
    /// Starts one.
    ///
    /// # Panics
    /// Without a stage, or when there is no free port.
    #[must_use]
    pub fn start() -> Self {
        let (commands, connections) = (Commands::default(), Arc::new(AtomicUsize::new(0)));
        let (recorded, opened) = (Arc::clone(&commands), Arc::clone(&connections));
        let stage = environment::required("SOUK_MYSQL_ENDPOINT").unwrap();
        let (proxy, endpoint) = Proxy::tapped_before(&stage, move || {
            opened.fetch_add(1, Ordering::Relaxed);
            Connection::new(Arc::clone(&recorded))
        });
        Self { proxy, endpoint, commands, connections }
    }

    /// The commands since the last [`MysqlProxy::clear`]. One that is cut is among them.
    #[must_use]
    pub fn commands(&self) -> Vec<Command> {
        self.commands.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// How many connections there were so far.
    #[must_use]
    pub fn connections(&self) -> usize {
        self.connections.load(Ordering::Relaxed)
    }

    /// Forgets the commands.
    pub fn clear(&self) {
        self.commands.lock().unwrap_or_else(PoisonError::into_inner).clear();
    }

    /// Waits until a connection that was used is back in its pool. Its last command there is a ping, after the rollback of a
    /// transaction that was dropped.
    ///
    /// # Panics
    /// When that does not happen.
    pub fn wait_until_released(&self) {
        let start = Instant::now();
        while self.commands().last() != Some(&Command::Ping) {
            assert!(start.elapsed() < TIMEOUT, "the connection stays in use: {:?}", self.commands());
            thread::sleep(Duration::from_millis(1));
        }
    }
}

/// One connection.
struct Connection {
    commands: Commands,
    client: Packets,
    server: Packets,
    /// The texts of prepared statements, by the numbers that the server gave them.
    prepared: HashMap<u32, String>,
    /// The statement that is being prepared.
    preparing: Option<String>,
}

impl Connection {
    fn new(commands: Commands) -> Self {
        let (client, server) = (Packets::default(), Packets::default());
        Self { commands, client, server, prepared: HashMap::new(), preparing: None }
    }

    fn command(&mut self, payload: &[u8]) -> Option<Command> {
        let (code, content) = payload.split_first()?;
        let text = || String::from_utf8_lossy(content).into_owned();
        Some(match *code {
            COM_QUERY => Command::Query(text()),
            COM_PING => Command::Ping,
            COM_STMT_PREPARE => {
                self.preparing = Some(text());
                Command::Prepare(text())
            }
            COM_STMT_EXECUTE => Command::Execute(self.prepared.get(&number(content)?)?.clone()),
            other => Command::Other(other),
        })
    }

    /// The reply to a statement to be prepared is 0, and then its number; or an error.
    fn reply(&mut self, payload: &[u8]) {
        let Some(text) = self.preparing.take() else { return };
        if let Some((0, content)) = payload.split_first()
            && let Some(id) = number(content)
        {
            self.prepared.insert(id, text);
        }
    }
}

impl Tap for Connection {
    fn see(&mut self, bytes: &[u8], from_client: bool) {
        if from_client {
            for (sequence, payload) in self.client.whole(bytes) {
                // Any other number belongs to the login.
                if sequence == 0
                    && let Some(command) = self.command(&payload)
                {
                    self.commands.lock().unwrap_or_else(PoisonError::into_inner).push(command);
                }
            }
        } else {
            for (_, payload) in self.server.whole(bytes) {
                self.reply(&payload);
            }
        }
    }
}

/// The packets of one direction: bytes that are not a whole one yet.
#[derive(Default)]
struct Packets(Vec<u8>);

impl Packets {
    /// Sequence number and payload of the packets that these bytes complete.
    fn whole(&mut self, bytes: &[u8]) -> Vec<(u8, Vec<u8>)> {
        self.0.extend_from_slice(bytes);
        let mut packets = Vec::new();
        while let [low, middle, high, sequence, rest @ ..] = &self.0[..] {
            let length = usize::from(*low) | usize::from(*middle) << 8 | usize::from(*high) << 16;
            let Some(payload) = rest.get(..length) else { break };
            packets.push((*sequence, payload.to_vec()));
            self.0.drain(..4 + length);
        }
        packets
    }
}

fn number(bytes: &[u8]) -> Option<u32> {
    bytes.first_chunk().map(|bytes| u32::from_le_bytes(*bytes))
}
