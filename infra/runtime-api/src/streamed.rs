//! Streamed replies.

use std::{
    io::{self, Read},
    sync::mpsc::{Receiver, RecvTimeoutError},
};

use serde_json::Value;

use crate::{InvokeError, TIMEOUT};

/// The delimiter between the head of a streamed reply and its body:
/// <https://docs.aws.amazon.com/lambda/latest/dg/runtimes-custom.html#runtimes-custom-response-streaming>
const HEAD_END: [u8; 8] = [0; 8];

/// A streamed reply. Backpressure: the function writes no faster than this is read. Dropping it before its end closes the connection.
pub struct Streamed {
    pub status: u64,
    pub headers: Value,
    chunks: Receiver<Vec<u8>>,
    /// The unread part of the last chunk.
    unread: Vec<u8>,
}

impl Streamed {
    /// Waits for the head.
    pub(crate) fn new(chunks: Receiver<Vec<u8>>) -> Result<Self, InvokeError> {
        let mut head = Vec::new();
        loop {
            head.extend(chunks.recv_timeout(TIMEOUT).map_err(|_| InvokeError::Silent)?);
            if let Some(end) = head.windows(HEAD_END.len()).position(|window| window == HEAD_END) {
                let unread = head.split_off(end + HEAD_END.len());
                head.truncate(end);
                let headless = || InvokeError::Headless(String::from_utf8_lossy(&head).into_owned());
                let head: Value = serde_json::from_slice(&head).map_err(|_| headless())?;
                let status = head["statusCode"].as_u64().ok_or_else(headless)?;
                return Ok(Self { status, headers: head["headers"].clone(), chunks, unread });
            }
        }
    }

    /// The rest of the body.
    ///
    /// # Errors
    /// When it is no UTF-8, or does not come in time.
    pub fn text(mut self) -> io::Result<String> {
        let mut text = String::new();
        self.read_to_string(&mut text)?;
        Ok(text)
    }
}

impl Read for Streamed {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        while self.unread.is_empty() {
            match self.chunks.recv_timeout(TIMEOUT) {
                Ok(chunk) => self.unread = chunk,
                Err(RecvTimeoutError::Disconnected) => return Ok(0),
                Err(RecvTimeoutError::Timeout) => return Err(io::ErrorKind::TimedOut.into()),
            }
        }
        let length = buffer.len().min(self.unread.len());
        buffer[..length].copy_from_slice(&self.unread[..length]);
        self.unread.drain(..length);
        Ok(length)
    }
}
