//! What is wrong with a TOML file, in words that show no value of it: the line of a mistake may be that of a secret.

/// A mistake.
pub(crate) struct Malformed {
    /// The line, from 1.
    pub(crate) line: usize,
    /// What is missing, or what stands on the line before the '='.
    pub(crate) field: String,
    /// What is wrong with it.
    pub(crate) what: String,
}

/// Fields whose values are never shown, not in the parser's words either.
const SECRET: [&str; 3] = ["secret", "api-key", "api-secret"];

/// What the parser does not take.
pub(crate) fn malformed(text: &str, error: &toml::de::Error) -> Malformed {
    let at = error.span().map_or(0, |span| span.start);
    let begin = text.get(..at).and_then(|before| before.rfind('\n')).map_or(0, |newline| newline + 1);
    let line = text.get(begin..).unwrap_or_default().lines().next().unwrap_or_default();
    let named = error.message().split_once("missing field `").and_then(|(_, rest)| rest.split('`').next());
    let (field, what) = match (named, name_on(line)) {
        (Some(field), _) => (field, "is missing"),
        (None, Some(left)) if SECRET.contains(&left) => (left, "is no text, or is not closed"),
        (None, Some(left)) => (left, error.message()),
        // Without a name before it, the line may be a secret that goes over several lines, or one whose '=' is missing.
        (None, None) => ("this line", "cannot be read"),
    };
    Malformed { line: line_of(text, at), field: field.to_owned(), what: what.to_owned() }
}

/// What stands before the '=' of a line, or between the brackets of one.
fn name_on(line: &str) -> Option<&str> {
    let is_name =
        |text: &str| !text.is_empty() && text.bytes().all(|c| c.is_ascii_alphanumeric() || b"-_.".contains(&c));
    let trimmed = line.trim();
    let name = if trimmed.starts_with('[') { trimmed } else { trimmed.split_once('=')?.0.trim_end() };
    is_name(name.trim_matches(['[', ']'])).then_some(name)
}

/// The line of a place in the text, from 1.
pub(crate) fn line_of(text: &str, at: usize) -> usize {
    1 + text.bytes().take(at).filter(|byte| *byte == b'\n').count()
}
