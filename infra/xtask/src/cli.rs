//! The command line.

use std::ffi::OsString;

use anyhow::{Result, bail};
use lexopt::prelude::*;

use crate::delivery::{Architecture, Release, Stack};
use crate::logs::Selection;

pub const HELP: &str = "\
The whole of Souk on this machine, without Docker and without an AWS account.

Usage: cargo xtask COMMAND

  up                        build, start and deploy everything; idempotent, also repairs a stage that is partly down
  down [--purge]            stop it; --purge also deletes its data
  status                    the servers, their ports, and the deployed functions
  logs [FUNCTION] [-f] [--trace ID]
                            the functions' logs; -f or --follow goes on as they run; --trace shows only the lines of one
                            trace, from the request to the last consumer
  dlq list                  the number of messages in each dead-letter queue
  dlq show QUEUE            those of one queue, and why they failed
  dlq redrive QUEUE [--id ID]
                            moves them, or one, back into their queue
  dlq drop QUEUE --id ID    deletes one
  outbox list               messages that were committed and not sent yet
  outbox replay [--id ID]   the relay sends them, or one; with --id, one that was sent before too
                            dlq and outbox take --env NAME: not the local stage then, but that environment in AWS, with the
                            credentials and region that AWS's own tools take from the environment
  mail [NAME]               the list of mails; with NAME, writes that one to target/mail, to be looked at
  demo                      play the story: register, log in, create, order, and see each step
  seed [--products N] [--orders M] [--users K]
                            sample data: three users to log in as, N products (200), M orders (0), K customers (0); adds what
                            is missing. A million products take a minute or two; the local MongoDB-compatible server is
                            slow above some thousands of customers
  keys rotate [--drop-old]  a new signing key, while sessions go on; --drop-old also ends the tokens that the old keys
                            signed, for a key that leaked
  lab [NAME ...]            the runtime's internals as experiments: figures, and a page of charts in target/lab
  routes                    the endpoints and their access rules
  openapi [--check]         write openapi.json; --check only compares
  deploy [stores | app | monitoring] --env NAME [--yes] [--no-build] [--dry-run]
                            builds for AWS, and deploys a stack (app) to an environment of samconfig.toml: shows the change set
                            and asks; --yes does not ask; --no-build deploys an earlier build; --dry-run prints the commands only
  rollback --env NAME [--yes]
                            moves every function in AWS back to the version before
  build [--architecture A]  the functions as they are deployed, for arm64 (or x86_64)
  sizes                     their sizes, zipped as AWS stores them
  test [ARGUMENTS]          all tests, on a stage of their own; ARGUMENTS go to `cargo test`
  check                     formatting, lints, licences, templates, openapi.json

Environment:
  SOUK_MYSQL_PORT (13306), SOUK_REDIS_PORT (16379), SOUK_MONGODB_PORT (27117), SOUK_AWS_PORT (4566),
  SOUK_OPENID_PORT (18080)
                            other ports for `up`
  SOUK_MYSQL_URL, SOUK_MONGODB_URI, SOUK_REDIS_URL
                            a server you already have, used instead of starting one
  SOUK_PARAMETERS           parameters of template.yaml for `up`: \"Traces=collector LogSampleRate=1\"

All state is in .local/, all servers listen on 127.0.0.1 only.
";

