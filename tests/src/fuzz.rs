//! Requests made up from an OpenAPI document, by a seed: first as the document allows, then broken in one place or two.
//!
//! Invariant: the same document, hints and seed make the same requests.

use std::collections::{BTreeMap, BTreeSet};

use anyhow::{Context, Result};
use rand::{Rng, SeedableRng, rngs::SmallRng, seq::IndexedRandom};
use serde_json::{Map, Value, json};

use crate::schema::conforms;

/// Levels of nesting that are made up: each reference and each choice is one, and the schemas here end below.
const DEPTH_MAX: usize = 16;
/// Levels of brackets in a body that is only deep.
const DEEP: usize = 20_000;

/// One request.
#[derive(Debug, Clone)]
pub struct Request {
    /// The method, in capitals.
    pub method: String,
    /// The path as the document has it.
    pub template: String,
    /// Path and query.
    pub target: String,
    /// Headers.
    pub headers: Vec<(String, String)>,
    /// The body, if any.
    pub body: Option<Vec<u8>>,
    /// Whether nothing in it was broken on purpose.
    pub intact: bool,
}

/// One operation of the document.
#[derive(Debug, Clone)]
struct Operation {
    method: String,
    path: String,
    parameters: Vec<Value>,
    body: Option<Value>,
    responses: Map<String, Value>,
}

/// A document, and values that are worth trying for a property or parameter of a name.
#[derive(Debug)]
pub struct Fuzzer {
    document: Value,
    operations: Vec<Operation>,
    hints: BTreeMap<String, Vec<Value>>,
    /// Names of which nothing but what is hinted at is tried.
    fixed: BTreeSet<String>,
    rng: SmallRng,
}

impl Fuzzer {
    /// Reads the document.
    ///
    /// # Errors
    /// Where it is no OpenAPI document.
    pub fn new(document: Value, hints: BTreeMap<String, Vec<Value>>, seed: u64) -> Result<Self> {
        let mut operations = Vec::new();
        for (path, methods) in document["paths"].as_object().context("paths")? {
            for (method, operation) in methods.as_object().context("methods")? {
                operations.push(Operation {
                    method: method.to_uppercase(),
                    path: path.clone(),
                    parameters: operation["parameters"].as_array().cloned().unwrap_or_default(),
                    body: operation.pointer("/requestBody/content/application~1json/schema").cloned(),
                    responses: operation["responses"].as_object().cloned().context("responses")?,
                });
            }
        }
        Ok(Self { document, operations, hints, fixed: BTreeSet::new(), rng: SmallRng::seed_from_u64(seed) })
    }

    /// Methods and paths of the document.
    pub fn operations(&self) -> impl Iterator<Item = (&str, &str)> {
        self.operations.iter().map(|operation| (operation.method.as_str(), operation.path.as_str()))
    }

    /// What the document says of an answer of this status: its schema by media type; `None` where it has no such
    /// answer.
    #[must_use]
    pub fn documented(&self, request: &Request, status: u16) -> Option<&Map<String, Value>> {
        let operation = self
            .operations
            .iter()
            .find(|operation| operation.path == request.template && operation.method == request.method)?;
        let keys = [status.to_string(), format!("{}XX", status / 100), "default".to_owned()];
        let response = keys.iter().find_map(|key| operation.responses.get(key))?;
        response["content"].as_object()
    }

    /// Holds a JSON answer against the schema that the document has for it.
    ///
    /// # Errors
    /// Where it does not conform.
    pub fn conforms(&self, schema: &Value, answer: &Value) -> Result<()> {
        conforms(&self.document, schema, answer)
    }

    /// Other values worth trying for a property or parameter, from now on.
    pub fn hint(&mut self, name: &str, values: Vec<Value>) {
        self.hints.insert(name.to_owned(), values);
    }

    /// No other values than these for a property or parameter, from now on: one whose own parts have the names of others.
    pub fn fix(&mut self, name: &str, values: Vec<Value>) {
        self.hint(name, values);
        self.fixed.insert(name.to_owned());
    }

