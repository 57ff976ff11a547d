//! `cargo xtask demo`: the story of Souk, told with real requests through the real authorizer.
//!
//! Each request and reply is printed in brief. The first unexpected reply ends it.

mod client;
mod identity;
mod mailbox;
mod story;

use anyhow::{Context, Result};
use serde_json::Value;

use crate::aws::Aws;
use crate::progress::say;
use crate::stage::Stage;

pub fn demo(stage: &Stage) -> Result<()> {
    let description = std::fs::read_to_string(stage.description_file()).context("cannot read stage.json")?;
    let description: Value = serde_json::from_str(&description).context("stage.json is damaged")?;
    let url = description["apiUrl"].as_str().context("stage.json has no apiUrl")?;
    let aws = Aws::of(stage);
    say!("The story of Souk, at {url}");
    let api = client::Api::new(url, stage.ports.aws)?;
    story::Story::new(&api, &aws)?.tell()?;
    say!("\nAll of it is as it should be.");
    Ok(())
}
