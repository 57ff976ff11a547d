//! The schemas of the OpenAPI document, and samples of what they describe.

use std::sync::atomic::{AtomicI64, Ordering};

use regex_lite::Regex;
use serde_json::{Map, Value, json};
use time::{Duration, OffsetDateTime, format_description::well_known::Rfc3339};

use crate::people;

/// What free text is made of.
const TEXT: &str = "Brass lantern, made by hand. ";

/// The schemas of one OpenAPI document.
#[derive(Clone, Copy)]
pub struct Schemas<'a>(&'a Value);

impl<'a> Schemas<'a> {
    #[must_use]
    pub const fn new(document: &'a Value) -> Self {
        Self(document)
    }

    /// The schema of an operation's body, if it takes one.
    #[must_use]
    pub fn body(&self, method: &str, path: &str) -> Option<&'a Value> {
        let operation = &self.0["paths"][path][method.to_lowercase()];
        operation["requestBody"]["content"]["application/json"].get("schema")
    }

    /// An operation's query parameters, as the schema of an object.
    ///
    /// # Panics
    /// When the document has no such operation.
    #[must_use]
    pub fn query(&self, method: &str, path: &str) -> Value {
        let parameters = self.0["paths"][path][method.to_lowercase()]["parameters"].as_array().unwrap();
        let parameters: Vec<_> = parameters.iter().filter(|parameter| parameter["in"] == "query").collect();
        let required = parameters.iter().filter(|parameter| parameter["required"] == true);
        let required: Vec<_> = required.map(|parameter| &parameter["name"]).collect();
        let property =
            |parameter: &&Value| (parameter["name"].as_str().unwrap().to_owned(), parameter["schema"].clone());
        let properties: Map<_, _> = parameters.iter().map(property).collect();
        json!({ "type": "object", "properties": properties, "required": required, "additionalProperties": false })
    }

    /// What the schema stands for: each alternative but null, with no reference left at its top.
    ///
    /// # Panics
    /// When it refers to something that the document does not have.
    #[must_use]
    pub fn alternatives(&self, schema: &'a Value) -> Vec<&'a Value> {
        if let Some(reference) = schema["$ref"].as_str() {
            let target = self.0.pointer(reference.trim_start_matches('#'));
            return self.alternatives(target.unwrap_or_else(|| panic!("{reference} is not in the document")));
        }
        match schema["oneOf"].as_array() {
            Some(alternatives) => alternatives.iter().flat_map(|schema| self.alternatives(schema)).collect(),
            None if schema["type"] == "null" => Vec::new(),
            None => vec![schema],
        }
    }

    /// A value of the schema, with all its members. Where it has alternatives, of the first.
    ///
    /// # Panics
    /// When the schema is of a kind that no request has had so far.
    #[must_use]
    pub fn sample(&self, schema: &'a Value) -> Value {
        let schema = self.alternatives(schema)[0];
        if let Some(values) = schema["enum"].as_array() {
            return values[0].clone();
        }
        match kind(schema) {
            "object" => members(schema).map(|(name, schema)| (name.clone(), self.sample(schema))).collect(),
            "array" => self.array(schema, length(schema, "minItems").unwrap_or_default().max(1)),
            "string" => sample_text(schema).into(),
            "integer" => number(schema, "minimum").unwrap_or(1).max(1).into(),
            "boolean" => true.into(),
            other => panic!("no sample of the type {other}"),
        }
    }

    /// An array of this many items.
    #[must_use]
    pub fn array(&self, schema: &'a Value, length: usize) -> Value {
        (0..length).map(|_| self.sample(&schema["items"])).collect()
    }
}

/// The schema's type, which may be null as well.
#[must_use]
pub fn kind(schema: &Value) -> &str {
    let types = schema["type"].as_array().map_or(std::slice::from_ref(&schema["type"]), Vec::as_slice);
    types.iter().filter_map(Value::as_str).find(|kind| *kind != "null").unwrap_or_default()
}

/// The members of an object, with their schemas.
pub fn members(schema: &Value) -> impl Iterator<Item = (&String, &Value)> {
    schema["properties"].as_object().into_iter().flatten()
}

/// A keyword whose value is a whole number.
///
/// # Panics
/// When it is none.
#[must_use]
pub fn number(schema: &Value, keyword: &str) -> Option<i64> {
    schema.get(keyword).map(|value| value.as_i64().unwrap_or_else(|| panic!("{keyword} of {schema}")))
}

/// A keyword whose value is a number of characters, items or members.
///
/// # Panics
/// When it is none.
#[must_use]
pub fn length(schema: &Value, keyword: &str) -> Option<usize> {
    number(schema, keyword).map(|length| usize::try_from(length).unwrap())
}

fn sample_text(schema: &Value) -> String {
    /// Seconds: each time is later than the one before, as intervals need it.
    static NEXT: AtomicI64 = AtomicI64::new(1_767_225_600);
    match (schema["format"].as_str(), schema["pattern"].as_str()) {
        (Some("uuid"), _) => people::new_key(),
        (Some("date-time"), _) => {
            let time = OffsetDateTime::UNIX_EPOCH + Duration::seconds(NEXT.fetch_add(1, Ordering::Relaxed));
            time.format(&Rfc3339).unwrap()
        }
        (_, Some(pattern)) => matching(pattern),
        _ => {
            let (least, most) = (length(schema, "minLength"), length(schema, "maxLength"));
            text(schema, 24.clamp(least.unwrap_or_default(), most.unwrap_or(usize::MAX)))
        }
    }
}

/// Text of this many characters, of the schema's pattern and format.
#[must_use]
pub fn text(schema: &Value, length: usize) -> String {
    match (schema["format"].as_str(), schema["pattern"].as_str()) {
        (Some("email"), _) => address(length),
        (_, Some(pattern)) => matching(pattern).chars().cycle().take(length).collect(),
        _ => TEXT.chars().cycle().take(length).collect(),
    }
}

/// Text that the pattern matches.
///
/// # Panics
/// When that is neither what stands in the pattern nor a number of zeros.
#[must_use]
pub fn matching(pattern: &str) -> String {
    let regex = Regex::new(pattern).unwrap();
    let literal = pattern.trim_start_matches('^').trim_end_matches('$').to_owned();
    let mut candidates = std::iter::once(literal).chain((1..64).map(|length| "0".repeat(length)));
    candidates.find(|text| regex.is_match(text)).unwrap_or_else(|| panic!("no text for {pattern}"))
}

/// An e-mail address of this many characters: at most 64 before the `@`, at most 63 between two dots.
fn address(length: usize) -> String {
    const DOMAIN: &str = "@souk.example";
    let rest = length.saturating_sub(DOMAIN.len());
    let local = rest.min(64);
    let labels = (local..rest).rev().map(|index| if (index - local).is_multiple_of(60) { '.' } else { 'a' });
    format!("{}@{}{}", "a".repeat(local), labels.collect::<String>(), &DOMAIN[1..])
}
