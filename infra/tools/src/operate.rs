//! What an operator's command line has in common: words, an id, and which environment is meant.

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
    /// Without `--env`, the local stage is meant: `SOUK_STAGE` says its name.
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

    /// The full name of something of this environment.
    pub fn full_name(&self, name: &str) -> String {
        format!("souk-{}-{name}", self.environment)
    }
}
