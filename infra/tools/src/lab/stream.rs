//! A large reply, streamed against buffered.

use std::{io::Read, time::Instant};

use anyhow::{Result, ensure};

use super::{
    Lab,
    chart::{Axis, Chart, Line},
    finding::{Finding, Table, unless},
    latencies::{milliseconds, rounded},
};

/// Lengths of replies, in rows.
const ROWS: [u32; 4] = [10_000, 250_000, 500_000, 1_000_000];

struct Measured {
    megabytes: f64,
    /// Until the first byte of the body, and until the last, in milliseconds.
    first_byte: f64,
    last_byte: f64,
    /// Peak, in MB.
    memory: f64,
}

pub fn run(lab: &Lab) -> Result<Finding> {
    let rows = lab.amount(&ROWS[..], &ROWS[1..3]);
    let measure = |mode| rows.iter().map(|rows| measure(lab, mode, *rows)).collect::<Result<Vec<_>>>();
    let [streamed, buffered] = [measure("stream")?, measure("buffer")?];
    let table_rows = |mode: &'static str, all: &[Measured]| -> Vec<Vec<String>> {
        let figures = |one: &Measured| [one.megabytes, one.first_byte, one.last_byte, one.memory].map(rounded);
        all.iter().map(|one| [mode.to_owned()].into_iter().chain(figures(one)).collect()).collect()
    };
    let line = |name, all: &[Measured], value: fn(&Measured) -> f64| {
        Line::marked(name, all.iter().map(|one| (one.megabytes, value(one))).collect())
    };
    let (stream, buffer) = (&streamed[rows.len() - 1], &buffered[rows.len() - 1]);
    let lines = |title, unit, value: fn(&Measured) -> f64| {
        Chart::lines(
            title,
            Axis { name: "MB sent", end: buffer.megabytes * 1.05 },
            Axis { name: unit, end: value(buffer) * 1.15 },
            vec![line("buffered", &buffered, value), line("streamed", &streamed, value)],
        )
    };
    Ok(Finding {
        title: "A large reply, streamed or buffered",
        table: Table {
            columns: vec!["Mode", "MB sent", "first byte ms", "last byte ms", "peak MB"],
            rows: [table_rows("buffered", &buffered), table_rows("streamed", &streamed)].concat(),
        },
        charts: vec![
            lines("Peak memory, by the length of the reply", "MB", |one| one.memory),
            lines("Until the first byte arrives, by the length of the reply", "ms", |one| one.first_byte),
        ],
        seen: format!(
            "A reply of {} MB takes {} MB of memory and {} ms until its first byte if it is buffered, {} MB and {} ms if it is streamed.",
            rounded(buffer.megabytes),
            rounded(buffer.memory),
            rounded(buffer.first_byte),
            rounded(stream.memory),
            rounded(stream.first_byte),
        ),
        said: "Streaming keeps memory flat and the first byte early however long a reply gets, because nothing is written faster than it is read; \
               of a buffered reply Lambda takes 6 MB, and HTTP APIs buffer all of them, so a streaming function has a URL of its own.",
        surprise: unless(stream.memory * 2.0 <= buffer.memory, || {
            format!("streaming takes {:.0} MB, buffering {:.0} MB", stream.memory, buffer.memory)
        })
        .or_else(|| {
            unless(stream.first_byte * 4.0 <= buffer.first_byte, || {
                format!(
                    "the first byte takes {:.0} ms streamed, {:.0} ms buffered",
                    stream.first_byte, buffer.first_byte
                )
            })
        }),
    })
}

/// In an environment of its own, since a process does not return all memory that it once took.
fn measure(lab: &Lab, mode: &str, rows: u32) -> Result<Measured> {
    let environment = lab.start("lab-stream", 1, &[])?;
    // The first request pays for the start.
    environment.stream("rows=0")?.text()?;
    let sent = Instant::now();
    let mut reply = environment.stream(&format!("rows={rows}&mode={mode}"))?;
    let mut buffer = vec![0; 1024 * 1024];
    let (mut bytes, mut first_byte, mut end) = (0, None, Vec::new());
    loop {
        let read = reply.read(&mut buffer)?;
        if read == 0 {
            break;
        }
        first_byte = first_byte.or_else(|| Some(sent.elapsed()));
        bytes += read;
        end = buffer[..read].to_vec();
    }
    let last_byte = sent.elapsed();
    ensure!(
        String::from_utf8_lossy(&end).ends_with(&format!("{{\"type\":\"end\",\"rows\":{rows}}}\n")),
        "the reply is cut off"
    );
    Ok(Measured {
        megabytes: f64::from(u32::try_from(bytes)?) / 1e6,
        first_byte: first_byte.map_or(f64::NAN, milliseconds),
        last_byte: milliseconds(last_byte),
        memory: environment.peak_memory()?,
    })
}
