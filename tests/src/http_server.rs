//! An HTTP server of a single test, for a function to call.

use std::{
    io::{BufRead, BufReader, Read, Write},
    net::{TcpListener, TcpStream},
    thread,
};

/// A server on a local port. It ends with the test run.
pub struct HttpServer {
    /// `http://127.0.0.1:PORT`
    pub url: String,
}

/// A request.
pub struct Asked {
    pub path: String,
    /// Names in lower case.
    pub headers: Vec<(String, String)>,
    pub body: Vec<u8>,
}

/// A response.
pub struct Answer {
    /// For example `200 OK`.
    pub status: &'static str,
    pub headers: &'static [(&'static str, &'static str)],
    pub body: Vec<u8>,
}

impl HttpServer {
    /// Starts a server. It answers one request at a time.
    ///
    /// # Panics
    /// When there is no free port.
    #[must_use]
    pub fn start(mut answer: impl FnMut(Asked) -> Answer + Send + 'static) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let url = format!("http://{}", listener.local_addr().unwrap());
        thread::spawn(move || {
            for mut connection in listener.incoming().map_while(Result::ok) {
                let Some(asked) = Asked::read(&connection) else { continue };
                // The client may be gone.
                let _ = connection.write_all(&answer(asked).to_bytes());
            }
        });
        Self { url }
    }
}

impl Asked {
    fn read(connection: &TcpStream) -> Option<Self> {
        let mut reader = BufReader::new(connection);
        let mut line = || {
            let mut line = String::new();
            reader.read_line(&mut line).ok().map(|_| line.trim_end().to_owned()).filter(|line| !line.is_empty())
        };
        let path = line()?.split(' ').nth(1)?.to_owned();
        let mut headers = Vec::new();
        while let Some((name, value)) = line().as_deref().and_then(|line| line.split_once(": ")) {
            headers.push((name.to_lowercase(), value.to_owned()));
        }
        let mut asked = Self { path, headers, body: Vec::new() };
        asked.body = vec![0; asked.header("content-length").and_then(|length| length.parse().ok()).unwrap_or(0)];
        reader.read_exact(&mut asked.body).ok()?;
        Some(asked)
    }

    /// A header by its name in lower case.
    #[must_use]
    pub fn header(&self, name: &str) -> Option<&str> {
        self.headers.iter().find(|(known, _)| known == name).map(|(_, value)| value.as_str())
    }
}

impl Answer {
    fn to_bytes(&self) -> Vec<u8> {
        let mut head =
            format!("HTTP/1.1 {}\r\nConnection: close\r\nContent-Length: {}\r\n", self.status, self.body.len());
        for (name, value) in self.headers {
            head.extend([name, ": ", value, "\r\n"]);
        }
        [head.as_bytes(), b"\r\n", &self.body].concat()
    }
}
