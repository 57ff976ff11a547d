//! A function's binary, run without the gateway and the emulator: what it takes for Lambda's Runtime API is this module.
//!
//! For what the emulator would hide: how long a request takes, where it comes from, a process that dies, another environment.

use std::{
    collections::HashMap,
    fs,
    io::{self, BufRead, BufReader, Read, Write},
    net::{Shutdown, TcpListener, TcpStream},
    path::Path,
    process::{Child, Command},
    sync::{
        Arc, Mutex, MutexGuard, PoisonError,
        mpsc::{self, Receiver, Sender, SyncSender},
    },
    thread,
    time::{Duration, Instant},
};

use serde_json::{Value, json};
use shared::{ambient::Ambient, telemetry::hex};

use crate::{Stage, aws, template};

/// What the function is told of its time limit.
const TIME_LIMIT: Duration = Duration::from_secs(30);
/// What stands between the head of a streamed reply and its body:
/// <https://docs.aws.amazon.com/lambda/latest/dg/runtimes-custom.html#runtimes-custom-response-streaming>
const HEAD_END: [u8; 8] = [0; 8];
/// How long a function that nobody listens to any more is listened to: closing at once could overtake what it was told.
const LINGER: Duration = Duration::from_millis(200);
/// How often a waiting test looks whether the process is still there.
const GLANCE: Duration = Duration::from_millis(100);

/// A running function. It ends with this value.
pub struct Function {
    name: String,
    process: Mutex<Child>,
    invocations: Sender<Invocation>,
}

/// An event on its way to the function.
struct Invocation {
    event: String,
    answer: Sender<Answer>,
}

/// What the function sent back.
enum Answer {
    Response(String),
    /// Chunks, as they come.
    Stream(Receiver<Vec<u8>>),
    Error(String),
}

/// A streamed reply, read at the pace of whoever reads it. Dropping it before its end hangs up.
pub struct Streamed {
    pub status: u64,
    pub headers: Value,
    chunks: Receiver<Vec<u8>>,
    /// Of the chunk that came last.
    unread: Vec<u8>,
}

impl Streamed {
    fn new(chunks: Receiver<Vec<u8>>) -> Self {
        let mut head = Vec::new();
        loop {
            head.extend(chunks.recv_timeout(TIME_LIMIT).expect("the head of the reply"));
            if let Some(end) = head.windows(HEAD_END.len()).position(|window| window == HEAD_END) {
                let unread = head.split_off(end + HEAD_END.len());
                head.truncate(end);
                let head: Value = serde_json::from_slice(&head).expect("a head in JSON");
                let status = head["statusCode"].as_u64().expect("a status");
                return Self { status, headers: head["headers"].clone(), chunks, unread };
            }
        }
    }

    /// What there is left.
    ///
    /// # Panics
    /// When it is no text.
    #[must_use]
    pub fn text(mut self) -> String {
        let mut text = String::new();
        self.read_to_string(&mut text).unwrap();
        text
    }
}

impl Read for Streamed {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        while self.unread.is_empty() {
            match self.chunks.recv_timeout(TIME_LIMIT) {
                Ok(chunk) => self.unread = chunk,
                Err(mpsc::RecvTimeoutError::Disconnected) => return Ok(0),
                Err(mpsc::RecvTimeoutError::Timeout) => return Err(io::ErrorKind::TimedOut.into()),
            }
        }
        let length = buffer.len().min(self.unread.len());
        buffer[..length].copy_from_slice(&self.unread[..length]);
        self.unread.drain(..length);
        Ok(length)
    }
}

/// The most memory that a process has taken, in kB (`VmHWM`).
#[must_use]
pub fn peak_memory(process: &Path) -> Option<u64> {
    let status = fs::read_to_string(process.join("status")).ok()?;
    status.lines().find_map(|line| line.strip_prefix("VmHWM:")?.trim().strip_suffix(" kB")?.parse().ok())
}

