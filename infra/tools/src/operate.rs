//! The common part of an operator's command lines: words, an id, and an environment.

use anyhow::{Context, Result, bail};
use lexopt::{Arg, Parser, ValueExt};
use shared::environment;

/// A command line such as `redrive email --id 1 --env prod`.
pub struct Arguments {
    pub words: Vec<String>,
    pub id: Option<String>,
    /// The name of the environment: the parameter `Stage` of its stack.
    pub environment: String,
}

impl Arguments {
    /// Without `--env` it is the local stage, named by `SOUK_STAGE`.
    pub fn read(parser: &mut Parser) -> Result<Self> {
        let (mut words, mut id, mut environment) = (Vec::new(), None, None);
        while let Some(argument) = parser.next()? {
            match argument {
                Arg::Value(word) => words.push(word.string()?),
                Arg::Long("id") if id.is_none() => id = Some(parser.value()?.string()?),
                Arg::Long("env") if environment.is_none() => environment = Some(parser.value()?.string()?),
                other => bail!(other.unexpected()),
            }
        }
        let environment = match environment {
            Some(name) => name,
            None => environment::required("SOUK_STAGE").context("it is not said which environment: --env NAME")?,
        };
        Ok(Self { words, id, environment })
    }

    pub fn words(&self) -> Vec<&str> {
        self.words.iter().map(String::as_str).collect()
    }

    /// The full name of a resource of this environment.
    pub fn full_name(&self, name: &str) -> String {
        format!("souk-{}-{name}", self.environment)
    }
}
