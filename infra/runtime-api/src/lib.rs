//! Lambda's Runtime API for a function's binary, which so runs without the gateway and the emulator.
//!
//! Shows what the emulator would hide: latency, the client's address, a process that dies, other environment variables, several
//! requests at once in one process.

mod event;
mod streamed;

use std::{
    collections::HashMap,
    fs::{self, File},
    io::{self, BufRead, BufReader, Read, Write},
    net::{Shutdown, TcpListener, TcpStream},
    path::Path,
    process::{Child, Command, ExitStatus},
    sync::{
        Arc, Mutex, MutexGuard, PoisonError,
        atomic::{AtomicUsize, Ordering},
        mpsc::{self, Receiver, Sender, SyncSender},
    },
    thread,
    time::{Duration, Instant},
};

use rustix::process::{Pid, Signal, kill_process};
use serde_json::Value;
use shared::{ambient::Ambient, telemetry::hex};

pub use event::{from_address, http_event};
pub use streamed::Streamed;

/// The function's timeout, which its deadline is computed from.
const TIMEOUT: Duration = Duration::from_secs(30);
/// How long an abandoned connection is still read: closing it at once could overtake the last response.
const LINGER: Duration = Duration::from_millis(200);
/// How often a waiting caller checks that the process still runs.
const POLL_INTERVAL: Duration = Duration::from_millis(100);

/// A running function. Dropping it ends the process.
pub struct Function {
    process: Mutex<Child>,
    invocations: Sender<Invocation>,
    api: Arc<RuntimeApi>,
}

/// Why an invocation has no reply.
#[derive(Debug, thiserror::Error)]
pub enum InvokeError {
    #[error("the function failed: {0}")]
    Failed(String),
    #[error("the process ended before it answered: {0}")]
    Ended(ExitStatus),
    #[error("no answer within {TIMEOUT:?}")]
    Silent,
    #[error("the reply is streamed, or is not where it should be")]
    OtherKind,
    #[error("the streamed reply does not begin as one: {0}")]
    Headless(String),
}

/// An event for the function.
struct Invocation {
    event: String,
    answer: Sender<Answer>,
}

/// The function's answer.
enum Answer {
    Response(String),
    /// Chunks as they arrive.
    Stream(Receiver<Vec<u8>>),
    Error(String),
}

impl Function {
    /// Starts a binary as the Lambda function `name`, with this process's environment and the variables in `environment`. With
    /// `AWS_LAMBDA_MAX_CONCURRENCY` among them it serves that many events at once. Its output is this process's.
    ///
    /// # Errors
    /// When it cannot be started.
    pub fn start(binary: &Path, name: &str, environment: &[(&str, String)]) -> io::Result<Self> {
        Self::spawn(Command::new(binary), name, environment)
    }

    /// As [`Function::start`], with the output in a file.
    ///
    /// # Errors
    /// When it cannot be started.
    pub fn start_logged(binary: &Path, name: &str, environment: &[(&str, String)], log: File) -> io::Result<Self> {
        let mut command = Command::new(binary);
        command.stdout(log.try_clone()?).stderr(log);
        Self::spawn(command, name, environment)
    }

