//! The bounds in the OpenAPI document are those of the validators.
//!
//! They are written twice, for utoipa and for garde. Here each is tried on both sides.

use garde::Validate;
use regex_lite::Regex;
use serde::Deserialize;
use serde_json::{Map, Value, json};
use shared::{
    api::{
        auth::{AuthLogin, AuthRegister},
        orders::OrdersPlace,
        products::{ProductsCreate, ProductsStock},
        reports::ReportsCreate,
        users::UsersMeUpdate,
    },
    auth::strategy::LoginStrategy,
    contract::{Endpoint, FromBody, Function, read_json, read_query},
    error::{ApiError, Problem},
};
use tests::{
    people,
    schema::{self, Schemas, kind, length, members, number},
};
use utoipa::ToSchema;

/// Where schema and validator differ, since no keyword says what is validated.
const UNSAID: &[(&str, &str)] = &[
    ("lab-cpu threads: no maximum: A value is not allowed of [threads]", "the cores are the environment's"),
    ("products-list currency: left out: A value is not allowed of [currency]", "other parameters ask for it"),
];

/// Every keyword that a request's schema may have: a new one has to be tried here too.
const KEYWORDS: &[&str] = &[
    "$ref",
    "additionalProperties",
    "default",
    "description",
    "enum",
    "format",
    "items",
    "maxItems",
    "maxLength",
    "maximum",
    "minItems",
    "minLength",
    "minProperties",
    "minimum",
    "oneOf",
    "pattern",
    "properties",
    "required",
    "type",
    "uniqueItems",
];

/// More characters than any text may have that has a bound.
const LONG: usize = 100_000;
/// More items than any list may have that has a bound.
const MANY: usize = 1000;

/// A value to be validated, and what should come of it by the schema.
struct Probe {
    /// As errors name it: `lines[0].quantity`.
    field: String,
    /// The bound, and the side of it.
    what: String,
    value: Value,
    is_allowed: bool,
    /// Whether an error has to name the field, and not only what is around it.
    is_named: bool,
}

impl Probe {
    fn new(what: impl Into<String>, value: impl Into<Value>, is_allowed: bool) -> Self {
        Self { field: String::new(), what: what.into(), value: value.into(), is_allowed, is_named: true }
    }

    /// The same for a bound where the parser names what is around the field.
    fn unnamed(self) -> Self {
        Self { is_named: false, ..self }
    }

    /// The same as a part of another value.
    fn within(self, part: &str, whole: impl FnOnce(Value) -> Value) -> Self {
        let field = match self.field.as_str() {
            "" => part.to_owned(),
            field if field.starts_with('[') => format!("{part}{field}"),
            field => format!("{part}.{field}"),
        };
        Self { field, value: whole(self.value), ..self }
    }
}

fn probes<'a>(schemas: Schemas<'a>, schema: &'a Value) -> Vec<Probe> {
    assert_known(schema);
    let alternatives = schemas.alternatives(schema);
    let is_nullable = |schema: &Value| schema["type"].as_array().is_some_and(|types| types.contains(&json!("null")));
    let has_null = schema["oneOf"].as_array().is_some_and(|all| all.contains(&json!({ "type": "null" })));
    let takes_null = has_null || alternatives.iter().any(|schema| is_nullable(schema));
    let null = Probe::new("null", Value::Null, takes_null).unnamed();
    let of_alternative = |schema: &&'a Value| -> Vec<Probe> {
        assert_known(schema);
        if let Some(values) = schema["enum"].as_array() {
            return enumeration(values);
        }
        match kind(schema) {
            "object" => object(schemas, schema),
            "array" => array(schemas, schema),
            "string" => text(schema),
            "integer" => integer(schema),
            "boolean" => [true, false].map(|value| Probe::new(value.to_string(), value, true)).into(),
            other => panic!("how is a value of the type {other} tried?"),
        }
    };
    alternatives.iter().flat_map(of_alternative).chain([null]).collect()
}

fn assert_known(schema: &Value) {
    let unknown: Vec<_> = schema.as_object().unwrap().keys().filter(|key| !KEYWORDS.contains(&key.as_str())).collect();
    assert!(unknown.is_empty(), "how is this tried? {unknown:?}");
}

fn enumeration(values: &[Value]) -> Vec<Probe> {
    let known = values.iter().map(|value| Probe::new("enum", value.clone(), true));
    known.chain([Probe::new("none of enum", "none-of-these", false)]).collect()
}

