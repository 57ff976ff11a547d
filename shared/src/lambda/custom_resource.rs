//! CloudFormation custom resources: how a deployment has a function run, and waits for it.
//!
//! The reply goes to a pre-signed address, not to the invoker:
//! <https://docs.aws.amazon.com/AWSCloudFormation/latest/UserGuide/crpg-ref-requests.html>

use std::time::Duration;

use serde::Deserialize;
use serde_json::json;

use super::TaskError;
use crate::{boxed, http_client};

/// How long CloudFormation may take to take the reply.
const REPLY_TIMEOUT: Duration = Duration::from_secs(10);

/// What invokes a function at deployment: CloudFormation, or a person who sends anything else.
#[derive(Deserialize)]
#[serde(untagged)]
pub enum Deployment {
    CloudFormation(CustomResource),
    Direct(serde::de::IgnoredAny),
}

/// CloudFormation's request.
#[derive(Deserialize)]
#[serde(rename_all = "PascalCase")]
pub struct CustomResource {
    request_type: String,
    #[serde(rename = "ResponseURL")]
    response_url: String,
    stack_id: String,
    request_id: String,
    logical_resource_id: String,
    physical_resource_id: Option<String>,
}

impl Deployment {
    /// Whether there is something to do: deleting the stack leaves the data alone.
    #[must_use]
    pub fn is_wanted(&self) -> bool {
        !matches!(self, Self::CloudFormation(request) if request.request_type == "Delete")
    }

    /// Tells CloudFormation how it went. Without this it would wait for an hour.
    ///
    /// # Errors
    /// When the address does not take the reply.
    #[boxed]
    pub async fn respond(&self, result: Result<(), &str>) -> Result<(), TaskError> {
        let Self::CloudFormation(request) = self else { return Ok(()) };
        let body = json!({
            "Status": if result.is_ok() { "SUCCESS" } else { "FAILED" },
            "Reason": result.err().unwrap_or("done"),
            "PhysicalResourceId": request.physical_resource_id.as_ref().unwrap_or(&request.logical_resource_id),
            "StackId": request.stack_id,
            "RequestId": request.request_id,
            "LogicalResourceId": request.logical_resource_id,
        });
        Ok(http_client::put(&request.response_url, body.to_string(), REPLY_TIMEOUT).await?)
    }
}
