//! The routes of the HTTP API.
//!
//! SAM turns the `HttpApi` events of the template into an OpenAPI body that AWS imports. MiniStack does not import it, so this room
//! does: it reads the processed template and makes authorizer and routes so. Idempotent.

use std::collections::BTreeMap;

use anyhow::{Context, Result};
use serde_json::Value;

use crate::aws::{Authorizer, Aws, Route};
use crate::stage::{ACCOUNT, REGION, STACK};

/// The logical id of the API in `template.yaml`.
const API: &str = "Api";

/// Makes the routes as the template says; returns the id of the API.
pub fn sync(aws: &Aws) -> Result<String> {
    let resources = aws.stack_resources(STACK)?;
    let template = aws.processed_template(STACK)?;
    let api = resources.get(API).with_context(|| format!("the stack has no resource `{API}`"))?.clone();
    let body = &template["Resources"][API]["Properties"]["Body"];
    let authorizers = sync_authorizers(aws, &api, body, &resources)?;
    let wanted = routes(body, &resources, &authorizers)?;
    let existing = aws.routes(&api)?;
    for (id, route) in &existing {
        if !wanted.contains(route) {
            aws.delete_route(&api, id)?;
        }
    }
    for route in &wanted {
        if !existing.iter().any(|(_, found)| found == route) {
            aws.create_route(&api, route)?;
        }
    }
    Ok(api)
}

/// The authorizers of the OpenAPI document, by name; returns their ids.
fn sync_authorizers(
    aws: &Aws,
    api: &str,
    body: &Value,
    resources: &BTreeMap<String, String>,
) -> Result<BTreeMap<String, String>> {
    let mut ids = BTreeMap::new();
    for (name, scheme) in body["components"]["securitySchemes"].as_object().into_iter().flatten() {
        let definition = &scheme["x-amazon-apigateway-authorizer"];
        let sources = definition["identitySource"].as_array().into_iter().flatten();
        let authorizer = Authorizer {
            name: name.clone(),
            function: function_arn(&definition["authorizerUri"], resources)?,
            identity_sources: sources.filter_map(|source| source.as_str().map(str::to_owned)).collect(),
            ttl_seconds: definition["authorizerResultTtlInSeconds"].as_i64().unwrap_or(0),
        };
        ids.insert(name.clone(), aws.put_authorizer(api, &authorizer)?);
    }
    Ok(ids)
}

/// The operations of the OpenAPI document as routes.
fn routes(
    body: &Value,
    resources: &BTreeMap<String, String>,
    authorizers: &BTreeMap<String, String>,
) -> Result<Vec<Route>> {
    let mut routes = Vec::new();
    for (path, operations) in body["paths"].as_object().context("the API has no paths")? {
        for (method, operation) in present(operations).as_object().into_iter().flatten() {
            let operation = present(operation);
            let integration = &operation["x-amazon-apigateway-integration"];
            // A public operation names the scheme `NONE`, or no scheme at all.
            let schemes = operation["security"].as_array().into_iter().flatten().filter_map(Value::as_object);
            let authorizer = schemes.flat_map(|scheme| scheme.keys()).find_map(|name| authorizers.get(name));
            routes.push(Route {
                key: format!("{} {path}", method.to_uppercase()),
                function: function_arn(&integration["uri"], resources).with_context(|| format!("{method} {path}"))?,
                authorizer: authorizer.cloned(),
            });
        }
    }
    Ok(routes)
}

/// The value of `Fn::If` when its condition holds, as all of them do on the stage: SAM makes the path and the operation of a conditional
/// function conditional too.
fn present(value: &Value) -> &Value {
    value["Fn::If"].get(1).unwrap_or(value)
}

/// The ARN of the function in an integration's URI, which is full of intrinsic functions.
fn function_arn(uri: &Value, resources: &BTreeMap<String, String>) -> Result<String> {
    let logical = referred_resource(uri).with_context(|| format!("no function in {uri}"))?;
    let name = resources.get(&logical).with_context(|| format!("the stack has no resource `{logical}`"))?;
    Ok(format!("arn:aws:lambda:{REGION}:{ACCOUNT}:function:{name}"))
}

/// The logical id in `{"Fn::GetAtt": [ID, "Arn"]}`, `{"Ref": IDAliaslive}`, `${ID.Arn}` or `${IDAliaslive}`, wherever in the value it is.
/// The function is called without its alias, which here always leads to `$LATEST`.
fn referred_resource(value: &Value) -> Option<String> {
    match value {
        Value::String(text) => {
            let (reference, _) = text.rsplit_once("${")?.1.split_once('}')?;
            let logical = reference.strip_suffix(".Arn").or_else(|| reference.strip_suffix("Aliaslive"));
            logical.map(str::to_owned)
        }
        Value::Array(items) => items.iter().find_map(referred_resource),
        Value::Object(fields) => {
            if let Some(Value::Array(path)) = fields.get("Fn::GetAtt") {
                return path.first()?.as_str().map(str::to_owned);
            }
            let alias = fields.get("Ref").and_then(Value::as_str).and_then(|alias| alias.strip_suffix("Aliaslive"));
            alias.map(str::to_owned).or_else(|| fields.values().find_map(referred_resource))
        }
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use serde_json::json;

    use super::{referred_resource, routes};

    #[test]
    fn the_function_is_found_in_every_form() {
        let sub = json!({"Fn::Sub": "arn:${AWS::Partition}:x/functions/${OrdersPlace.Arn}/invocations"});
        let get = json!({"Fn::Sub": ["x/${F}/y", {"F": {"Fn::GetAtt": ["Authorizer", "Arn"]}}]});
        let alias_of = json!({"Fn::Sub": ["x/${F}/y", {"F": {"Ref": "AuthorizerAliaslive"}}]});
        let alias = json!({"Fn::Sub": "arn:${AWS::Partition}:x/functions/${OrdersListAliaslive}/invocations"});
        assert_eq!(referred_resource(&sub).as_deref(), Some("OrdersPlace"));
        assert_eq!(referred_resource(&alias).as_deref(), Some("OrdersList"));
        assert_eq!(referred_resource(&get).as_deref(), Some("Authorizer"));
        assert_eq!(referred_resource(&alias_of).as_deref(), Some("Authorizer"));
        assert_eq!(referred_resource(&json!("http://example")), None);
    }

    #[test]
    fn only_operations_with_a_known_scheme_are_authorized() {
        let uri = json!({"Fn::Sub": "f/${Health.Arn}/i"});
        let operation = |security| json!({"x-amazon-apigateway-integration": {"uri": uri}, "security": security});
        let only_if_b = |value| json!({ "Fn::If": ["HasB", value, { "Ref": "AWS::NoValue" }] });
        let body = json!({"paths": {
            "/a": { "get": operation(json!([{"NONE": []}])), "post": operation(json!([{"Tokens": []}])) },
            "/b": only_if_b(json!({ "get": only_if_b(operation(json!([]))) })),
        }});
        let resources = BTreeMap::from([("Health".to_owned(), "souk-local-health".to_owned())]);
        let authorizers = BTreeMap::from([("Tokens".to_owned(), "id1".to_owned())]);
        let found = routes(&body, &resources, &authorizers).unwrap();
        let read: Vec<_> = found.iter().map(|route| (route.key.as_str(), route.authorizer.as_deref())).collect();
        assert_eq!(read, [("GET /a", None), ("POST /a", Some("id1")), ("GET /b", None)]);
    }
}
