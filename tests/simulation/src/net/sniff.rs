//! Reads along: which refusals of the ledger go to clients.

/// The names of the refusals in the JSON of an answer to commands.
pub(super) fn refusals(json: &[u8]) -> impl Iterator<Item = &str> {
    const MARK: &str = "\"refused\":";
    let text = std::str::from_utf8(json).unwrap_or("");
    text.match_indices(MARK).filter_map(move |(at, _)| {
        let rest = text[at + MARK.len()..].trim_start_matches(['{', '"']);
        rest.split('"').next().filter(|name| !name.is_empty())
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn refusals_with_and_without_facts_are_named() {
        let json = br#"[{"outcome":{"refused":{"stale_epoch":{"present":3}}}},{"outcome":{"refused":"kill_switch"}}]"#;
        assert_eq!(refusals(json).collect::<Vec<_>>(), ["stale_epoch", "kill_switch"]);
    }
}
