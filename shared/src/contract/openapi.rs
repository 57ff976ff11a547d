//! The OpenAPI 3.1 document, made from the endpoints' declarations.

use utoipa::{
    IntoParams, ToSchema,
    openapi::{
        Components, ComponentsBuilder, ContentBuilder, HttpMethod, InfoBuilder, OpenApi, OpenApiBuilder, PathsBuilder,
        Ref, RefOr, Required, ResponseBuilder,
        path::{Operation, OperationBuilder, Parameter, ParameterBuilder, ParameterIn},
        request_body::RequestBodyBuilder,
        schema::{Object, ObjectBuilder, Schema, Type},
        security::{Http, HttpAuthScheme, SecurityRequirement, SecurityScheme},
        server::{Server, ServerBuilder, ServerVariableBuilder},
    },
};

use super::{Access, AccessRule, Endpoint, Idempotency, Method, Needs, Precondition};
use super::{FromBody, Presence};
use crate::error::{FieldError, Problem, ProblemDocument};

/// The OpenAPI document.
pub type Document = OpenApi;

const SCHEME: &str = "accessToken";

/// Collects the operations of endpoints, and the schemas that they refer to.
pub struct DocumentBuilder {
    paths: PathsBuilder,
    schemas: Vec<(String, RefOr<Schema>)>,
}

impl Default for DocumentBuilder {
    fn default() -> Self {
        Self { paths: PathsBuilder::new(), schemas: Vec::new() }
    }
}

impl DocumentBuilder {
    /// Adds an endpoint.
    #[must_use]
    pub fn with<E: Endpoint>(mut self) -> Self {
        let operation = operation::<E>(&mut self.schemas);
        let item = utoipa::openapi::PathItem::new(method(E::METHOD), operation);
        Self { paths: self.paths.path(E::PATH, item), schemas: self.schemas }
    }

    /// The document.
    #[must_use]
    pub fn build(mut self, title: &str, description: &str) -> Document {
        reference::<ProblemDocument>(&mut self.schemas);
        reference::<FieldError>(&mut self.schemas);
        let info = InfoBuilder::new().title(title).version(env!("CARGO_PKG_VERSION")).description(Some(description));
        let components = components(self.schemas);
        OpenApiBuilder::new().info(info.build()).paths(self.paths).components(Some(components)).build()
    }
}

/// A reference to a type's schema, which is added to `schemas` with all it refers to.
pub(crate) fn reference<T: ToSchema>(schemas: &mut Vec<(String, RefOr<Schema>)>) -> RefOr<Schema> {
    let name = T::name();
    T::schemas(schemas);
    schemas.push((name.to_string(), T::schema()));
    Ref::from_schema_name(name).into()
}

fn components(schemas: Vec<(String, RefOr<Schema>)>) -> Components {
    let bearer = Http::builder().scheme(HttpAuthScheme::Bearer).bearer_format("JWT").build();
    let mut components = ComponentsBuilder::new().security_scheme(SCHEME, SecurityScheme::Http(bearer));
    for (name, schema) in schemas {
        components = components.schema(name, schema);
    }
    components.build()
}

const fn method(method: Method) -> HttpMethod {
    match method {
        Method::GET => HttpMethod::Get,
        Method::POST => HttpMethod::Post,
        Method::PUT => HttpMethod::Put,
        Method::PATCH => HttpMethod::Patch,
        Method::DELETE => HttpMethod::Delete,
    }
}

