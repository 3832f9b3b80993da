//! JSON Schema, as far as an OpenAPI document of this project uses it: holds values against it.
//!
//! A field that the document does not name does not conform, whatever `additionalProperties` says: answers hold what is
//! documented and nothing else.

use anyhow::{Context, Result, bail, ensure};
use serde_json::{Map, Value};

/// How deep schemas may lead: those here end far above.
const DEPTH_MAX: usize = 32;

/// Holds `value` against `schema`, whose references lead into `document`.
///
/// # Errors
/// Where it does not conform; says where and how.
pub fn conforms(document: &Value, schema: &Value, value: &Value) -> Result<()> {
    check(document, schema, value, 0)
}

fn check(document: &Value, schema: &Value, value: &Value, depth: usize) -> Result<()> {
    ensure!(depth < DEPTH_MAX, "nested too deep");
    if let Some(reference) = schema["$ref"].as_str() {
        let target = reference.strip_prefix('#').and_then(|at| document.pointer(at));
        let target = target.with_context(|| format!("{reference} is not in the document"))?;
        return check(document, target, value, depth + 1);
    }
    if let Some(choices) = schema["oneOf"].as_array() {
        let fits = choices.iter().filter(|choice| check(document, choice, value, depth + 1).is_ok()).count();
        ensure!(fits == 1, "{value} fits {fits} of {} choices", choices.len());
        return Ok(());
    }
    if let Some(choices) = schema["enum"].as_array() {
        ensure!(choices.contains(value), "{value} is none of {choices:?}");
    }
    let types: Vec<&str> = match &schema["type"] {
        Value::Array(types) => types.iter().filter_map(Value::as_str).collect(),
        one => one.as_str().into_iter().collect(),
    };
    ensure!(!types.is_empty(), "the document does not say what {value} is: {schema}");
    ensure!(types.iter().any(|name| is_a(value, name)), "{value} is none of {types:?}");
    match value {
        Value::Object(fields) => check_fields(document, schema, fields, depth),
        Value::Array(items) => items.iter().try_for_each(|item| check(document, &schema["items"], item, depth + 1)),
        Value::String(text) => {
            let length = u64::try_from(text.chars().count())?;
            ensure!(schema["minLength"].as_u64().is_none_or(|min| length >= min), "{text:?} is too short");
            ensure!(schema["maxLength"].as_u64().is_none_or(|max| length <= max), "{text:?} is too long");
            Ok(())
        }
        Value::Number(number) => {
            let too_low = schema["minimum"].as_i64().zip(number.as_i64()).is_some_and(|(min, is)| is < min);
            ensure!(!too_low, "{number} is too low");
            Ok(())
        }
        Value::Null | Value::Bool(_) => Ok(()),
    }
}

fn is_a(value: &Value, name: &str) -> bool {
    match name {
        "object" => value.is_object(),
        "array" => value.is_array(),
        "string" => value.is_string(),
        "boolean" => value.is_boolean(),
        "integer" => value.is_i64() || value.is_u64(),
        "null" => value.is_null(),
        _ => false,
    }
}

fn check_fields(document: &Value, schema: &Value, fields: &Map<String, Value>, depth: usize) -> Result<()> {
    let known = schema["properties"].as_object().with_context(|| format!("an object without fields: {schema}"))?;
    for required in schema["required"].as_array().into_iter().flatten().filter_map(Value::as_str) {
        ensure!(fields.contains_key(required), "{required} is missing");
    }
    for (name, value) in fields {
        match known.get(name) {
            Some(schema) => check(document, schema, value, depth + 1).with_context(|| name.clone())?,
            None => bail!("{name} is not in the document"),
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn what_is_not_documented_does_not_conform() {
        let document = json!({"components": {"schemas": {"Name": {"type": "string", "minLength": 1, "maxLength": 3}}}});
        let schema = json!({"type": "object", "required": ["a"], "properties": {
            "a": {"$ref": "#/components/schemas/Name"},
            "b": {"oneOf": [{"type": "null"}, {"type": "array", "items": {"type": "integer", "minimum": 0}}]},
            "c": {"enum": ["x", "y"], "type": "string"},
            "d": {"type": ["boolean", "null"]},
        }});
        let table = [
            (json!({"a": "abc"}), true),
            (json!({"a": "abc", "b": null, "c": "x", "d": null}), true),
            (json!({"a": "a", "b": [0, 1], "d": true}), true),
            (json!({}), false),
            (json!([]), false),
            (json!({"a": ""}), false),
            (json!({"a": "abcd"}), false),
            (json!({"a": 1}), false),
            (json!({"a": "a", "b": [-1]}), false),
            (json!({"a": "a", "b": [0.5]}), false),
            (json!({"a": "a", "b": "no"}), false),
            (json!({"a": "a", "c": "z"}), false),
            (json!({"a": "a", "d": 0}), false),
            (json!({"a": "a", "e": 0}), false),
        ];
        for (value, fits) in table {
            assert_eq!(conforms(&document, &schema, &value).is_ok(), fits, "{value}");
        }
    }
}