    fn spawn(mut command: Command, name: &str, environment: &[(&str, String)]) -> io::Result<Self> {
        let listener = TcpListener::bind("127.0.0.1:0")?;
        let process = command
            .env("AWS_LAMBDA_RUNTIME_API", listener.local_addr()?.to_string())
            .env("AWS_LAMBDA_FUNCTION_NAME", name)
            .env("AWS_LAMBDA_FUNCTION_VERSION", "$LATEST")
            .env("AWS_LAMBDA_FUNCTION_MEMORY_SIZE", "512")
            .env("AWS_LAMBDA_LOG_GROUP_NAME", format!("/aws/lambda/{name}"))
            .env("AWS_LAMBDA_LOG_STREAM_NAME", "test")
            .env(shared::environment::SERVICE_NAME, "souk")
            .env(shared::environment::LOG_LEVEL, "WARN")
            .envs(environment.iter().map(|(name, value)| (name, value)))
            .spawn()?;
        let (invocations, events) = mpsc::channel();
        let api = RuntimeApi {
            function_name: name.to_owned(),
            events: Mutex::new(events),
            answers: Mutex::default(),
            polls: AtomicUsize::new(0),
        };
        let api = Arc::new(api);
        let serving = Arc::clone(&api);
        // Accepts connections until this program ends.
        thread::spawn(move || {
            for connection in listener.incoming().map_while(Result::ok) {
                let api = Arc::clone(&serving);
                // Fails when the process ends, which ends its connections.
                thread::spawn(move || api.serve(connection).ok());
            }
        });
        Ok(Self { process: Mutex::new(process), invocations, api })
    }

    /// Invokes the function and waits for its reply. Threads may do so concurrently.
    ///
    /// # Errors
    /// When the function answers with an error, or not in time, or streams its reply, or its process ends.
    pub fn invoke(&self, event: &Value) -> Result<Value, InvokeError> {
        match self.ask(event)? {
            Answer::Response(text) => Ok(serde_json::from_str(&text).unwrap_or(Value::Null)),
            Answer::Stream(_) => Err(InvokeError::OtherKind),
            Answer::Error(text) => Err(InvokeError::Failed(text)),
        }
    }

    /// Invokes the function, and returns its streamed reply from the first bytes on.
    ///
    /// # Errors
    /// As [`Function::invoke`]; when the reply is not streamed.
    pub fn stream(&self, event: &Value) -> Result<Streamed, InvokeError> {
        match self.ask(event)? {
            Answer::Stream(chunks) => Streamed::new(chunks),
            Answer::Response(_) => Err(InvokeError::OtherKind),
            Answer::Error(text) => Err(InvokeError::Failed(text)),
        }
    }

    /// The peak memory of the process, in kB. `None` when it has ended.
    #[must_use]
    pub fn peak_memory(&self) -> Option<u64> {
        peak_memory(Path::new(&format!("/proc/{}", locked(&self.process).id())))
    }

    fn ask(&self, event: &Value) -> Result<Answer, InvokeError> {
        let (answer, answers) = mpsc::channel();
        // Fails when the process has ended, which is noticed below.
        let _ = self.invocations.send(Invocation { event: event.to_string(), answer });
        let start = Instant::now();
        loop {
            match answers.recv_timeout(POLL_INTERVAL) {
                Ok(answer) => return Ok(answer),
                Err(_) => self.expect_running(start)?,
            }
        }
    }

    /// Waits until the function asks for its next event: what it does after a reply is done then, and Lambda would freeze it.
    ///
    /// # Errors
    /// When it does not in time, or its process ends.
    pub fn wait_until_idle(&self) -> Result<(), InvokeError> {
        let start = Instant::now();
        while self.api.polls.load(Ordering::SeqCst) == 0 {
            self.expect_running(start)?;
            thread::sleep(Duration::from_millis(1));
        }
        Ok(())
    }

    /// Ends the process at once (SIGKILL), in the middle of its work.
    pub fn kill(&self) {
        let mut process = locked(&self.process);
        // An ended process cannot be killed again.
        let _ = process.kill();
        let _ = process.wait();
    }

    /// Stops the process where it is (SIGSTOP). Its connections stay open.
    ///
    /// # Errors
    /// When it has ended.
    pub fn pause(&self) -> io::Result<()> {
        self.signal(Signal::STOP)
    }

    /// Lets a stopped process go on (SIGCONT).
    ///
    /// # Errors
    /// When it has ended.
    pub fn resume(&self) -> io::Result<()> {
        self.signal(Signal::CONT)
    }

    fn signal(&self, signal: Signal) -> io::Result<()> {
        let mut process = locked(&self.process);
        // The id of an ended process may be another one's by now.
        if process.try_wait()?.is_some() {
            return Err(io::ErrorKind::NotFound.into());
        }
        Ok(kill_process(Pid::from_child(&process), signal)?)
    }