    /// The next request, of the operations that `wanted` takes (method, path).
    ///
    /// # Panics
    /// Where it takes none.
    pub fn next(&mut self, wanted: impl Fn(&str, &str) -> bool) -> Request {
        let open: Vec<Operation> =
            self.operations.iter().filter(|operation| wanted(&operation.method, &operation.path)).cloned().collect();
        let operation = open.choose(&mut self.rng).expect("an operation that is wanted");
        let mut broken = false;
        let mut query = Vec::new();
        let mut headers = Vec::new();
        for parameter in &operation.parameters {
            if !self.rng.random_bool(0.4) {
                continue;
            }
            let name = parameter["name"].as_str().unwrap_or_default().to_owned();
            let mut value = self.value(&name, &parameter["schema"], 0);
            if self.rng.random_bool(0.2) {
                value = self.nasty();
                broken = true;
            }
            if value.is_null() {
                continue;
            }
            let text = value.as_str().map_or_else(|| value.to_string(), str::to_owned);
            match parameter["in"].as_str() {
                Some("header") => headers.push((name, text.chars().filter(|c| (' '..='~').contains(c)).collect())),
                _ => query.push(format!("{name}={}", escape(&text))),
            }
        }
        if self.rng.random_bool(0.03) {
            query.push("unheard_of=1".to_owned());
            broken = true;
        }
        let body = operation.body.as_ref().map(|schema| {
            let (bytes, kind, intact) = self.body(schema);
            headers.push(("content-type".to_owned(), kind.to_owned()));
            broken |= !intact;
            bytes
        });
        let query = if query.is_empty() { String::new() } else { format!("?{}", query.join("&")) };
        Request {
            method: operation.method.clone(),
            template: operation.path.clone(),
            target: format!("{}{query}", operation.path),
            headers,
            body,
            intact: !broken,
        }
    }

    /// A body, its media type, and whether it is what the document asks for.
    fn body(&mut self, schema: &Value) -> (Vec<u8>, &'static str, bool) {
        let mut value = self.value("", schema, 0);
        let json = "application/json";
        match self.rng.random_range(0..10) {
            0..5 => (value.to_string().into_bytes(), json, true),
            5..8 => {
                for _ in 0..self.rng.random_range(1..=2) {
                    self.break_one(&mut value);
                }
                (value.to_string().into_bytes(), json, false)
            }
            8 => {
                let mut bytes = value.to_string().into_bytes();
                match self.rng.random_range(0..3) {
                    0 => bytes.truncate(self.rng.random_range(0..=bytes.len())),
                    1 => {
                        let at = self.rng.random_range(0..bytes.len());
                        bytes[at] ^= 1 << self.rng.random_range(0..8);
                    }
                    _ => bytes = [b"[".repeat(DEEP), b"]".repeat(DEEP)].concat(),
                }
                (bytes, json, false)
            }
            _ => (value.to_string().into_bytes(), "text/plain", false),
        }
    }

    /// A value that a schema allows (as far as schemas say).
    fn value(&mut self, name: &str, schema: &Value, depth: usize) -> Value {
        if let Some(hints) = self.hints.get(name)
            && (self.fixed.contains(name) || self.rng.random_bool(0.9))
        {
            return hints.choose(&mut self.rng).cloned().unwrap_or(Value::Null);
        }
        if let Some(reference) = schema["$ref"].as_str() {
            let at = reference.trim_start_matches('#').to_owned();
            let target = self.document.pointer(&at).cloned().unwrap_or(Value::Null);
            return self.value(name, &target, depth + 1);
        }
        if let Some(one) = ["oneOf", "anyOf"].iter().find_map(|key| schema[*key].as_array()) {
            let chosen = one.choose(&mut self.rng).cloned().unwrap_or(Value::Null);
            return self.value(name, &chosen, depth + 1);
        }
        if let Some(one) = schema["enum"].as_array().and_then(|all| all.choose(&mut self.rng)) {
            return one.clone();
        }
        let kind = match &schema["type"] {
            Value::Array(kinds) => kinds.choose(&mut self.rng).and_then(Value::as_str).unwrap_or("null").to_owned(),
            kind => kind.as_str().unwrap_or("null").to_owned(),
        };
        match kind.as_str() {
            "object" => self.object(schema, depth),
            "array" if depth < DEPTH_MAX => {
                let least = schema["minItems"].as_u64().unwrap_or(0);
                let count = self.rng.random_range(least..least + 3);
                Value::Array((0..count).map(|_| self.value("", &schema["items"], depth + 1)).collect())
            }
            "array" => json!([]),
            "integer" => self.integer(schema),
            "string" if schema["pattern"].as_str().is_some_and(|pattern| pattern.starts_with("^[0-9a-f]")) => {
                let digits = schema["pattern"].as_str().and_then(|text| text.split(['{', '}']).nth(1)?.parse().ok());
                json!((0..digits.unwrap_or(1)).map(|_| self.rng.random_range(0..10).to_string()).collect::<String>())
            }
            "string" if schema["pattern"].as_str().is_some_and(|pattern| !pattern.contains('.')) => {
                json!(self.rng.random_range(0..100).to_string())
            }
            "string" if schema["pattern"].is_string() => json!(format!("{}.{}", self.rng.random_range(0..100), 5)),
            "string" => {
                let length = self.rng.random_range(1..=schema["maxLength"].as_u64().unwrap_or(20).min(36));
                json!((0..length).map(|_| char::from(self.rng.random_range(b'A'..=b'Z'))).collect::<String>())
            }
            "boolean" => json!(self.rng.random_bool(0.5)),
            _ => Value::Null,
        }
    }

