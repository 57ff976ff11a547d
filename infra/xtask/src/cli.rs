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
  logs [FUNCTION] [-f]      what the functions logged; -f or --follow goes on as they run
  demo                      play the story: register, log in, create, order, and see each step
  seed [--products N] [--orders M] [--users K]
                            sample data: three users to log in as, N products (200), M orders (0), K customers (0); adds what
                            is missing. A million products take a minute or two; the local MongoDB-compatible server is
                            slow above some thousands of customers
  keys rotate [--drop-old]  a new signing key, and nobody is signed out; --drop-old also ends what the old keys signed,
                            for a key that leaked
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
    Logs { function: Option<String>, follow: bool },
    Demo,
    Seed(Vec<OsString>),
    RotateKeys { drop_old: bool },
    Routes,
    OpenApi(Vec<OsString>),
    Test(Vec<OsString>),
    Check,
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
        "keys" => return keys(parser),
        "demo" => Command::Demo,
        "routes" => Command::Routes,
        "check" => Command::Check,
        "seed" => return Ok(Command::Seed(parser.raw_args()?.collect())),
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
    let (mut function, mut follow) = (None, false);
    while let Some(argument) = parser.next()? {
        match argument {
            Long("follow") | Short('f') => follow = true,
            Value(name) if function.is_none() => function = Some(name.string()?),
            other => return Err(other.unexpected().into()),
        }
    }
    Ok(Command::Logs { function, follow })
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
    use super::{Command, parse_from};

    fn parse(words: &[&str]) -> anyhow::Result<Command> {
        parse_from(lexopt::Parser::from_args(words))
    }

    #[test]
    fn a_function_and_follow_come_in_any_order() {
        for words in [["logs", "on-email", "--follow"], ["logs", "-f", "on-email"]] {
            let Ok(Command::Logs { function, follow }) = parse(&words) else { panic!("not understood: {words:?}") };
            assert_eq!((function.as_deref(), follow), (Some("on-email"), true));
        }
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
