//! HTTP events: from an HTTP API or a function URL (payload 2.0), a REST API (payload 1.0), a load balancer.

use std::{
    borrow::Cow,
    panic::{AssertUnwindSafe, catch_unwind},
};

use aws_lambda_events::{
    alb::AlbTargetGroupResponse,
    apigw::{ApiGatewayProxyResponse, ApiGatewayV2httpRequest, ApiGatewayV2httpResponse},
};
use lambda_http::{
    Body, RequestExt, Response,
    http::header::{AsHeaderName, HOST, USER_AGENT},
    request::{LambdaRequest, RequestContext},
};
use percent_encoding::{AsciiSet, CONTROLS, percent_decode_str, utf8_percent_encode};
use serde::Serialize;

use super::{HttpEndpoint, caller_context};
use crate::{
    error::{ApiError, Problem},
    identity::{Caller, Client},
};

/// A request; what sent it is an extension of it.
pub(super) type HttpRequest = lambda_http::Request;

/// The parameters of a path, by their names.
pub(super) type PathParameters<'a> = Vec<(&'a str, Cow<'a, str>)>;

/// The URL standard's *query percent-encode set*: what a client may leave as it is, and a URI cannot hold.
const QUERY: &AsciiSet = &CONTROLS.add(b' ').add(b'"').add(b'#').add(b'<').add(b'>');

/// Reads an event of any kind. What the `requestContext` has to have tells them apart: `http`, `elb` or `httpMethod`.
pub(super) fn read(json: &str) -> Result<HttpRequest, ApiError> {
    let event = serde_json::from_str(json)
        .map(http_api)
        .or_else(|error| serde_json::from_str(json).map(LambdaRequest::Alb).map_err(|_| error))
        .or_else(|error| serde_json::from_str(json).map(LambdaRequest::ApiGatewayV1).map_err(|_| error))
        .map_err(|error| malformed(format!("Not an HTTP event: {error}")))?;
    // The conversion panics at a host that no URL can have, and at a body that is not base64.
    catch_unwind(AssertUnwindSafe(|| event.into())).map_err(|_| malformed("Not an HTTP request"))
}

fn malformed(detail: impl Into<Cow<'static, str>>) -> ApiError {
    ApiError::new(Problem::MalformedRequest, detail)
}

/// Prepares an event of payload 2.0: with a query of any characters, and without the host, which is parsed for nothing.
fn http_api(mut event: ApiGatewayV2httpRequest) -> LambdaRequest {
    event.headers.remove(HOST);
    event.request_context.domain_name = None;
    if let Some(query) = event.raw_query_string.as_mut().filter(|query| !query.is_empty()) {
        *query = utf8_percent_encode(query, QUERY).to_string();
    }
    LambdaRequest::ApiGatewayV2(event)
}

/// What the gateway calls the request. A load balancer names its trace, which its access logs do too.
pub(super) fn request_id(event: &HttpRequest) -> &str {
    let name = match event.request_context_ref() {
        Some(RequestContext::ApiGatewayV2(context)) => context.request_id.as_deref(),
        Some(RequestContext::ApiGatewayV1(context)) => context.request_id.as_deref(),
        _ => header(event, "x-amzn-trace-id"),
    };
    name.unwrap_or_default()
}

/// A header's value. One that is not text is empty, so that it is not taken for missing.
pub(super) fn header(event: &HttpRequest, name: impl AsHeaderName) -> Option<&str> {
    event.headers().get(name).map(|value| value.to_str().unwrap_or_default())
}

/// The caller, as the gateway's authorizer says. A load balancer and a function URL have none.
pub(super) fn caller(event: &HttpRequest) -> Option<Caller> {
    caller_context::caller(event.request_context_ref()?.authorizer()?)
}

