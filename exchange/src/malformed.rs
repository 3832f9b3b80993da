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
    let left = line.split_once('=').map_or(line, |(name, _)| name).trim();
    let (field, what) = match named {
        Some(field) => (field, "is missing"),
        None if SECRET.contains(&left) => (left, "is no text, or is not closed"),
        None => (left, error.message()),
    };
    Malformed { line: line_of(text, at), field: field.to_owned(), what: what.to_owned() }
}

/// The line of a place in the text, from 1.
pub(crate) fn line_of(text: &str, at: usize) -> usize {
    1 + text.bytes().take(at).filter(|byte| *byte == b'\n').count()
}