    fn expect_running(&self, start: Instant) -> Result<(), InvokeError> {
        if let Ok(Some(status)) = locked(&self.process).try_wait() {
            return Err(InvokeError::Ended(status));
        }
        if start.elapsed() < TIMEOUT { Ok(()) } else { Err(InvokeError::Silent) }
    }
}

impl Drop for Function {
    fn drop(&mut self) {
        self.kill();
    }
}

/// The peak memory of a process, in kB (`VmHWM`), by its directory in `/proc`. `None` when it has ended.
#[must_use]
pub fn peak_memory(process: &Path) -> Option<u64> {
    let status = fs::read_to_string(process.join("status")).ok()?;
    status.lines().find_map(|line| line.strip_prefix("VmHWM:")?.trim().strip_suffix(" kB")?.parse().ok())
}

/// Lambda's side of the Runtime API.
struct RuntimeApi {
    function_name: String,
    events: Mutex<Receiver<Invocation>>,
    /// The waiting callers, by request id.
    answers: Mutex<HashMap<String, Sender<Answer>>>,
    /// How many of the process's requests for an event are waiting for one.
    polls: AtomicUsize,
}

impl RuntimeApi {
    fn serve(&self, mut connection: TcpStream) -> io::Result<()> {
        connection.set_nodelay(true)?;
        let mut reader = BufReader::new(connection.try_clone()?);
        while let Some(head) = Head::read(&mut reader)? {
            let path: Vec<&str> = head.path.trim_start_matches('/').split('/').collect();
            if let ([_, "runtime", "invocation", id, "response"], true) = (&path[..], head.is_streamed) {
                let is_complete = self.stream(id, &mut reader)?;
                connection.write_all(response(202, "", "{}").as_bytes())?;
                if is_complete {
                    continue;
                }
                return leave(&connection, &mut reader);
            }
            let body = head.body(&mut reader)?;
            let response = match path[..] {
                [_, "runtime", "invocation", "next"] => match self.next() {
                    Some(response) => response,
                    None => return Ok(()),
                },
                [_, "runtime", "invocation", id, kind] => {
                    self.answer(id, kind, body);
                    response(202, "", "{}")
                }
                _ => response(404, "", "{}"),
            };
            // In one write: the rest of it would wait for the acknowledgement of the start.
            connection.write_all(response.as_bytes())?;
        }
        Ok(())
    }

    /// The next event, once there is one. `None` when there will be no more.
    fn next(&self) -> Option<String> {
        self.polls.fetch_add(1, Ordering::SeqCst);
        let invocation = locked(&self.events).recv();
        self.polls.fetch_sub(1, Ordering::SeqCst);
        let Invocation { event, answer } = invocation.ok()?;
        let ambient = Ambient::system();
        let id = ambient.id().to_string();
        let deadline = (ambient.now() + TIMEOUT).unix_timestamp_nanos() / 1_000_000;
        let (root, end, parent) = (ambient.bytes::<4>(), ambient.bytes::<12>(), ambient.bytes::<8>());
        let headers = format!(
            "Lambda-Runtime-Aws-Request-Id: {id}\r\n\
             Lambda-Runtime-Deadline-Ms: {deadline}\r\n\
             Lambda-Runtime-Invoked-Function-Arn: arn:aws:lambda:us-east-1:000000000000:function:{}\r\n\
             Lambda-Runtime-Trace-Id: Root=1-{}-{};Parent={};Sampled=0\r\n",
            self.function_name,
            hex(&root),
            hex(&end),
            hex(&parent),
        );
        locked(&self.answers).insert(id, answer);
        Some(response(200, &headers, &event))
    }