pub enum Command {
    Help,
    Up,
    Down {
        purge: bool,
    },
    Status,
    Logs(Selection),
    /// A command of the tools, on the local stage or in AWS.
    Operate {
        subcommand: &'static str,
        arguments: Vec<OsString>,
        is_local: bool,
    },
    Mail(Vec<OsString>),
    Demo,
    Lab(Vec<OsString>),
    Seed(Vec<OsString>),
    RotateKeys {
        drop_old: bool,
    },
    Routes,
    Build(Architecture),
    Sizes,
    Deploy(Release),
    Rollback(Vec<OsString>),
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
        "dlq" => return operate("dlq", parser),
        "keys" => return keys(parser),
        "build" => return build(parser),
        "deploy" => return deploy(parser),
        "rollback" => return Ok(Command::Rollback(parser.raw_args()?.collect())),
        "demo" => Command::Demo,
        "routes" => Command::Routes,
        "sizes" => Command::Sizes,
        "check" => Command::Check,
        "lab" => return Ok(Command::Lab(parser.raw_args()?.collect())),
        "seed" => return Ok(Command::Seed(parser.raw_args()?.collect())),
        "outbox" => return operate("outbox", parser),
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

/// The arguments are parsed by the tools.
fn operate(subcommand: &'static str, mut parser: lexopt::Parser) -> Result<Command> {
    let arguments: Vec<OsString> = parser.raw_args()?.collect();
    let names_environment =
        |argument: &OsString| argument.to_str().is_some_and(|text| text.split('=').next() == Some("--env"));
    let is_local = !arguments.iter().any(names_environment);
    Ok(Command::Operate { subcommand, arguments, is_local })
}

fn deploy(mut parser: lexopt::Parser) -> Result<Command> {
    let (mut environment, mut stack) = (None, None);
    let (mut yes, mut no_build, mut dry_run) = (false, false, false);
    while let Some(argument) = parser.next()? {
        match argument {
            Long("env") => environment = Some(parser.value()?.string()?),
            Long("yes") => yes = true,
            Long("no-build") => no_build = true,
            Long("dry-run") => dry_run = true,
            Value(name) if stack.is_none() => stack = Some(Stack::parse(&name.string()?)?),
            other => return Err(other.unexpected().into()),
        }
    }
    let Some(environment) = environment else { bail!("deploy where to? --env NAME, as in samconfig.toml") };
    Ok(Command::Deploy(Release { environment, stack: stack.unwrap_or(Stack::App), yes, no_build, dry_run }))
}

fn build(mut parser: lexopt::Parser) -> Result<Command> {
    let mut architecture = Architecture::Arm64;
    while let Some(argument) = parser.next()? {
        match argument {
            Long("architecture") => architecture = Architecture::parse(&parser.value()?.string()?)?,
            other => return Err(other.unexpected().into()),
        }
    }
    Ok(Command::Build(architecture))
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
    use super::{Command, Release, Stack, parse_from};

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
    fn an_operator_means_the_local_stage_unless_an_environment_is_named() {
        let is_local = |words: &[&str]| {
            let Ok(Command::Operate { is_local, arguments, .. }) = parse(words) else {
                panic!("not understood: {words:?}")
            };
            assert_eq!(arguments, words[1..]);
            is_local
        };
        assert!(is_local(&["dlq", "redrive", "email", "--id", "1"]));
        assert!(is_local(&["outbox", "list"]));
        assert!(!is_local(&["outbox", "list", "--env", "prod"]));
        assert!(!is_local(&["dlq", "list", "--env=prod"]));
    }

    #[test]
    fn a_deployment_names_its_environment_and_means_the_app_unless_it_says_otherwise() {
        let Ok(Command::Deploy(release)) = parse(&["deploy", "--env", "prod"]) else { panic!("not understood") };
        let app =
            Release { environment: "prod".to_owned(), stack: Stack::App, yes: false, no_build: false, dry_run: false };
        assert_eq!(release, app);
        let Ok(Command::Deploy(release)) = parse(&["deploy", "stores", "--dry-run", "--env=prod"]) else {
            panic!("not understood")
        };
        assert_eq!(release, Release { stack: Stack::Stores, dry_run: true, ..app });
        assert!(parse(&["deploy"]).is_err());
        assert!(parse(&["deploy", "everything", "--env", "prod"]).is_err());
    }

    #[test]
    fn arguments_of_test_are_passed_on_untouched() {
        let Ok(Command::Test(arguments)) = parse(&["test", "--test", "drift", "--", "--nocapture"]) else {
            panic!("not understood")
        };
        assert_eq!(arguments, ["--test", "drift", "--", "--nocapture"]);
    }

    #[test]
    fn unknown_commands_and_arguments_are_refused() {
        assert!(parse(&["fly"]).is_err());
        assert!(parse(&["up", "--fast"]).is_err());
        assert!(parse(&["logs", "a", "b"]).is_err());
        assert!(parse(&["keys"]).is_err());
        assert!(parse(&["keys", "--drop-old"]).is_err());
    }
}
