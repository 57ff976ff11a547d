//! Key rotation: the stage's token keys are made once, handed to the functions, and replaced while sessions go on.
//!
//! One order holds everywhere: first every function that verifies has a key's public half, then the key signs; first no
//! function signs with a key, then it is no longer accepted. `token-keys.json` is written before each step, and both `up`
//! and `keys rotate` do all steps that are left: a run that died is repaired by the next one.

use std::time::UNIX_EPOCH;

use anyhow::{Context, Result, bail};

use crate::aws::{Aws, Function};
use crate::progress::{note, step};
use crate::stage::{Stage, TOKEN_SIGNING_KEY, parameter_name, secret_name};
use crate::token_keys::TokenKeys;

/// Environment variables of the functions that verify tokens, and of those that sign them.
const PUBLIC_KEYS: &str = "SOUK_TOKEN_PUBLIC_KEYS";
const SIGNING_SECRET: &str = "SOUK_TOKEN_SIGNING_SECRET";

/// `cargo xtask keys rotate`. An unfinished rotation is brought to its end instead.
pub fn rotate(stage: &Stage, drop_old: bool) -> Result<()> {
    let mut keys = TokenKeys::read(stage)?;
    if keys.is_unfinished() {
        note("an earlier rotation did not end: going on with it");
    } else {
        let new = step("new key", || new(stage))?;
        keys.accept(new, now()?);
    }
    if drop_old {
        keys.plan_to_drop_old();
    }
    keys.save(stage)?;
    finish(stage, &Aws::of(stage), &mut keys)?;
    note(&format!("signs: {}", keys.signing_id()));
    note(&format!("accepted: {}", keys.accepted_ids().join(", ")));
    Ok(())
}

/// Hands the stage's keys to its functions.
pub fn hand_over(stage: &Stage, aws: &Aws) -> Result<()> {
    if !TokenKeys::path(stage).exists() {
        new(stage)?.save(stage)?;
    }
    finish(stage, aws, &mut TokenKeys::read(stage)?)
}

/// Does the steps that are left, and reports those that change something.
fn finish(stage: &Stage, aws: &Aws, keys: &mut TokenKeys) -> Result<()> {
    hand_out(aws, keys)?;
    if keys.has_next() {
        keys.promote(now()?);
        keys.save(stage)?;
    }
    aws.put_secret(&secret_name(TOKEN_SIGNING_KEY), &keys.signing)?;
    if keys.drops_old() {
        // Left alone they would sign with the old key until they read the secret again.
        let signers = functions_with(aws, SIGNING_SECRET)?;
        step("the functions that sign start anew", || restart(aws, &signers))?;
        keys.drop_old();
        keys.save(stage)?;
        hand_out(aws, keys)?;
    }
    Ok(())
}

/// Public keys are in the environment of functions, and for the next deployment in a parameter.
fn hand_out(aws: &Aws, keys: &TokenKeys) -> Result<()> {
    let key_set = keys.key_set();
    aws.put_parameter(&parameter_name("token/public-keys"), &key_set)?;
    let mut outdated = functions_with(aws, PUBLIC_KEYS)?;
    outdated.retain(|function| function.variable(PUBLIC_KEYS) != Some(&key_set));
    if outdated.is_empty() {
        return Ok(());
    }
    for function in &mut outdated {
        function.set_variable(PUBLIC_KEYS, &key_set);
    }
    let names: Vec<&str> = outdated.iter().map(|function| function.name.as_str()).collect();
    step(&format!("public keys for {}", names.join(", ")), || restart(aws, &outdated))
}

fn functions_with(aws: &Aws, variable: &str) -> Result<Vec<Function>> {
    let mut functions = aws.functions()?;
    functions.retain(|function| function.variable(variable).is_some());
    Ok(functions)
}

/// Updates functions' environments, which ends their running copies, and waits until they are in force.
fn restart(aws: &Aws, functions: &[Function]) -> Result<()> {
    for function in functions {
        aws.update_environment(function)?;
    }
    functions.iter().try_for_each(|function| aws.wait_until_updated(&function.name))
}

fn new(stage: &Stage) -> Result<TokenKeys> {
    let output = stage.command(stage.workspace.binary("tools")).args(["keys", "new"]).output()?;
    if !output.status.success() {
        bail!("`tools keys new` failed: {}", String::from_utf8_lossy(&output.stderr));
    }
    TokenKeys::of_text(&String::from_utf8(output.stdout)?).context("`tools keys new` printed no keys")
}

/// Seconds since 1970.
fn now() -> Result<u64> {
    Ok(UNIX_EPOCH.elapsed().context("the clock is before 1970")?.as_secs())
}