    /// Forwards a streamed reply at its reader's pace (*backpressure*). `false` if the reader is gone.
    fn stream(&self, id: &str, reader: &mut impl BufRead) -> io::Result<bool> {
        let (chunks, taken): (SyncSender<_>, _) = mpsc::sync_channel(0);
        let waiting = locked(&self.answers).remove(id);
        if waiting.is_none_or(|waiting| waiting.send(Answer::Stream(taken)).is_err()) {
            return Ok(false);
        }
        while let Some(chunk) = chunk(reader)? {
            if chunks.send(chunk).is_err() {
                return Ok(false);
            }
        }
        Ok(true)
    }

    fn answer(&self, id: &str, kind: &str, body: String) {
        let Some(waiting) = locked(&self.answers).remove(id) else { return };
        let answer = if kind == "response" { Answer::Response(body) } else { Answer::Error(body) };
        // A caller that has timed out has gone.
        let _ = waiting.send(answer);
    }
}

/// Closes a connection, once the other side can have read the last response.
fn leave(connection: &TcpStream, reader: &mut impl Read) -> io::Result<()> {
    connection.set_read_timeout(Some(LINGER))?;
    let start = Instant::now();
    let mut ignored = [0; 4096];
    while start.elapsed() < LINGER && matches!(reader.read(&mut ignored), Ok(1..)) {}
    connection.shutdown(Shutdown::Both)
}

/// The head of an HTTP request, reduced to what matters here.
struct Head {
    path: String,
    length: usize,
    is_chunked: bool,
    is_streamed: bool,
}

impl Head {
    /// Reads a head. `None` where the connection ends.
    fn read(reader: &mut impl BufRead) -> io::Result<Option<Self>> {
        let first = line(reader)?;
        let Some(path) = first.split(' ').nth(1) else { return Ok(None) };
        let mut head = Self { path: path.to_owned(), length: 0, is_chunked: false, is_streamed: false };
        loop {
            let header = line(reader)?.to_ascii_lowercase();
            match header.split_once(':') {
                Some(("content-length", value)) => head.length = number(value, 10)?,
                Some(("transfer-encoding", value)) => head.is_chunked = value.trim() == "chunked",
                Some(("lambda-runtime-function-response-mode", value)) => {
                    head.is_streamed = value.trim() == "streaming";
                }
                Some(_) => {}
                None => return Ok(Some(head)),
            }
        }
    }

    /// Reads the body after it.
    fn body(&self, reader: &mut impl BufRead) -> io::Result<String> {
        let mut body = Vec::new();
        if self.is_chunked {
            while let Some(chunk) = chunk(reader)? {
                body.extend(chunk);
            }
        } else {
            body = exactly(reader, self.length)?;
        }
        String::from_utf8(body).map_err(io::Error::other)
    }
}

/// The next chunk of a body. `None` for the last, empty one, with its trailers.
fn chunk(reader: &mut impl BufRead) -> io::Result<Option<Vec<u8>>> {
    let size = line(reader)?;
    let length = number(size.split(';').next().unwrap_or_default(), 16)?;
    if length == 0 {
        while !line(reader)?.is_empty() {}
        return Ok(None);
    }
    let chunk = exactly(reader, length)?;
    line(reader)?;
    Ok(Some(chunk))
}

fn exactly(reader: &mut impl Read, length: usize) -> io::Result<Vec<u8>> {
    let mut bytes = vec![0; length];
    reader.read_exact(&mut bytes)?;
    Ok(bytes)
}

fn line(reader: &mut impl BufRead) -> io::Result<String> {
    let mut line = String::new();
    reader.read_line(&mut line)?;
    Ok(line.trim_end().to_owned())
}

fn number(text: &str, radix: u32) -> io::Result<usize> {
    usize::from_str_radix(text.trim(), radix).map_err(io::Error::other)
}

fn response(status: u16, headers: &str, body: &str) -> String {
    let length = body.len();
    format!("HTTP/1.1 {status} \r\nContent-Type: application/json\r\n{headers}Content-Length: {length}\r\n\r\n{body}")
}

/// Ignores poisoning: a panic cannot leave the value half changed.
fn locked<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}