/// Where the request came from. A load balancer appends the address to those that the client claims: the last counts.
pub(super) fn client(event: &HttpRequest) -> Client {
    let (source_ip, user_agent) = match event.request_context_ref() {
        Some(RequestContext::ApiGatewayV2(context)) => {
            (context.http.source_ip.as_deref(), context.http.user_agent.as_deref())
        }
        Some(RequestContext::ApiGatewayV1(context)) => {
            (context.identity.source_ip.as_deref(), context.identity.user_agent.as_deref())
        }
        _ => {
            let forwarded = event.headers().get_all("x-forwarded-for").iter().next_back();
            let last = forwarded.and_then(|value| value.to_str().ok()?.rsplit(',').next());
            (last.map(str::trim), header(event, USER_AGENT))
        }
    };
    Client::new(source_ip.unwrap_or_default(), user_agent.unwrap_or_default())
}

/// The path's parameters. A gateway with a route for the endpoint gives them; else method and path are matched here.
pub(super) fn path_parameters<E: HttpEndpoint>(event: &HttpRequest) -> Result<PathParameters<'_>, ApiError> {
    if is_routed::<E>(event) {
        let parameters = event.path_parameters_ref().into_iter().flat_map(|given| given.iter());
        return Ok(parameters.map(|(name, value)| (name, value.into())).collect());
    }
    let parameters = match_path(E::PATH, path(event)).ok_or(Problem::NotFound)?;
    if event.method().as_str() != E::METHOD.as_str() {
        return Err(ApiError::from(Problem::MethodNotAllowed).header("allow", E::METHOD.as_str()));
    }
    Ok(parameters)
}

/// Whether the gateway has a route for the endpoint alone, and not one that takes whatever comes.
fn is_routed<E: HttpEndpoint>(event: &HttpRequest) -> bool {
    match event.request_context_ref() {
        Some(RequestContext::ApiGatewayV2(context)) => context.route_key.as_deref() == Some(E::ROUTE_KEY),
        Some(RequestContext::ApiGatewayV1(context)) => {
            context.resource_path.as_deref() == Some(E::PATH) && context.http_method.as_str() == E::METHOD.as_str()
        }
        _ => false,
    }
}

/// The path without the stage, with which that of an HTTP API begins where the stage has a name.
fn path(event: &HttpRequest) -> &str {
    let path = event.raw_http_path();
    let Some(RequestContext::ApiGatewayV2(context)) = event.request_context_ref() else { return path };
    let rest = context.stage.as_deref().and_then(|stage| path.strip_prefix('/')?.strip_prefix(stage));
    rest.filter(|rest| rest.starts_with('/')).unwrap_or(path)
}

/// The parameters of a path by a template such as `/v1/orders/{id}`. None where the path is another one.
fn match_path<'a>(template: &'static str, path: &'a str) -> Option<PathParameters<'a>> {
    let mut segments = path.split('/');
    let mut parameters = Vec::new();
    for expected in template.split('/') {
        let segment = segments.next()?;
        match expected.strip_prefix('{').and_then(|name| name.strip_suffix('}')) {
            Some(name) => parameters.push((name, percent_decode_str(segment).decode_utf8().ok()?)),
            None if expected == segment => {}
            None => return None,
        }
    }
    segments.next().is_none().then_some(parameters)
}

/// A reply in the form that the request's sender takes.
#[derive(Serialize)]
#[serde(untagged)]
pub enum HttpResponse {
    ApiGatewayV1(ApiGatewayProxyResponse),
    ApiGatewayV2(ApiGatewayV2httpResponse),
    Alb(AlbTargetGroupResponse),
}

impl HttpResponse {
    /// What makes a reply to the request. Also to what is no request, as if it came from an HTTP API.
    pub(super) fn form(event: Option<&HttpRequest>) -> fn(Response<Body>) -> Self {
        match event.and_then(|event| event.request_context_ref()) {
            Some(RequestContext::ApiGatewayV1(_)) => Self::api_gateway_v1,
            Some(RequestContext::Alb(_)) => Self::alb,
            _ => Self::api_gateway_v2,
        }
    }

    fn api_gateway_v2(response: Response<Body>) -> Self {
        let (parts, body) = response.into_parts();
        let mut response = ApiGatewayV2httpResponse::default();
        response.status_code = parts.status.as_u16().into();
        response.headers = parts.headers;
        response.body = body_of(body);
        Self::ApiGatewayV2(response)
    }