fn object<'a>(schemas: Schemas<'a>, schema: &'a Value) -> Vec<Probe> {
    let sample: Map<String, Value> =
        members(schema).map(|(name, schema)| (name.clone(), schemas.sample(schema))).collect();
    let with = |name: &str, value: Value| {
        let mut sample = sample.clone();
        sample.insert(name.to_owned(), value);
        Value::Object(sample)
    };
    let without = |name: &str| {
        let mut sample = sample.clone();
        sample.remove(name);
        Value::Object(sample)
    };
    let mut found = vec![Probe::new("sample", sample.clone(), true)];
    let required: Vec<_> = schema["required"].as_array().into_iter().flatten().collect();
    for (name, member) in members(schema) {
        found.extend(probes(schemas, member).into_iter().map(|probe| probe.within(name, |value| with(name, value))));
        let is_required = required.iter().any(|required| *required == name);
        let left_out = Probe::new("left out", Value::Null, !is_required).unnamed();
        found.push(left_out.within(name, |_| without(name)));
    }
    if schema["properties"].is_object() {
        let is_closed = schema["additionalProperties"] == false;
        found.push(Probe::new("an unknown member", with("noSuchMember", json!(1)), !is_closed).unnamed());
    }
    if let Some(least) = length(schema, "minProperties") {
        let first = |count: usize| sample.clone().into_iter().take(count).collect::<Map<_, _>>();
        found.push(Probe::new("minProperties", first(least), true));
        found.push(Probe::new("below minProperties", first(least - 1), false));
    }
    found
}

fn array<'a>(schemas: Schemas<'a>, schema: &'a Value) -> Vec<Probe> {
    let items = |length: usize| schemas.array(schema, length);
    let in_array = probes(schemas, &schema["items"]).into_iter();
    let mut found: Vec<_> = in_array.map(|probe| probe.within("[0]", |value| json!([value]))).collect();
    let is_unique = schema["uniqueItems"] == true;
    match length(schema, "minItems") {
        Some(least) => {
            found.push(Probe::new("minItems", items(least), true));
            found.push(Probe::new("below minItems", items(least - 1), false));
        }
        None => found.push(Probe::new("no minItems", items(0), true)),
    }
    match length(schema, "maxItems") {
        Some(most) => {
            found.push(Probe::new("maxItems", items(most), true));
            found.push(Probe::new("above maxItems", items(most + 1), false));
        }
        None if !is_unique => found.push(Probe::new("no maxItems", items(MANY), true)),
        None => {}
    }
    if is_unique {
        let item = schemas.sample(&schema["items"]);
        found.push(Probe::new("against uniqueItems", json!([item, item]), false));
    }
    found
}

fn integer(schema: &Value) -> Vec<Probe> {
    let mut found = Vec::new();
    let (least_of_format, most_of_format) = match schema["format"].as_str() {
        Some("int32") => (i32::MIN.into(), i32::MAX.into()),
        _ => (i64::MIN, i64::MAX),
    };
    match number(schema, "minimum") {
        Some(least) => {
            found.push(Probe::new("minimum", least, true));
            found.push(Probe::new("below minimum", least - 1, false));
        }
        None => found.push(Probe::new("no minimum", least_of_format, true)),
    }
    match number(schema, "maximum") {
        Some(most) => {
            found.push(Probe::new("maximum", most, true));
            found.push(Probe::new("above maximum", most + 1, false));
        }
        None => found.push(Probe::new("no maximum", most_of_format, true)),
    }
    found
}

fn text(schema: &Value) -> Vec<Probe> {
    let (least, most) = (length(schema, "minLength"), length(schema, "maxLength"));
    let of_length = |length: usize| schema::text(schema, length);
    let mut found = Vec::new();
    if let Some(least) = least {
        found.push(Probe::new("minLength", of_length(least), true));
        found.push(Probe::new("below minLength", of_length(least - 1), false));
    }
    if let Some(most) = most {
        found.push(Probe::new("maxLength", of_length(most), true));
        found.push(Probe::new("above maxLength", of_length(most + 1), false));
    }
    if let Some(pattern) = schema["pattern"].as_str() {
        found.extend(near(pattern, least.unwrap_or(0), most.unwrap_or(usize::MAX)));
        return found;
    }
    match schema["format"].as_str() {
        Some(format @ ("date-time" | "email" | "uuid")) => {
            found.push(Probe::new(format!("not of the format {format}"), "neither", false));
        }
        None | Some("password") => {
            if least.is_none() {
                found.push(Probe::new("no minLength", "", true));
            }
            match most {
                // Characters are counted, whatever bytes they take.
                Some(most) => found.push(Probe::new("maxLength in other letters", "密".repeat(most), true)),
                None => found.push(Probe::new("no maxLength", of_length(LONG), true)),
            }
        }
        Some(other) => panic!("how is text of the format {other} tried?"),
    }
    found
}

