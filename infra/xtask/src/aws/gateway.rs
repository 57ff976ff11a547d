//! API Gateway v2: the authorizer, integrations and routes of an HTTP API.

use anyhow::{Context, Result};
use serde_json::{Value, json};
use ureq::http::Method;

use super::Aws;

/// A route, existing or wanted.
#[derive(PartialEq, Eq)]
pub struct Route {
    /// `METHOD /path`
    pub key: String,
    /// The ARN of the function that answers.
    pub function: String,
    pub authorizer: Option<String>,
}

/// A Lambda authorizer with simple responses.
pub struct Authorizer {
    pub name: String,
    pub function: String,
    pub identity_sources: Vec<String>,
    pub ttl_seconds: i64,
}

impl Aws {
    /// Creates the authorizer or corrects the one of that name; returns its id.
    pub fn put_authorizer(&self, api: &str, authorizer: &Authorizer) -> Result<String> {
        let body = json!({
            "name": authorizer.name,
            "authorizerType": "REQUEST",
            "authorizerPayloadFormatVersion": "2.0",
            "enableSimpleResponses": true,
            "authorizerResultTtlInSeconds": authorizer.ttl_seconds,
            "identitySource": authorizer.identity_sources,
            "authorizerUri": format!(
                "arn:aws:apigateway:{}:lambda:path/2015-03-31/functions/{}/invocations",
                crate::stage::REGION,
                authorizer.function
            ),
        });
        let existing =
            self.list(api, "authorizers")?.into_iter().find(|found| found["name"] == authorizer.name.as_str());
        let reply = match existing {
            Some(found) => {
                let path = format!("authorizers/{}", string(&found, "authorizerId")?);
                self.api(&Method::PATCH, api, &path, Some(&body))?
            }
            None => self.api(&Method::POST, api, "authorizers", Some(&body))?,
        };
        string(&reply, "authorizerId")
    }

    /// The routes there are, each with its id.
    pub fn routes(&self, api: &str) -> Result<Vec<(String, Route)>> {
        let integrations = self.list(api, "integrations")?;
        let function_of = |target: &str| {
            let id = target.strip_prefix("integrations/")?;
            let integration = integrations.iter().find(|found| found["integrationId"] == id)?;
            integration["integrationUri"].as_str().map(str::to_owned)
        };
        let routes = self.list(api, "routes")?;
        let read = |route: &Value| {
            let found = Route {
                key: string(route, "routeKey")?,
                function: route["target"].as_str().and_then(function_of).unwrap_or_default(),
                authorizer: route["authorizerId"].as_str().map(str::to_owned),
            };
            Ok((string(route, "routeId")?, found))
        };
        routes.iter().map(read).collect()
    }

    pub fn create_route(&self, api: &str, route: &Route) -> Result<()> {
        let integration = self.integration(api, &route.function)?;
        let mut body = json!({"routeKey": route.key, "target": format!("integrations/{integration}")});
        if let Some(authorizer) = &route.authorizer {
            body["authorizationType"] = json!("CUSTOM");
            body["authorizerId"] = json!(authorizer);
        }
        self.api(&Method::POST, api, "routes", Some(&body)).map(drop)
    }

    pub fn delete_route(&self, api: &str, id: &str) -> Result<()> {
        self.api(&Method::DELETE, api, &format!("routes/{id}"), None).map(drop)
    }

    /// The id of the integration with a function, made if there is none yet.
    fn integration(&self, api: &str, function: &str) -> Result<String> {
        let existing = self.list(api, "integrations")?.into_iter().find(|found| found["integrationUri"] == function);
        let integration = if let Some(found) = existing {
            found
        } else {
            let body =
                json!({"integrationType": "AWS_PROXY", "integrationUri": function, "payloadFormatVersion": "2.0"});
            self.api(&Method::POST, api, "integrations", Some(&body))?
        };
        string(&integration, "integrationId")
    }

    fn list(&self, api: &str, kind: &str) -> Result<Vec<Value>> {
        let reply = self.api(&Method::GET, api, kind, None)?;
        Ok(reply["items"].as_array().cloned().unwrap_or_default())
    }

    fn api(&self, method: &Method, api: &str, path: &str, body: Option<&Value>) -> Result<Value> {
        let path = format!("/v2/apis/{api}/{path}");
        self.rest("apigateway", method, path.trim_end_matches('/'), body)
    }
}

fn string(value: &Value, key: &str) -> Result<String> {
    value[key].as_str().map(str::to_owned).with_context(|| format!("API Gateway returned no {key}"))
}
