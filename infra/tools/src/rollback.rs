//! `tools rollback`: every function back to the version before, at once.
//!
//! Only the aliases move: the code that they point to is still there. The stack does not know of it, and its next deployment brings
//! the functions to that deployment's versions.

use std::io::{BufRead, Write};

use anyhow::{Result, bail, ensure};
use aws_sdk_lambda::{Client, types::AliasConfiguration};
use lexopt::{Arg, Parser, ValueExt};
use shared::aws::Aws;

/// What requests are sent to: `AutoPublishAlias` in the template.
const ALIAS: &str = "live";

/// An alias, and the version that it goes back to.
struct Step {
    function: String,
    from: u64,
    to: u64,
    revision: Option<String>,
}

pub async fn run(arguments: &mut Parser) -> Result<()> {
    let (mut environment, mut yes) = (None, false);
    while let Some(argument) = arguments.next()? {
        match argument {
            Arg::Long("env") => environment = Some(arguments.value()?.string()?),
            Arg::Long("yes") => yes = true,
            other => bail!(other.unexpected()),
        }
    }
    let Some(environment) = environment else { bail!("it is `rollback --env NAME [--yes]`") };
    let aws = Aws::default();
    let client = Client::new(aws.config().await);
    let steps = plan(&client, &format!("souk-{environment}-")).await?;
    for Step { function, from, to, .. } in &steps {
        println!("{function:<48} {from} → {to}");
    }
    ensure!(!steps.is_empty(), "no function of `{environment}` has a version before the one that is live");
    if !yes && !is_confirmed(steps.len())? {
        bail!("nothing was changed");
    }
    for step in &steps {
        go_back(&client, step).await?;
    }
    println!("{} functions went back", steps.len());
    Ok(())
}

async fn plan(client: &Client, prefix: &str) -> Result<Vec<Step>> {
    let mut steps = Vec::new();
    let mut functions = client.list_functions().into_paginator().items().send();
    while let Some(function) = functions.next().await {
        let Some(name) = function?.function_name.filter(|name| name.starts_with(prefix)) else { continue };
        let Some(alias) = alias(client, &name).await? else { continue };
        let from = number(alias.function_version());
        let mut versions = Vec::new();
        let mut published = client.list_versions_by_function().function_name(&name).into_paginator().items().send();
        while let Some(version) = published.next().await {
            versions.push(number(version?.version()));
        }
        if let Some(to) = before(from, &versions) {
            steps.push(Step { function: name, from, to, revision: alias.revision_id });
        }
    }
    Ok(steps)
}

async fn alias(client: &Client, function: &str) -> Result<Option<AliasConfiguration>> {
    let aliases = client.list_aliases().function_name(function).send().await?;
    Ok(aliases.aliases.unwrap_or_default().into_iter().find(|alias| alias.name() == Some(ALIAS)))
}

/// A version's number; 0 for `$LATEST`.
fn number(version: Option<&str>) -> u64 {
    version.and_then(|version| version.parse().ok()).unwrap_or(0)
}

fn before(version: u64, published: &[u64]) -> Option<u64> {
    published.iter().copied().filter(|other| (1..version).contains(other)).max()
}

/// All traffic to the version before, unless somebody else has moved the alias meanwhile.
async fn go_back(client: &Client, step: &Step) -> Result<()> {
    let all = aws_sdk_lambda::types::AliasRoutingConfiguration::builder().build();
    let update = client.update_alias().function_name(&step.function).name(ALIAS).routing_config(all);
    let update = update.function_version(step.to.to_string()).set_revision_id(step.revision.clone());
    Box::pin(update.send()).await?;
    Ok(())
}

fn is_confirmed(functions: usize) -> Result<bool> {
    print!("{functions} functions go back. Type `yes`: ");
    std::io::stdout().flush()?;
    let mut line = String::new();
    std::io::stdin().lock().read_line(&mut line)?;
    Ok(line.trim() == "yes")
}

#[cfg(test)]
mod tests {
    use super::{before, number};

    #[test]
    fn the_version_before_is_the_last_that_is_still_there() {
        assert_eq!(before(7, &[0, 3, 5, 7, 8]), Some(5));
        assert_eq!(before(3, &[0, 3, 5]), None);
        assert_eq!(number(Some("$LATEST")), 0);
        assert_eq!(number(Some("12")), 12);
    }
}