/// Texts that are almost what the pattern matches: one character is another, one is missing, one too many.
fn near(pattern: &str, least: usize, most: usize) -> Vec<Probe> {
    let regex = Regex::new(pattern).unwrap();
    let sample = schema::matching(pattern);
    let rest = &sample[1..];
    let characters = (0..128).map(char::from).chain("äÄ密٣🔑\u{a0}\u{2028}".chars());
    let texts = characters.flat_map(|c| [format!("{c}{rest}"), format!("{sample}{c}")]).chain([rest.to_owned()]);
    let probe = |text: String| {
        let is_allowed = regex.is_match(&text) && (least..=most).contains(&text.chars().count());
        Probe::new(format!("pattern, {text:?}"), text, is_allowed)
    };
    texts.map(probe).collect()
}

/// Where schema and validator differ. `unread` is the problem of what cannot be parsed.
fn mismatches(
    name: &str,
    probes: Vec<Probe>,
    unread: Problem,
    validate: impl Fn(&Value) -> Result<(), ApiError>,
) -> Vec<String> {
    let mismatch = |Probe { field, what, value, is_allowed, is_named }: Probe| {
        let came = match validate(&value) {
            Ok(()) if is_allowed => return None,
            Ok(()) => "accepted".to_owned(),
            Err(error) => {
                let named = fields(&error);
                let is_refused = match error.problem() {
                    Problem::ValidationFailed => !is_named || named.contains(&field),
                    problem => problem == unread,
                };
                if is_refused && !is_allowed {
                    return None;
                }
                format!("{} of [{}]", error.problem().title(), named.join(", "))
            }
        };
        Some(format!("{name} {field}: {what}: {came}"))
    };
    probes.into_iter().filter_map(mismatch).collect()
}

/// The fields that an error names.
fn fields(error: &ApiError) -> Vec<String> {
    let document = serde_json::to_value(error.document("")).unwrap();
    let errors = document["errors"].as_array().cloned().unwrap_or_default();
    errors.iter().map(|error| error["field"].as_str().unwrap().to_owned()).collect()
}

fn document() -> Value {
    serde_json::to_value(shared::api::document()).unwrap()
}

fn validate_body<B: FromBody>(value: &Value) -> Result<(), ApiError> {
    B::from_body(value.to_string().as_bytes()).map(drop)
}

fn validate_query<E: Endpoint>(value: &Value) -> Result<(), ApiError> {
    let pairs = value.as_object().unwrap().iter().map(|(name, value)| match value {
        Value::String(text) => (name, text.clone()),
        other => (name, other.to_string()),
    });
    let pairs: Vec<_> = pairs.collect();
    read_query::<E::Query>(&serde_urlencoded::to_string(pairs).unwrap()).map(drop)
}

/// The strategy that a login names reads the rest of it.
fn validate_login(value: &Value) -> Result<(), ApiError> {
    validate_body::<<AuthLogin as Endpoint>::Body>(value)?;
    macro_rules! strategies {
        ($($strategy:ty,)+) => {
            $(if value["strategy"] == <$strategy as LoginStrategy>::NAME {
                return read_json::<<$strategy as LoginStrategy>::Credentials>(value.to_string().as_bytes()).map(drop);
            })+
        };
    }
    shared::for_each_login_strategy!(strategies);
    Err(ApiError::field("strategy", "is not a way to log in"))
}

