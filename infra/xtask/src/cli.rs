//! The command line.

use std::ffi::OsString;

use anyhow::{Result, bail};
use lexopt::prelude::*;

pub const HELP: &str = "\
The whole of Souk on this machine, without Docker and without an AWS account.

Usage: cargo xtask COMMAND

  up                        build, start and deploy everything; safe to repeat, repairs what died
  down [--purge]            stop it; --purge also deletes its data
  status                    what runs, where, and what is deployed
  logs [FUNCTION] [-f] [--trace ID]
                            what the functions logged; -f or --follow goes on as they run; --trace shows only the lines of
                            one trace, from the request to the last consumer
  dlq list                  how many messages of each queue were given up
  dlq show QUEUE            which, and why
  dlq redrive QUEUE [--id ID]
                            puts them, or one, back into their queue
  dlq drop QUEUE --id ID    forgets one
  outbox list               messages that were committed and not sent yet
  outbox replay [--id ID]   has the relay send them, or one, at its next run; with --id, one that was sent before too
  mail [NAME]               the mails there are; or writes one to target/mail, to be looked at
  demo                      play the story: register, log in, create, order, and see each step
  seed [--products N] [--orders M] [--users K]
                            sample data: three users to log in as, N products (200), M orders (0), K customers (0); adds what
                            is missing. A million products take a minute or two; the local MongoDB-compatible server is
                            slow above some thousands of customers
  keys rotate [--drop-old]  a new signing key, and nobody is signed out; --drop-old also ends what the old keys signed,
                            for a key that leaked
  lab [NAME ...]            the runtime's internals as experiments: figures, and a page of charts in target/lab
  routes                    the endpoints and who may call them
  openapi [--check]         write openapi.json; --check only compares
  test [ARGUMENTS]          all tests, on a stage of their own; ARGUMENTS go to `cargo test`
  check                     formatting, lints, licences, template, openapi.json

Environment:
  SOUK_MYSQL_PORT (13306), SOUK_REDIS_PORT (16379), SOUK_MONGODB_PORT (27117), SOUK_AWS_PORT (4566),
  SOUK_OPENID_PORT (18080)
                            other ports for `up`
  SOUK_MYSQL_URL, SOUK_MONGODB_URI, SOUK_REDIS_URL
                            a server you already have, used instead of starting one

All state is in .local/, all servers listen on 127.0.0.1 only.
";

pub enum Command {
    Help,
    Up,
    Down { purge: bool },
    Status,
    Logs(Selection),
    DeadLetters(DeadLetters),
    Outbox(Vec<OsString>),
    Mail(Vec<OsString>),
    Demo,
    Lab(Vec<OsString>),
    Seed(Vec<OsString>),
    RotateKeys { drop_old: bool },
    Routes,
    OpenApi(Vec<OsString>),
    Test(Vec<OsString>),
    Check,
}

/// Which log lines.
#[derive(Debug, Default, PartialEq, Eq)]
pub struct Selection {
    pub function: Option<String>,
    pub follow: bool,
    /// Only those of the trace with this id.
    pub trace: Option<String>,
}

/// What is done with messages that were given up. An id is SQS's, or that of the outbox.
#[derive(Debug, PartialEq, Eq)]
pub enum DeadLetters {
    List,
    Show { queue: String },
    Redrive { queue: String, id: Option<String> },
    Drop { queue: String, id: String },
}

pub fn parse() -> Result<Command> {
    parse_from(lexopt::Parser::from_env())
}

fn parse_from(mut parser: lexopt::Parser) -> Result<Command> {
    let name = match parser.next()? {
        None | Some(Long("help") | Short('h')) => return Ok(Command::Help),
        Some(Value(name)) => name.string()?,
        Some(other) => return Err(other.unexpected().into()),
    };
    let command = match name.as_str() {
        "help" => Command::Help,
        "up" => Command::Up,
        "down" => return down(parser),
        "status" => Command::Status,
        "logs" => return logs(parser),
        "dlq" => return dlq(parser),
        "keys" => return keys(parser),
        "demo" => Command::Demo,
        "routes" => Command::Routes,
        "check" => Command::Check,
        "lab" => return Ok(Command::Lab(parser.raw_args()?.collect())),
        "seed" => return Ok(Command::Seed(parser.raw_args()?.collect())),
        "outbox" => return Ok(Command::Outbox(parser.raw_args()?.collect())),
        "mail" => return Ok(Command::Mail(parser.raw_args()?.collect())),
        "openapi" => return Ok(Command::OpenApi(parser.raw_args()?.collect())),
        "test" => return Ok(Command::Test(parser.raw_args()?.collect())),
        _ => bail!("there is no command `{name}`; `cargo xtask help` lists them"),
    };
    match parser.next()? {
        None => Ok(command),
        Some(Long("help") | Short('h')) => Ok(Command::Help),
        Some(other) => Err(other.unexpected().into()),
    }
}

