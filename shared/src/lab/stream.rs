//! A large reply, sent while it is written or held back until it is whole.
//!
//! Whoever holds a reply back needs memory for all of it, has its reader wait for all of it, and meets Lambda's 6 MB sooner or later.
//! [`crate::lambda::Streaming`] sends it in pieces and writes no faster than they are read, like Node's streams with their
//! backpressure.

use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use crate::{
    error::ApiError,
    lambda::{Content, Output, Stopped},
};

/// How much is sent at a time of what was held back.
const PIECE_BYTES: usize = 64 * 1024;

/// When a reply is sent.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Deserialize, ToSchema)]
#[serde(rename_all = "lowercase")]
pub enum Mode {
    /// While it is written.
    #[default]
    Stream,
    /// When all of it is written.
    Buffer,
}

/// A line of the reply.
#[derive(Serialize, ToSchema)]
#[serde(tag = "type", rename_all = "lowercase", rename_all_fields = "camelCase")]
#[schema(as = LabLine)]
pub enum Line {
    Row {
        number: u32,
        text: &'static str,
    },
    /// That was all.
    End {
        rows: u32,
    },
    /// The rest cannot be had: the type of a problem.
    Error {
        problem: &'static str,
        request_id: String,
    },
}

impl Line {
    fn to_bytes(&self) -> Result<Vec<u8>, ApiError> {
        let mut bytes = serde_json::to_vec(self).map_err(ApiError::internal)?;
        bytes.push(b'\n');
        Ok(bytes)
    }
}

/// So many rows, some 100 bytes each.
pub struct Rows {
    count: u32,
    mode: Mode,
    written: u32,
}

impl Rows {
    #[must_use]
    pub fn new(count: u32, mode: Mode) -> Self {
        Self { count, mode, written: 0 }
    }
}

impl Content for Rows {
    async fn write(&mut self, output: &mut Output) -> Result<(), Stopped> {
        let mut held_back = Vec::new();
        while self.written < self.count {
            self.written += 1;
            let text = "made up to be sent, so that there is something of some length in this row";
            let line = Line::Row { number: self.written, text }.to_bytes()?;
            match self.mode {
                Mode::Stream => output.write(&line).await?,
                Mode::Buffer => held_back.extend(line),
            }
        }
        for piece in held_back.chunks(PIECE_BYTES) {
            output.write(piece).await?;
        }
        output.write(&Line::End { rows: self.count }.to_bytes()?).await
    }

    fn error_trailer(&self, error: &ApiError, request_id: &str) -> Vec<u8> {
        let line = Line::Error { problem: error.problem().urn(), request_id: request_id.to_owned() };
        line.to_bytes().unwrap_or_default()
    }

    fn items(&self) -> u64 {
        self.written.into()
    }
}