    fn api_gateway_v1(response: Response<Body>) -> Self {
        let (parts, body) = response.into_parts();
        let mut response = ApiGatewayProxyResponse::default();
        response.status_code = parts.status.as_u16().into();
        response.multi_value_headers = parts.headers;
        response.body = body_of(body);
        Self::ApiGatewayV1(response)
    }

    /// A load balancer takes one or the other headers, as its target group is configured.
    fn alb(response: Response<Body>) -> Self {
        let (parts, body) = response.into_parts();
        let mut response = AlbTargetGroupResponse::default();
        response.status_code = parts.status.as_u16().into();
        response.status_description = Some(parts.status.to_string());
        response.headers = parts.headers.clone();
        response.multi_value_headers = parts.headers;
        response.body = body_of(body);
        Self::Alb(response)
    }
}

fn body_of(body: Body) -> Option<Body> {
    (body != Body::Empty).then_some(body)
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use base64::{Engine, engine::general_purpose::STANDARD as BASE64};
    use garde::Validate;
    use serde::Deserialize;
    use serde_json::{Value, json, value::RawValue};
    use utoipa::{IntoParams, ToSchema};

    use super::*;
    use crate::{
        contract::{IdPath, Needs, Public, ResourceContext, User},
        endpoint,
        lambda::{AfterReply, Http, Invocation, Request, Serve},
        telemetry::Trace,
    };

    endpoint! {
        /// Notes something at a shelf, for anybody.
        TestNote = "test-note" POST "/v1/shelves/{id}/notes" {
            access: Public,
            path: IdPath,
            query: TestQuery,
            body: TestBody,
            reply: 201 Value,
            needs: {},
        }
    }

    endpoint! {
        /// Notes something at a shelf, for who is logged in.
        TestUserNote = "test-user-note" POST "/v1/shelves/{id}/notes" {
            access: User,
            query: TestQuery,
            reply: 201 Value,
            needs: {},
        }
    }

    #[derive(Deserialize, Validate, IntoParams)]
    #[garde(allow_unvalidated)]
    pub struct TestQuery {
        text: String,
    }

    #[derive(Deserialize, Validate, ToSchema)]
    #[garde(allow_unvalidated)]
    pub struct TestBody {
        note: String,
    }

    const FIXTURES: [&str; 4] = [
        include_str!("fixtures/http_api.json"),
        include_str!("fixtures/rest_api.json"),
        include_str!("fixtures/function_url.json"),
        include_str!("fixtures/alb.json"),
    ];

    /// An event of each kind for the same request.
    fn events() -> [Value; 4] {
        FIXTURES.map(|text| serde_json::from_str(text).unwrap())
    }

    fn invocation<E: HttpEndpoint>(event: &Value) -> Invocation<E> {
        let context = ResourceContext::system();
        Invocation {
            needs: E::Needs::open(&context).unwrap(),
            trace: Trace::of(None, None, &context.ambient),
            ambient: context.ambient,
            aws: context.aws,
            event: RawValue::from_string(event.to_string()).unwrap(),
            time_left: Duration::from_secs(1),
            after_reply: AfterReply::default(),
        }
    }

    /// The reply of an endpoint that says what it was asked.
    async fn reply(event: &Value) -> Value {
        let handler = async |_, req: Request<TestNote>| {
            Ok(json!({
                "id": req.path.id, "text": req.query.text, "note": req.body.note,
                "network": req.client.network, "userAgent": req.client.user_agent,
            }))
        };
        let response = <Http as Serve<TestNote, _, _>>::serve(invocation(event), handler).await.unwrap();
        serde_json::to_value(response).unwrap()
    }

    /// The reply of an endpoint that says who asked.
    async fn user_reply(event: &Value) -> Value {
        let handler = async |_, req: Request<TestUserNote>| {
            let caller = req.caller;
            Ok(json!([caller.user_id, caller.session_id, caller.roles.to_string()]))
        };
        let response = <Http as Serve<TestUserNote, _, _>>::serve(invocation(event), handler).await.unwrap();
        serde_json::to_value(response).unwrap()
    }

    fn body(reply: &Value) -> Value {
        serde_json::from_str(reply["body"].as_str().unwrap()).unwrap()
    }

    /// The event as a target group with multi-value headers has it.
    fn with_multi_value_headers(mut alb: Value) -> Value {
        for (single, multi) in
            [("headers", "multiValueHeaders"), ("queryStringParameters", "multiValueQueryStringParameters")]
        {
            let values = alb.as_object_mut().unwrap().remove(single).unwrap();
            let values = values.as_object().unwrap().iter().map(|(name, value)| (name.clone(), json!([value])));
            alb[multi] = Value::Object(values.collect());
        }
        alb
    }

    #[tokio::test]
    async fn a_request_is_the_same_whatever_sends_it() {
        let expected = json!({
            "id": "018f0000-0000-7000-8000-000000000001", "text": "café & tea", "note": "second",
            "network": "203.0.113.7", "userAgent": "shop/1.0",
        });
        let [http_api, rest_api, function_url, alb] = events();
        for event in [http_api, rest_api, function_url, with_multi_value_headers(alb.clone()), alb] {
            let reply = reply(&event).await;
            assert_eq!(reply["statusCode"], 201, "{event}\n{reply}");
            assert_eq!(body(&reply), expected, "{event}");
        }
    }

    #[tokio::test]
    async fn a_body_in_base64_is_the_same_body() {
        for mut event in events() {
            event["body"] = json!(BASE64.encode(event["body"].as_str().unwrap()));
            event["isBase64Encoded"] = json!(true);
            assert_eq!(body(&reply(&event).await)["note"], "second", "{event}");
        }
    }

    #[tokio::test]
    async fn a_reply_has_its_headers_where_the_sender_looks() {
        let [http_api, rest_api, function_url, alb] = events();
        for event in [http_api, function_url] {
            let reply = reply(&event).await;
            assert_eq!(reply["headers"]["content-type"], "application/json");
            assert_eq!(reply["headers"]["x-request-id"], event["requestContext"]["requestId"]);
        }
        let reply_to_rest = reply(&rest_api).await;
        assert_eq!(reply_to_rest["headers"], json!({}));
        assert_eq!(reply_to_rest["multiValueHeaders"]["content-type"], json!(["application/json"]));
        let id = &rest_api["requestContext"]["requestId"];
        assert_eq!(reply_to_rest["multiValueHeaders"]["x-request-id"], json!([id]));

        let reply_to_alb = reply(&alb).await;
        assert_eq!(reply_to_alb["statusDescription"], "201 Created");
        assert_eq!(reply_to_alb["headers"]["content-type"], "application/json");
        assert_eq!(reply_to_alb["multiValueHeaders"]["content-type"], json!(["application/json"]));
        assert_eq!(reply_to_alb["headers"]["x-request-id"], alb["headers"]["x-amzn-trace-id"]);
    }

    #[tokio::test]
    async fn a_caller_is_known_from_an_authorizer_and_from_nothing_else() {
        let [http_api, rest_api, mut function_url, mut alb] = events();
        let (user, session) = ("018f0000-0000-7000-8000-000000000002", "018f0000-0000-7000-8000-000000000003");
        for event in [http_api, rest_api] {
            assert_eq!(body(&user_reply(&event).await), json!([user, session, "customer"]), "{event}");
        }
        for event in [&mut function_url, &mut alb] {
            event["headers"]["authorization"] = json!("Bearer token");
            event["authorizer"] = json!({ "sub": user, "sid": session, "roles": "customer" });
            let reply = user_reply(event).await;
            assert_eq!(reply["statusCode"], 401, "{event}");
            assert_eq!(body(&reply)["type"], "urn:souk:problem:unauthenticated");
            assert_eq!(reply["headers"]["www-authenticate"], "Bearer");
        }
    }

    #[tokio::test]
    async fn a_route_that_takes_any_path_serves_the_endpoints_own() {
        let [http_api, rest_api, function_url, alb] = events();
        let path = function_url["rawPath"].as_str().unwrap();

        let mut of_a_stage = http_api;
        of_a_stage["routeKey"] = json!("ANY /{proxy+}");
        of_a_stage["pathParameters"] = json!({ "proxy": path.trim_start_matches('/') });
        of_a_stage["rawPath"] = json!(format!("/prod{path}"));
        of_a_stage["requestContext"]["stage"] = json!("prod");
        of_a_stage["requestContext"]["routeKey"] = json!("ANY /{proxy+}");

        let mut of_a_rest_api = rest_api;
        of_a_rest_api["pathParameters"] = json!({ "proxy": path.trim_start_matches('/') });
        of_a_rest_api["requestContext"]["resourcePath"] = json!("/{proxy+}");

        let mut encoded = alb;
        encoded["path"] = json!(path.replace("-7000-", "%2D7000%2D"));

        for event in [of_a_stage, of_a_rest_api, encoded] {
            let reply = reply(&event).await;
            assert_eq!(body(&reply)["id"], "018f0000-0000-7000-8000-000000000001", "{event}\n{reply}");
        }
    }

    #[tokio::test]
    async fn another_path_is_a_404_and_another_method_a_405() {
        let [_, _, function_url, alb] = events();
        let path = alb["path"].as_str().unwrap();
        for other in ["/", "", "/v1/shelves", "/v1/shelves/1/notes/2", "/v1/shelves/1/note", &format!("{path}/")] {
            let (mut function_url, mut alb) = (function_url.clone(), alb.clone());
            function_url["rawPath"] = json!(other);
            alb["path"] = json!(other);
            for event in [function_url, alb] {
                assert_eq!(user_reply(&event).await["statusCode"], 404, "{event}");
            }
        }
        let (mut other_url, mut other_alb) = (function_url, alb);
        other_url["requestContext"]["http"]["method"] = json!("GET");
        other_alb["httpMethod"] = json!("GET");
        for event in [other_url, other_alb] {
            let reply = user_reply(&event).await;
            assert_eq!((&reply["statusCode"], &reply["headers"]["allow"]), (&json!(405), &json!("POST")), "{event}");
        }
    }

    #[tokio::test]
    async fn a_query_that_no_uri_can_hold_is_read_all_the_same() {
        let [mut http_api, ..] = events();
        http_api["rawQueryString"] = json!("text=<a href=\"#\">{}|ü%20+");
        assert_eq!(body(&reply(&http_api).await)["text"], "<a href=\"#\">{}|ü  ");
    }

    #[tokio::test]
    async fn a_repeated_parameter_is_refused_and_not_chosen_from() {
        let [mut http_api, mut rest_api, _, alb] = events();
        let mut alb = with_multi_value_headers(alb);
        http_api["rawQueryString"] = json!("text=a&text=b");
        rest_api["multiValueQueryStringParameters"]["text"] = json!(["a", "b"]);
        alb["multiValueQueryStringParameters"]["text"] = json!(["a", "b"]);
        for event in [http_api, rest_api, alb] {
            let reply = reply(&event).await;
            assert_eq!(body(&reply)["detail"], "The query: duplicate field `text`", "{event}");
        }
    }

    #[tokio::test]
    async fn what_is_no_request_is_a_400_and_not_a_crash() {
        let [mut http_api, mut rest_api, _, mut alb] = events();
        http_api["isBase64Encoded"] = json!(true);
        rest_api["headers"]["Host"] = json!("[::1");
        alb["headers"]["host"] = json!("a b");
        let sqs = json!({ "Records": [{ "messageId": "1", "body": "{}", "eventSource": "aws:sqs" }] });
        for event in [http_api, rest_api, alb, sqs, json!({}), json!([]), json!(null)] {
            let reply = reply(&event).await;
            assert_eq!(reply["statusCode"], 400, "{event}");
            assert_eq!(body(&reply)["type"], "urn:souk:problem:malformed-request", "{event}");
        }
    }
}