fn down(mut parser: lexopt::Parser) -> Result<Command> {
    let mut purge = false;
    while let Some(argument) = parser.next()? {
        match argument {
            Long("purge") => purge = true,
            other => return Err(other.unexpected().into()),
        }
    }
    Ok(Command::Down { purge })
}

fn logs(mut parser: lexopt::Parser) -> Result<Command> {
    let mut selection = Selection::default();
    while let Some(argument) = parser.next()? {
        match argument {
            Long("follow") | Short('f') => selection.follow = true,
            Long("trace") => selection.trace = Some(parser.value()?.string()?),
            Value(name) if selection.function.is_none() => selection.function = Some(name.string()?),
            other => return Err(other.unexpected().into()),
        }
    }
    Ok(Command::Logs(selection))
}

fn dlq(mut parser: lexopt::Parser) -> Result<Command> {
    let (mut words, mut id) = (Vec::new(), None);
    while let Some(argument) = parser.next()? {
        match argument {
            Long("id") => id = Some(parser.value()?.string()?),
            Value(word) => words.push(word.string()?),
            other => return Err(other.unexpected().into()),
        }
    }
    let words: Vec<&str> = words.iter().map(String::as_str).collect();
    Ok(Command::DeadLetters(match (words.as_slice(), id) {
        (["list"], None) => DeadLetters::List,
        (["show", queue], None) => DeadLetters::Show { queue: (*queue).to_owned() },
        (["redrive", queue], id) => DeadLetters::Redrive { queue: (*queue).to_owned(), id },
        (["drop", queue], Some(id)) => DeadLetters::Drop { queue: (*queue).to_owned(), id },
        _ => bail!("it is `dlq list`, `dlq show QUEUE`, `dlq redrive QUEUE [--id ID]` or `dlq drop QUEUE --id ID`"),
    }))
}

fn keys(mut parser: lexopt::Parser) -> Result<Command> {
    let (mut rotate, mut drop_old) = (false, false);
    while let Some(argument) = parser.next()? {
        match argument {
            Value(word) if word == "rotate" && !rotate => rotate = true,
            Long("drop-old") => drop_old = true,
            other => return Err(other.unexpected().into()),
        }
    }
    if !rotate {
        bail!("the one thing that can be done with keys is `keys rotate`");
    }
    Ok(Command::RotateKeys { drop_old })
}

#[cfg(test)]
mod tests {
    use super::{Command, DeadLetters, parse_from};

    fn parse(words: &[&str]) -> anyhow::Result<Command> {
        parse_from(lexopt::Parser::from_args(words))
    }

    #[test]
    fn a_function_and_follow_come_in_any_order() {
        for words in [["logs", "on-email", "--follow"], ["logs", "-f", "on-email"]] {
            let Ok(Command::Logs(selection)) = parse(&words) else { panic!("not understood: {words:?}") };
            assert_eq!((selection.function.as_deref(), selection.follow), (Some("on-email"), true));
        }
        let Ok(Command::Logs(selection)) = parse(&["logs", "--trace", "abc"]) else { panic!("not understood") };
        assert_eq!(selection.trace.as_deref(), Some("abc"));
    }

    #[test]
    fn a_given_up_message_is_dropped_only_by_its_id() {
        let Ok(Command::DeadLetters(command)) = parse(&["dlq", "drop", "email", "--id", "1"]) else {
            panic!("not understood")
        };
        assert_eq!(command, DeadLetters::Drop { queue: "email".to_owned(), id: "1".to_owned() });
        let Ok(Command::DeadLetters(command)) = parse(&["dlq", "redrive", "email"]) else { panic!("not understood") };
        assert_eq!(command, DeadLetters::Redrive { queue: "email".to_owned(), id: None });
        assert!(parse(&["dlq", "drop", "email"]).is_err());
        assert!(parse(&["dlq", "list", "--id", "1"]).is_err());
    }

    #[test]
    fn arguments_of_test_are_passed_on_untouched() {
        let Ok(Command::Test(arguments)) = parse(&["test", "--test", "drift", "--", "--nocapture"]) else {
            panic!("not understood")
        };
        assert_eq!(arguments, ["--test", "drift", "--", "--nocapture"]);
    }

    #[test]
    fn what_is_not_understood_is_refused() {
        assert!(parse(&["fly"]).is_err());
        assert!(parse(&["up", "--fast"]).is_err());
        assert!(parse(&["logs", "a", "b"]).is_err());
        assert!(parse(&["keys"]).is_err());
        assert!(parse(&["keys", "--drop-old"]).is_err());
    }
}
