//! A large reply, streamed or buffered.
//!
//! A buffered reply needs memory for all of it, keeps its reader waiting for all of it, and is limited to Lambda's 6
//! MB. [`crate::lambda::Streaming`] sends it in pieces and writes no faster than they are read (*backpressure*), like
//! Node's streams.

use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use crate::{
    error::ApiError,
    lambda::{Content, Output, Stopped},
};

/// Piece size of a buffered reply.
const PIECE_BYTES: usize = 64 * 1024;

/// When a reply is sent.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Deserialize, ToSchema)]
#[serde(rename_all = "lowercase")]
pub enum Mode {
    /// Each line as soon as it is written.
    #[default]
    Stream,
    /// All lines, once the last one is written.
    Buffer,
}

/// A line of the reply.
#[derive(Serialize, ToSchema)]
#[serde(tag = "type", rename_all = "lowercase")]
#[schema(as = LabLine)]
pub enum Line {
    Row {
        number: u32,
        text: &'static str,
    },
    /// The last line of a complete reply.
    End {
        rows: u32,
    },
    /// The last line of an incomplete reply, with the type of a problem.
    Error {
        problem: &'static str,
        #[serde(rename = "requestId")]
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

/// A number of rows, some 100 bytes each.
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
