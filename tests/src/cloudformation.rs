//! What CloudFormation is told of a template: SAM's transform of it, and what is left of that when a deployment's parameters are put in.

use std::{
    collections::BTreeMap,
    fs,
    io::Write,
    process::{Command, Stdio},
};

use serde_json::{Map, Value, json};

use crate::template::repository;

/// An account and a region, as good as any.
const PSEUDO_PARAMETERS: [(&str, &str); 4] = [
    ("AWS::Partition", "aws"),
    ("AWS::Region", "eu-central-1"),
    ("AWS::AccountId", "123456789012"),
    ("AWS::URLSuffix", "amazonaws.com"),
];

/// The parameters that `samconfig.toml` deploys one of its sections with.
///
/// # Panics
/// When it has no such section.
#[must_use]
pub fn parameters_of(section: &str) -> BTreeMap<String, String> {
    let text = fs::read_to_string(repository().join("samconfig.toml")).unwrap();
    let (_, section_text) = text.split_once(&format!("[{section}.deploy.parameters]\n")).expect("a section");
    let section_text = section_text.split("\n[").next().unwrap();
    let (_, list) = section_text.split_once("parameter_overrides = ").expect("parameters");
    // A list of strings is written alike in TOML and in YAML, comments included.
    let list: Vec<String> = serde_yaml_ng::from_str(list).unwrap();
    list.iter().map(|entry| entry.split_once('=').unwrap()).map(|(name, value)| (name.into(), value.into())).collect()
}

/// What SAM makes of a template: the document that CloudFormation then works with.
///
/// # Panics
/// When SAM refuses it.
#[must_use]
pub fn transform(template: &str, parameters: &BTreeMap<String, String>) -> Value {
    let python = repository().join(".local/tools/bin/python");
    let mut sam = Command::new(python);
    sam.arg(repository().join("tests/sam_transform.py"));
    sam.args(parameters.iter().map(|(name, value)| format!("{name}={value}")));
    let mut sam = sam.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap();
    sam.stdin.take().unwrap().write_all(template.as_bytes()).unwrap();
    let output = sam.wait_with_output().unwrap();
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    serde_json::from_slice(&output.stdout).unwrap()
}

/// A stack as a deployment with these parameters creates it: resources whose condition does not hold are gone, and so are the functions that
/// parameters and mappings decide. What only a created resource can say (`Ref`, `Fn::GetAtt`) is left as it stands.
pub struct Evaluated {
    template: Value,
    parameters: BTreeMap<String, String>,
    pub resources: BTreeMap<String, Value>,
}

impl Evaluated {
    /// One of the repository's templates.
    ///
    /// # Panics
    /// When it cannot be read, or names a parameter, a mapping or a condition that it has not got.
    #[must_use]
    pub fn read(path: &str, parameters: &BTreeMap<String, String>) -> Self {
        Self::of(&fs::read_to_string(repository().join(path)).unwrap(), parameters)
    }