    fn object(&mut self, schema: &Value, depth: usize) -> Value {
        let required: Vec<&str> =
            schema["required"].as_array().into_iter().flatten().filter_map(Value::as_str).collect();
        let mut object = Map::new();
        for (name, inner) in schema["properties"].as_object().into_iter().flatten() {
            if required.contains(&name.as_str()) || (depth < DEPTH_MAX && self.rng.random_bool(0.9)) {
                object.insert(name.clone(), self.value(name, inner, depth + 1));
            }
        }
        Value::Object(object)
    }

    /// Small, as most are; or at an edge, as far as the schema allows.
    fn integer(&mut self, schema: &Value) -> Value {
        let from = schema["minimum"].as_i64();
        let to = match (schema["maximum"].as_u64(), schema["format"].as_str(), from) {
            (Some(to), _, _) => to,
            (None, Some("int32"), Some(_)) => u64::from(u32::MAX),
            (None, Some("int32"), None) => i32::MAX.unsigned_abs().into(),
            (None, _, Some(_)) => u64::MAX,
            (None, _, None) => i64::MAX.unsigned_abs(),
        };
        let lowest = from.unwrap_or(if schema["format"] == "int32" { i32::MIN.into() } else { i64::MIN });
        let least = from.unwrap_or(0).unsigned_abs();
        if self.rng.random_bool(0.7) {
            return json!(self.rng.random_range(least..=to.min(100)));
        }
        match self.rng.random_range(0..4) {
            0 => json!(lowest),
            1 => json!(lowest.max(-1)),
            2 => json!((1_u64 << self.rng.random_range(0..63)).clamp(least, to)),
            _ => json!(to),
        }
    }

    /// What no schema means.
    fn nasty(&mut self) -> Value {
        let nasty = [
            json!(null),
            json!(-1),
            json!(u64::MAX),
            json!(1e308),
            json!(0.5),
            json!(""),
            json!("\u{0}"),
            json!("' OR 1=1 --"),
            json!("\u{202e}\u{1f980}"),
            json!("9".repeat(400)),
            json!("x".repeat(5_000)),
            json!([[[[]]]]),
            json!({"a": {"b": {}}}),
            json!(true),
            json!("NaN"),
            json!("1e5"),
        ];
        nasty.choose(&mut self.rng).cloned().unwrap_or(Value::Null)
    }

    /// Breaks one place of `value`: takes something away, puts something in its place, or adds what is unheard of.
    fn break_one(&mut self, value: &mut Value) {
        if self.rng.random_bool(0.3) || !goes_deeper(value) {
            return self.break_here(value);
        }
        let inner: Vec<&mut Value> = match value {
            Value::Object(object) => object.values_mut().collect(),
            Value::Array(items) => items.iter_mut().collect(),
            Value::Null | Value::Bool(_) | Value::Number(_) | Value::String(_) => Vec::new(),
        };
        let at = self.rng.random_range(0..inner.len());
        if let Some(inner) = inner.into_iter().nth(at) {
            self.break_one(inner);
        }
    }

    fn break_here(&mut self, value: &mut Value) {
        let nasty = self.nasty();
        let Value::Object(object) = value else {
            *value = nasty;
            return;
        };
        let at = self.rng.random_range(0..object.len().max(1));
        match (object.keys().nth(at).cloned(), self.rng.random_range(0..3)) {
            (Some(name), 0) => drop(object.remove(&name)),
            (Some(name), 1) => drop(object.insert(name, nasty)),
            _ => drop(object.insert("unheard_of".to_owned(), nasty)),
        }
    }
}

fn goes_deeper(value: &Value) -> bool {
    match value {
        Value::Object(object) => !object.is_empty(),
        Value::Array(items) => !items.is_empty(),
        Value::Null | Value::Bool(_) | Value::Number(_) | Value::String(_) => false,
    }
}

fn escape(text: &str) -> String {
    let plain = |byte: &u8| byte.is_ascii_alphanumeric() || b"-_.~".contains(byte);
    text.bytes().map(|byte| if plain(&byte) { char::from(byte).to_string() } else { format!("%{byte:02X}") }).collect()
}