fn of_endpoint<E: Endpoint>(schemas: Schemas<'_>) -> Vec<String> {
    let query = schemas.query(E::METHOD.as_str(), E::PATH);
    let mut query = probes(schemas, &query);
    // A query has no null: what is null is left out.
    query.retain(|probe| probe.value.as_object().is_some_and(|members| !members.values().any(Value::is_null)));
    // What cannot be parsed is a 400 without fields.
    let mut found = mismatches(E::NAME, query, Problem::MalformedRequest, validate_query::<E>);
    if let Some(body) = schemas.body(E::METHOD.as_str(), E::PATH) {
        let validate = if E::NAME == AuthLogin::NAME { validate_login } else { validate_body::<E::Body> };
        found.extend(mismatches(E::NAME, probes(schemas, body), Problem::ValidationFailed, validate));
    }
    found
}

#[test]
fn every_bound_in_the_document_is_the_validators() {
    let document = document();
    let schemas = Schemas::new(&document);
    let mut found = Vec::new();
    macro_rules! endpoints {
        ($($endpoint:ty,)+) => { $(found.extend(of_endpoint::<$endpoint>(schemas));)+ };
    }
    shared::for_each_endpoint!(endpoints);
    assert_eq!(found, UNSAID.iter().map(|(mismatch, _)| *mismatch).collect::<Vec<_>>());
}

/// What no keyword of utoipa's says: each is refused, and nothing else of the sample is.
#[test]
fn what_a_schema_cannot_say_is_refused_all_the_same() {
    let line = json!({ "productId": people::new_key(), "quantity": 1 });
    let bytes = schema::text(&json!({ "format": "email" }), 254).replacen('a', "ä", 1);
    let deep = (0..9).fold(json!(1), |value, _| json!({ "a": value }));
    refused::<AuthRegister>("password", json!("passwordpassword"), "which passwords are common is a list of thousands");
    refused::<AuthRegister>("email", json!(bytes), "the length of an address is in bytes (RFC 5321)");
    refused::<OrdersPlace>("lines", json!([line, line]), "items are compared by one of their members");
    refused::<ProductsCreate>("name", json!("two\nlines"), "one line is a kind of character, and not only blanks");
    refused::<ProductsStock>("delta", json!(0), "a range has no hole");
    refused::<ProductsStock>("reason", json!("   "), "one line is a kind of character, and not only blanks");
    refused::<ReportsCreate>("from", json!("1969-12-31T23:59:59Z"), "a time has no minimum");
    refused::<ReportsCreate>("to", json!("1970-01-01T00:00:00Z"), "members are compared");
    refused::<ReportsCreate>("to", json!("2200-01-01T00:00:00Z"), "a time has no maximum");
    refused::<UsersMeUpdate>("profile", json!({ "roles": [] }), "names of what a profile is not are reserved");
    refused::<UsersMeUpdate>("profile", deep, "a depth has no maximum");
}

fn refused<E: Endpoint>(member: &str, value: Value, reason: &str) {
    let document = document();
    let schemas = Schemas::new(&document);
    let mut body = schemas.sample(schemas.body(E::METHOD.as_str(), E::PATH).unwrap());
    validate_body::<E::Body>(&body).unwrap();
    body[member] = value;
    let error = validate_body::<E::Body>(&body).expect_err(reason);
    assert_eq!(fields(&error), [member], "{reason}");
}

