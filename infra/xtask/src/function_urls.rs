//! URLs of the functions whose replies are streamed, which an HTTP API cannot do.

use std::collections::BTreeMap;

use anyhow::{Context, Result};

use crate::aws::Aws;
use crate::stack_deploy::function_name;
use crate::stage::{REGION, STACK, Stage};

/// Each function's URL on this machine, by the function's name.
pub fn read(stage: &Stage, aws: &Aws) -> Result<BTreeMap<String, String>> {
    let resources = aws.stack_resources(STACK)?;
    let template = aws.processed_template(STACK)?;
    let all = template["Resources"].as_object().context("the stack has no resources")?;
    let mut urls = BTreeMap::new();
    for (logical, _) in all.iter().filter(|(_, resource)| resource["Type"] == "AWS::Lambda::Url") {
        let function = resources.get(logical).with_context(|| format!("the stack has no resource `{logical}`"))?;
        let url = aws.function_url(function)?;
        // The host name that AWS gives it leads out of this machine.
        let id = url.trim_start_matches("https://").split('.').next().unwrap_or_default();
        // It belongs to the function's alias: NAME:live.
        let name = function.split(':').next().unwrap_or_default();
        let name = name.strip_prefix(&function_name("")).unwrap_or(name);
        urls.insert(name.to_owned(), format!("http://{id}.lambda-url.{REGION}.localhost:{}", stage.ports.aws));
    }
    Ok(urls)
}