fn operation<E: Endpoint>(schemas: &mut Vec<(String, RefOr<Schema>)>) -> Operation {
    let area = E::PATH.trim_start_matches("/v1").split('/').nth(1).unwrap_or_default();
    let mut operation = OperationBuilder::new()
        .operation_id(Some(E::NAME))
        .summary(Some(E::SUMMARY.trim()))
        .tag(area)
        .parameters(Some(parameters::<E>()));
    match E::Access::ACCESS {
        Access::Public => {}
        Access::User => operation = operation.security(SecurityRequirement::new::<_, [&str; 0], &str>(SCHEME, [])),
        Access::Permission(permission) => {
            operation = operation
                .security(SecurityRequirement::new::<_, [&str; 0], &str>(SCHEME, []))
                .description(Some(format!("Asks for the permission `{}`.", permission.as_str())));
        }
    }
    if E::STREAMED {
        operation = operation.servers(Some([function_url()]));
    }
    if let Some(schema) = E::Body::describe(schemas) {
        let content = ContentBuilder::new().schema(Some(schema)).build();
        let body = RequestBodyBuilder::new().content("application/json", content);
        let is_required = if E::Body::PRESENCE == Presence::Required { Required::True } else { Required::False };
        let body = body.required(Some(is_required));
        operation = operation.request_body(Some(body.build()));
    }
    let mut reply = ResponseBuilder::new().description("Done");
    if E::STATUS != 204 {
        let schema = reference::<E::Reply>(schemas);
        for media_type in E::MEDIA_TYPES {
            let is_json = media_type.ends_with("json");
            let schema = if is_json { schema.clone() } else { ObjectBuilder::new().schema_type(Type::String).into() };
            reply = reply.content(*media_type, ContentBuilder::new().schema(Some(schema)).build());
        }
    }
    operation = operation.response(E::STATUS.to_string(), reply);
    if E::Precondition::IS_ABOUT_READING {
        let reply = ResponseBuilder::new().description("The client has it already");
        operation = operation.response("304", reply);
    }
    for (status, problems) in by_status(&problems::<E>()) {
        let schema = Ref::from_schema_name(ProblemDocument::name());
        let content = ContentBuilder::new().schema(Some(schema)).build();
        let text = problems.iter().map(|problem| format!("{} (`{}`)", problem.title(), problem.urn()));
        let text = text.collect::<Vec<_>>().join("; ");
        operation = operation.response(
            status.to_string(),
            ResponseBuilder::new().description(text).content("application/problem+json", content),
        );
    }
    operation.build()
}

/// The server of a streamed reply. AWS chooses the id.
fn function_url() -> Server {
    let variable = |text: &str| ServerVariableBuilder::new().default_value(text);
    ServerBuilder::new()
        .url("https://{functionUrlId}.lambda-url.{region}.on.aws")
        .description(Some("The function's own URL: HTTP APIs do not stream."))
        .parameter("functionUrlId", variable("id"))
        .parameter("region", variable("us-east-1"))
        .build()
}

fn parameters<E: Endpoint>() -> Vec<Parameter> {
    let mut parameters = E::Path::into_params(|| Some(ParameterIn::Path));
    parameters.extend(E::Query::into_params(|| Some(ParameterIn::Query)));
    if E::Idempotency::REQUIRED {
        let text = "Names this request: sent again with the same key, it happens once.";
        parameters.push(header("Idempotency-Key", Required::True, text));
    }
    if E::Precondition::REQUIRED {
        let text = "The `ETag` of what was read: only that version is changed.";
        parameters.push(header("If-Match", Required::True, text));
    }
    if E::Precondition::IS_ABOUT_READING {
        let text = "The `ETag` of what the client has: if it is still that, the reply is a 304 without a body.";
        parameters.push(header("If-None-Match", Required::False, text));
    }
    parameters
}

fn header(name: &str, required: Required, description: &str) -> Parameter {
    let schema: Object =
        ObjectBuilder::new().schema_type(Type::String).min_length(Some(1)).max_length(Some(255)).build();
    ParameterBuilder::new()
        .name(name)
        .parameter_in(ParameterIn::Header)
        .required(required)
        .description(Some(description))
        .schema(Some(schema))
        .build()
}

/// An endpoint's problems: those it declares, and those that follow from the rest of its declaration.
fn problems<E: Endpoint>() -> Vec<Problem> {
    let mut problems = vec![Problem::MalformedRequest, Problem::Internal];
    match E::Access::ACCESS {
        Access::Public => {}
        Access::User => problems.push(Problem::Unauthenticated),
        Access::Permission(_) => problems.extend([Problem::Unauthenticated, Problem::Forbidden]),
    }
    if E::Body::PRESENCE != Presence::None {
        problems.extend([Problem::PayloadTooLarge, Problem::UnsupportedMediaType, Problem::ValidationFailed]);
    }
    if E::Idempotency::REQUIRED {
        problems.extend([Problem::MissingIdempotencyKey, Problem::RequestInProgress, Problem::IdempotencyKeyReused]);
    }
    if E::Precondition::REQUIRED {
        problems.extend([Problem::PreconditionFailed, Problem::PreconditionRequired]);
    }
    if E::MEDIA_TYPES.len() > 1 {
        problems.push(Problem::NotAcceptable);
    }
    if E::LIMIT.is_some() {
        problems.push(Problem::TooManyRequests);
    }
    if !E::Needs::requirements().is_empty() {
        problems.push(Problem::Unavailable);
    }
    problems.extend(E::PROBLEMS);
    problems
}

fn by_status(problems: &[Problem]) -> std::collections::BTreeMap<u16, Vec<Problem>> {
    let mut map = std::collections::BTreeMap::<u16, Vec<Problem>>::new();
    for problem in problems {
        map.entry(problem.status()).or_default().push(*problem);
    }
    map
}
