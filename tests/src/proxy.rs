//! A TCP proxy for fault injection: it stops an exchange at a chosen point, so that a process can be killed exactly
//! there; it hangs up; it counts.
//!
//! The unit is an exchange: the client's first bytes after the server has spoken begin the next one. That is a
//! statement for MySQL, a request for HTTP.

use std::{
    io::{Read, Write},
    net::{Shutdown, TcpListener, TcpStream},
    sync::{
        Arc, Condvar, Mutex, MutexGuard, PoisonError,
        atomic::{AtomicBool, AtomicUsize, Ordering},
        mpsc::{self, Receiver, Sender},
    },
    thread,
};

/// The point at which an exchange is cut.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Cut {
    /// The server never gets the request.
    BeforeRequest,
    /// The server has executed the request, and the client never gets the reply.
    BeforeReply,
}

/// A proxy to one server.
pub struct Proxy {
    pub port: u16,
    state: Arc<State>,
}

struct State {
    inner: Mutex<Inner>,
    changed: Condvar,
    clients: Mutex<Vec<TcpStream>>,
    /// All exchanges so far, counted per connection.
    exchanges: AtomicUsize,
}

struct Inner {
    exchanges: usize,
    /// The client's next bytes begin another exchange.
    server_spoke: bool,
    cut: Option<(usize, Cut)>,
    reached: Option<Sender<()>>,
}

impl Proxy {
    /// A proxy to a local port.
    ///
    /// # Panics
    /// When there is no free port.
    #[must_use]
    pub fn to(port: u16) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let own = listener.local_addr().unwrap().port();
        let inner = Inner { exchanges: 0, server_spoke: true, cut: None, reached: None };
        let (inner, changed) = (Mutex::new(inner), Condvar::new());
        let state = Arc::new(State { inner, changed, clients: Mutex::default(), exchanges: AtomicUsize::new(0) });
        let shared = Arc::clone(&state);
        // Runs until the test run ends.
        thread::spawn(move || {
            for client in listener.incoming().map_while(Result::ok) {
                let Ok(server) = TcpStream::connect(("127.0.0.1", port)) else { continue };
                carry(&client, &server, &shared);
            }
        });
        Self { port: own, state }
    }

    /// Cuts the exchange with this number, counted from 0 from now on. The receiver is signalled when it is reached.
    #[must_use]
    pub fn cut(&self, exchange: usize, cut: Cut) -> Receiver<()> {
        let (reached, hears) = mpsc::channel();
        let mut inner = self.state.lock();
        *inner = Inner { exchanges: 0, server_spoke: true, cut: Some((exchange, cut)), reached: Some(reached) };
        hears
    }

    /// Closes all connections.
    pub fn hang_up(&self) {
        for client in self.state.clients().drain(..) {
            // A closed connection cannot be shut down again.
            let _ = client.shutdown(Shutdown::Both);
        }
    }

    /// The number of exchanges so far, on all connections.
    #[must_use]
    pub fn exchanges(&self) -> usize {
        self.state.exchanges.load(Ordering::Relaxed)
    }

    /// Ends the cut.
    pub fn mend(&self) {
        let mut inner = self.state.lock();
        (inner.cut, inner.reached) = (None, None);
        self.state.changed.notify_all();
    }
}

impl State {
    fn lock(&self) -> MutexGuard<'_, Inner> {
        self.inner.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn clients(&self) -> MutexGuard<'_, Vec<TcpStream>> {
        self.clients.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Counts bytes as exchanges, and blocks them while the exchange is cut. `false` for bytes that were cut off.
    fn pass(&self, from_client: bool) -> bool {
        let mut inner = self.lock();
        if from_client && inner.server_spoke {
            inner.exchanges += 1;
        }
        inner.server_spoke = !from_client;
        let mut passes = true;
        while inner.is_cut(from_client) {
            passes = false;
            if let Some(reached) = inner.reached.take() {
                let _ = reached.send(());
            }
            inner = self.changed.wait(inner).unwrap_or_else(PoisonError::into_inner);
        }
        passes
    }
}

impl Inner {
    fn is_cut(&self, from_client: bool) -> bool {
        let side = if from_client { Cut::BeforeRequest } else { Cut::BeforeReply };
        self.cut.is_some_and(|(exchange, cut)| cut == side && self.exchanges == exchange + 1)
    }
}

fn carry(client: &TcpStream, server: &TcpStream, state: &Arc<State>) {
    state.clients().extend(client.try_clone());
    let was_answered = Arc::new(AtomicBool::new(true));
    for (from, to, from_client) in [(client, server, true), (server, client, false)] {
        let (Ok(mut from), Ok(mut to)) = (from.try_clone(), to.try_clone()) else { return };
        let _ = (from.set_nodelay(true), to.set_nodelay(true));
        let (state, was_answered) = (Arc::clone(state), Arc::clone(&was_answered));
        thread::spawn(move || {
            let mut buffer = vec![0; 65536];
            while let Ok(length @ 1..) = from.read(&mut buffer) {
                if was_answered.swap(!from_client, Ordering::Relaxed) && from_client {
                    state.exchanges.fetch_add(1, Ordering::Relaxed);
                }
                if !state.pass(from_client) || to.write_all(&buffer[..length]).is_err() {
                    break;
                }
            }
            let _ = (from.shutdown(Shutdown::Both), to.shutdown(Shutdown::Both));
        });
    }
}
