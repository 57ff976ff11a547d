//! CloudFormation: the state, resources and template of the stack.

use std::collections::BTreeMap;

use anyhow::{Context, Result, bail};
use serde_json::Value;
use ureq::http::Method;

use super::{Aws, read, xml};

#[derive(Clone, Copy, PartialEq, Eq)]
pub enum StackState {
    Absent,
    /// Created or updated, or an update was rolled back: a deployment can go on from here.
    Usable,
    /// A creation failed: it must be deleted before it can be created again.
    Broken,
}

impl Aws {
    pub fn stack_state(&self, stack: &str) -> Result<StackState> {
        let (is_success, reply) = self.cloudformation("DescribeStacks", &format!("StackName={stack}"))?;
        if !is_success {
            return if reply.contains("does not exist") {
                Ok(StackState::Absent)
            } else {
                bail!("DescribeStacks: {reply}")
            };
        }
        Ok(match xml::text(&reply, "StackStatus").as_deref() {
            None | Some("DELETE_COMPLETE") => StackState::Absent,
            Some("CREATE_COMPLETE" | "UPDATE_COMPLETE" | "UPDATE_ROLLBACK_COMPLETE") => StackState::Usable,
            Some(_) => StackState::Broken,
        })
    }

    pub fn delete_stack(&self, stack: &str) -> Result<()> {
        self.cloudformation("DeleteStack", &format!("StackName={stack}")).map(drop)
    }

    /// Logical id to physical id.
    pub fn stack_resources(&self, stack: &str) -> Result<BTreeMap<String, String>> {
        let (_, reply) = self.cloudformation("DescribeStackResources", &format!("StackName={stack}"))?;
        let members = xml::elements(&reply, "member").into_iter();
        Ok(members
            .filter_map(|member| {
                Some((xml::text(member, "LogicalResourceId")?, xml::text(member, "PhysicalResourceId")?))
            })
            .collect())
    }

    /// The template as the SAM transform left it.
    pub fn processed_template(&self, stack: &str) -> Result<Value> {
        let (_, reply) = self.cloudformation("GetTemplate", &format!("StackName={stack}&TemplateStage=Processed"))?;
        let body = xml::text(&reply, "TemplateBody").context("GetTemplate returned no template")?;
        serde_json::from_str(&body).context("GetTemplate returned a template that is not JSON")
    }

    fn cloudformation(&self, action: &str, parameters: &str) -> Result<(bool, String)> {
        let body = format!("Action={action}&Version=2010-05-15&{parameters}");
        let request = self
            .request("cloudformation", &Method::POST, "/")
            .header("content-type", "application/x-www-form-urlencoded")
            .body(body.into_bytes())?;
        let mut reply = self.agent.run(request).with_context(|| action.to_owned())?;
        Ok((reply.status().is_success(), read(&mut reply)?))
    }
}