    /// A template's text.
    ///
    /// # Panics
    /// As [`Evaluated::read`].
    #[must_use]
    pub fn of(text: &str, parameters: &BTreeMap<String, String>) -> Self {
        let template = transform(text, parameters);
        let mut values: BTreeMap<String, String> =
            PSEUDO_PARAMETERS.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned())).collect();
        for (name, definition) in template["Parameters"].as_object().into_iter().flatten() {
            if let Some(default) = scalar(&definition["Default"]) {
                values.insert(name.clone(), default);
            }
        }
        values.extend(parameters.clone());
        let mut evaluated = Self { template, parameters: values, resources: BTreeMap::new() };
        let resources = evaluated.template["Resources"].as_object().unwrap();
        let is_there = |resource: &Value| resource["Condition"].as_str().is_none_or(|name| evaluated.condition(name));
        evaluated.resources = resources
            .iter()
            .filter(|(_, resource)| is_there(resource))
            .filter_map(|(id, resource)| Some((id.clone(), evaluated.value(resource)?)))
            .collect();
        evaluated
    }

    /// Every resource of a type, by its logical id.
    pub fn of_type(&self, kind: &str) -> impl Iterator<Item = (&String, &Value)> {
        self.resources.iter().filter(move |(_, resource)| resource["Type"] == kind)
    }

    fn condition(&self, name: &str) -> bool {
        self.holds(&self.template["Conditions"][name])
    }

    fn holds(&self, condition: &Value) -> bool {
        let (function, arguments) = function(condition).unwrap_or_else(|| panic!("no condition: {condition}"));
        let all = || arguments.as_array().unwrap().iter();
        match function {
            "Fn::Equals" => {
                let [left, right] = &arguments.as_array().unwrap()[..] else { panic!("{condition}") };
                self.value(left).and_then(|left| scalar(&left)) == self.value(right).and_then(|right| scalar(&right))
            }
            "Fn::Not" => !all().any(|condition| self.holds(condition)),
            "Fn::And" => all().all(|condition| self.holds(condition)),
            "Fn::Or" => all().any(|condition| self.holds(condition)),
            "Condition" => self.condition(arguments.as_str().unwrap()),
            _ => panic!("{function} is nothing that this can evaluate"),
        }
    }

    /// `None` is `AWS::NoValue`: there is no such property.
    fn value(&self, value: &Value) -> Option<Value> {
        match (value, function(value)) {
            (_, Some(("Ref", name))) if name == "AWS::NoValue" => None,
            (_, Some(("Fn::If", arguments))) => {
                let [condition, then, otherwise] = &arguments.as_array()?[..] else { panic!("{value}") };
                self.value(if self.condition(condition.as_str()?) { then } else { otherwise })
            }
            (_, Some((name, arguments))) => {
                Some(self.call(name, arguments).unwrap_or_else(|| json!({ name: self.value(arguments) })))
            }
            (Value::Array(items), _) => Some(items.iter().filter_map(|item| self.value(item)).collect()),
            (Value::Object(members), _) => {
                let members = members.iter().filter_map(|(name, member)| Some((name.clone(), self.value(member)?)));
                Some(Value::Object(members.collect::<Map<_, _>>()))
            }
            (other, None) => Some(other.clone()),
        }
    }

    /// What a function gives, if that is known before anything is created.
    fn call(&self, name: &str, arguments: &Value) -> Option<Value> {
        match name {
            "Ref" => self.parameters.get(arguments.as_str()?).map(|value| json!(value)),
            "Fn::FindInMap" => {
                let keys: Vec<String> =
                    arguments.as_array()?.iter().filter_map(|key| scalar(&self.value(key)?)).collect();
                let [mapping, first, second] = &keys[..] else { return None };
                Some(self.template["Mappings"][mapping][first][second].clone())
            }
            "Fn::Sub" => {
                let (text, own) = match arguments {
                    Value::Array(both) => (both.first()?.as_str()?, both.get(1)?.clone()),
                    text => (text.as_str()?, Value::Null),
                };
                let mut text = text.to_owned();
                let own = own.as_object().into_iter().flatten();
                let own = own.filter_map(|(name, value)| Some((name.clone(), scalar(&self.value(value)?)?)));
                for (name, value) in own.chain(self.parameters.clone()) {
                    text = text.replace(&format!("${{{name}}}"), &value);
                }
                Some(json!(text))
            }
            "Fn::Split" => {
                let arguments = self.value(arguments)?;
                let [separator, text] = &arguments.as_array()?[..] else { return None };
                Some(text.as_str()?.split(separator.as_str()?).collect())
            }
            "Fn::Select" => {
                let arguments = self.value(arguments)?;
                let index = usize::try_from(arguments[0].as_u64()?).ok()?;
                arguments[1].as_array()?.get(index).cloned()
            }
            _ => None,
        }
    }
}

/// A function of CloudFormation's and what it is called with.
fn function(value: &Value) -> Option<(&str, &Value)> {
    let members = value.as_object().filter(|members| members.len() == 1)?;
    let (name, arguments) = members.iter().next()?;
    (name.starts_with("Fn::") || name == "Ref" || (name == "Condition" && arguments.is_string()))
        .then_some((name.as_str(), arguments))
}

/// As text, which is how CloudFormation compares.
fn scalar(value: &Value) -> Option<String> {
    match value {
        Value::String(text) => Some(text.clone()),
        Value::Bool(value) => Some(value.to_string()),
        Value::Number(number) => Some(number.to_string()),
        _ => None,
    }
}