/// Bodies of one member, each with what its schema and its validator say of it, and the mismatch that has to be found.
macro_rules! planted {
    ($($(#[$attribute:meta])+ $type:ty => $mismatch:literal,)+) => {
        [$({
            #[derive(Deserialize, Validate, ToSchema)]
            #[serde(deny_unknown_fields)]
            struct Planted {
                $(#[$attribute])+
                #[allow(dead_code, reason = "it is only validated")]
                value: $type,
            }
            (of_type::<Planted>(), $mismatch)
        },)+]
    };
}

/// What a planted member may be.
#[derive(Deserialize, Validate, ToSchema)]
#[serde(deny_unknown_fields)]
struct Inner {
    #[garde(range(min = 1, max = 9))]
    #[schema(minimum = 1, maximum = 8)]
    inner: u32,
}

#[derive(Clone, Copy, Deserialize, ToSchema)]
enum Case {
    #[serde(rename = "lower")]
    Lower,
}

#[derive(ToSchema)]
#[allow(dead_code, reason = "only its schema is used")]
enum OtherCase {
    Lower,
}

fn letters(text: &str, (): &()) -> garde::Result {
    if text.chars().all(char::is_alphabetic) { Ok(()) } else { Err(garde::Error::new("takes letters")) }
}

fn of_type<B: FromBody>() -> Vec<String> {
    let mut schemas = Vec::new();
    let body = serde_json::to_value(B::describe(&mut schemas).unwrap()).unwrap();
    let schemas: Map<_, _> =
        schemas.into_iter().map(|(name, schema)| (name, serde_json::to_value(schema).unwrap())).collect();
    let document = json!({ "components": { "schemas": schemas } });
    mismatches("planted", probes(Schemas::new(&document), &body), Problem::ValidationFailed, validate_body::<B>)
}

#[test]
fn a_planted_mismatch_is_found() {
    let planted = planted! {
        #[garde(length(chars, min = 2))] #[schema(min_length = 1)] String => "value: minLength: A value",
        #[garde(length(chars, min = 1))] #[schema(min_length = 2)] String => "value: below minLength: accepted",
        #[garde(length(chars, max = 9))] #[schema(max_length = 10)] String => "value: maxLength: A value",
        #[garde(length(chars, max = 9))] #[schema(max_length = 8)] String => "value: above maxLength: accepted",
        #[garde(length(bytes, max = 9))] #[schema(max_length = 9)] String => "value: maxLength in other letters: A value",
        #[garde(length(chars, min = 1))] #[schema(max_length = 9)] String => "value: no minLength: A value",
        #[garde(length(chars, max = 9999))] String => "value: no maxLength: A value",
        #[garde(custom(letters))] #[schema(pattern = "^[a-z0-9]+$")] String => "value: pattern, \"00\": A value",
        #[garde(skip)] #[schema(pattern = "^[0-9]{6}$")] String => "value: pattern, \"0000000\": accepted",
        #[garde(skip)] #[schema(value_type = String, format = Uuid)] String => "value: not of the format uuid: accepted",
        #[garde(range(min = 2))] #[schema(minimum = 1)] i32 => "value: minimum: A value",
        #[garde(range(min = 1))] #[schema(minimum = 2)] i32 => "value: below minimum: accepted",
        #[garde(range(min = -9))] i32 => "value: no minimum: A value",
        #[garde(range(max = 9))] #[schema(maximum = 10)] u32 => "value: maximum: A value",
        #[garde(range(max = 9))] #[schema(maximum = 8)] u32 => "value: above maximum: accepted",
        #[garde(range(max = 9))] u64 => "value: no maximum: A value",
        #[garde(length(min = 2))] #[schema(min_items = 1)] Vec<bool> => "value: minItems: A value",
        #[garde(length(min = 1))] #[schema(min_items = 2)] Vec<bool> => "value: below minItems: accepted",
        #[garde(length(min = 1))] Vec<bool> => "value: no minItems: A value",
        #[garde(length(max = 9))] #[schema(max_items = 10)] Vec<bool> => "value: maxItems: A value",
        #[garde(length(max = 9))] #[schema(max_items = 8)] Vec<bool> => "value: above maxItems: accepted",
        #[garde(length(max = 9))] Vec<bool> => "value: no maxItems: A value",
        #[garde(skip)] #[schema(value_type = HashSet<bool>)] Vec<bool> => "value: against uniqueItems: accepted",
        #[garde(skip)] #[schema(value_type = OtherCase)] Case => "value: enum: A value",
        #[garde(skip)] #[schema(value_type = Case)] String => "value: none of enum: accepted",
        #[garde(skip)] #[schema(required = true)] #[serde(default)] bool => "value: left out: accepted",
        #[garde(skip)] #[schema(nullable = false)] Option<bool> => "value: null: accepted",
        #[garde(range(max = 9))] #[schema(maximum = 9)] #[serde(rename = "other")] u32 => "other: above maximum: A value",
        #[garde(dive)] Inner => "value.inner: above maximum: accepted",
        #[garde(dive)] Option<Inner> => "value.inner: above maximum: accepted",
        #[garde(dive)] Vec<Inner> => "value[0].inner: above maximum: accepted",
    };
    for (found, mismatch) in planted {
        let is_found = found.iter().any(|found| found.starts_with(&format!("planted {mismatch}")));
        assert!(is_found, "{mismatch} is not in {found:#?}");
    }
    let agreeing = planted! {
        #[garde(length(chars, min = 1, max = 9))] #[schema(min_length = 1, max_length = 9)] String => "",
    };
    assert_eq!(agreeing, [(Vec::new(), "")]);
}