impl Function {
    /// Starts the binary that the stage runs too, with this process's environment and what `environment` puts in its place. With
    /// `AWS_LAMBDA_MAX_CONCURRENCY` in there it serves that many events at once.
    ///
    /// # Panics
    /// When it cannot be started.
    #[must_use]
    pub fn start(name: &str, environment: &[(&str, String)]) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let address = listener.local_addr().unwrap().to_string();
        let function_name = Stage::function(name);
        let binary = template::repository().join("target/lambda").join(name).join("bootstrap");
        let process = Command::new(&binary)
            .env("AWS_LAMBDA_RUNTIME_API", address)
            .env("AWS_LAMBDA_FUNCTION_NAME", &function_name)
            .env("AWS_LAMBDA_FUNCTION_VERSION", "$LATEST")
            .env("AWS_LAMBDA_FUNCTION_MEMORY_SIZE", "512")
            .env("AWS_LAMBDA_LOG_GROUP_NAME", format!("/aws/lambda/{function_name}"))
            .env("AWS_LAMBDA_LOG_STREAM_NAME", "test")
            .env(shared::environment::SERVICE_NAME, "souk")
            .env(shared::environment::LOG_LEVEL, "WARN")
            .envs(environment.iter().map(|(name, value)| (name, value)))
            .spawn()
            .unwrap_or_else(|error| panic!("{}: {error}", binary.display()));
        let (invocations, events) = mpsc::channel();
        let api = Arc::new(RuntimeApi { function_name, events: Mutex::new(events), answers: Mutex::default() });
        // Waits for connections until the test run ends, which is soon.
        thread::spawn(move || {
            for connection in listener.incoming().map_while(Result::ok) {
                let api = Arc::clone(&api);
                // A connection ends with the process, in whatever way.
                thread::spawn(move || api.serve(connection).ok());
            }
        });
        Self { name: name.to_owned(), process: Mutex::new(process), invocations }
    }

    /// Hands the function an event, and waits for its reply. Threads may do so side by side.
    ///
    /// # Panics
    /// When the function answers with an error or not in time, or its process ends.
    #[must_use]
    pub fn invoke(&self, event: &Value) -> Value {
        match self.ask(event) {
            Answer::Response(text) => serde_json::from_str(&text).unwrap_or(Value::Null),
            Answer::Stream(_) => panic!("{} streams", self.name),
            Answer::Error(text) => panic!("{} failed: {text}", self.name),
        }
    }

    /// Hands the function an event, and returns what it streams from its first bytes on.
    ///
    /// # Panics
    /// As [`Function::invoke`].
    #[must_use]
    pub fn stream(&self, event: &Value) -> Streamed {
        match self.ask(event) {
            Answer::Stream(chunks) => Streamed::new(chunks),
            Answer::Response(text) | Answer::Error(text) => panic!("{} does not stream: {text}", self.name),
        }
    }

    /// The most memory that the process has taken, in kB.
    ///
    /// # Panics
    /// When it has ended.
    #[must_use]
    pub fn peak_memory(&self) -> u64 {
        let process = format!("/proc/{}", locked(&self.process).id());
        peak_memory(Path::new(&process)).expect("the process is there")
    }

    fn ask(&self, event: &Value) -> Answer {
        let (answer, answers) = mpsc::channel();
        self.invocations
            .send(Invocation { event: event.to_string(), answer })
            .expect("somebody serves the Runtime API");
        let start = Instant::now();
        loop {
            match answers.recv_timeout(GLANCE) {
                Ok(answer) => return answer,
                Err(_) => self.expect_running(start),
            }
        }
    }

    /// Hands the function an HTTP request from a network address, as the gateway would, and returns its reply.
    #[must_use]
    pub fn http(&self, route_key: &str, body: &Value, address: &str) -> Value {
        self.invoke(&from_address(aws::http_event(route_key, body), address))
    }

    /// Ends the process at once (SIGKILL), whatever it is doing.
    pub fn kill(&self) {
        let mut process = locked(&self.process);
        // One that has ended already cannot be ended again.
        let _ = process.kill();
        let _ = process.wait();
    }

    fn expect_running(&self, start: Instant) {
        if let Ok(Some(status)) = locked(&self.process).try_wait() {
            panic!("{} ended before it answered: {status}; what it logged is above", self.name);
        }
        assert!(start.elapsed() < TIME_LIMIT, "{} does not answer", self.name);
    }
}

impl Drop for Function {
    fn drop(&mut self) {
        self.kill();
    }
}

/// The event as if it came from this network address.
#[must_use]
pub fn from_address(mut event: Value, address: &str) -> Value {
    event["requestContext"]["http"]["sourceIp"] = json!(address);
    event
}

/// What Lambda is to the process.
struct RuntimeApi {
    function_name: String,
    events: Mutex<Receiver<Invocation>>,
    /// Who waits for which invocation.
    answers: Mutex<HashMap<String, Sender<Answer>>>,
}

impl RuntimeApi {
    fn serve(&self, mut connection: TcpStream) -> io::Result<()> {
        connection.set_nodelay(true)?;
        let mut reader = BufReader::new(connection.try_clone()?);
        while let Some(head) = Head::read(&mut reader)? {
            let path: Vec<&str> = head.path.trim_start_matches('/').split('/').collect();
            if let ([_, "runtime", "invocation", id, "response"], true) = (&path[..], head.is_streamed) {
                let is_whole = self.stream(id, &mut reader)?;
                connection.write_all(response(202, "", "{}").as_bytes())?;
                if is_whole {
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
            // In one piece: the rest of it would wait for the acknowledgement of the start.
            connection.write_all(response.as_bytes())?;
        }
        Ok(())
    }

    /// The next event, once there is one. `None` when there will be none any more.
    fn next(&self) -> Option<String> {
        let Invocation { event, answer } = locked(&self.events).recv().ok()?;
        let ambient = Ambient::system();
        let id = ambient.id().to_string();
        let deadline = (ambient.now() + TIME_LIMIT).unix_timestamp_nanos() / 1_000_000;
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

    /// Hands on what the function streams, as fast as it is taken. Whether it was taken to its end.
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
        // Who does not wait any more has failed already.
        let _ = waiting.send(answer);
    }
}

/// Hangs up, once the other side can have read what it was told.
fn leave(connection: &TcpStream, reader: &mut impl Read) -> io::Result<()> {
    connection.set_read_timeout(Some(LINGER))?;
    let start = Instant::now();
    let mut ignored = [0; 4096];
    while start.elapsed() < LINGER && matches!(reader.read(&mut ignored), Ok(1..)) {}
    connection.shutdown(Shutdown::Both)
}

/// The head of an HTTP request, as far as it matters here.
struct Head {
    path: String,
    length: usize,
    is_chunked: bool,
    is_streamed: bool,
}

impl Head {
    /// Reads one. `None` where the connection ends.
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

    /// Reads what follows it.
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

/// The next chunk of a body. `None` for the empty one, and the trailers after it.
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

/// What a thread has locked that panicked is as good as it was.
fn locked<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}
