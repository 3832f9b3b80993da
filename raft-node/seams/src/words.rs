//! What a process says of itself, on its standard error.

use std::{error::Error, io::IsTerminal};

/// Whether what goes to standard error may be coloured: on a terminal, and where `NO_COLOR` is not set.
#[must_use]
pub fn colours() -> bool {
    std::io::stderr().is_terminal() && std::env::var_os("NO_COLOR").is_none_or(|set| set.is_empty())
}

/// An error with its causes. A cause that the text before it tells already is not told again.
#[must_use]
pub fn explain(error: &(dyn Error + 'static)) -> String {
    let mut text = error.to_string();
    let mut next = error.source();
    while let Some(cause) = next {
        let words = cause.to_string();
        if !text.contains(&words) {
            text.push_str(": ");
            text.push_str(&words);
        }
        next = cause.source();
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[derive(Debug)]
    struct Fault(&'static str, Option<Box<Fault>>);

    impl std::fmt::Display for Fault {
        fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
            f.write_str(self.0)
        }
    }

    impl Error for Fault {
        fn source(&self) -> Option<&(dyn Error + 'static)> {
            self.1.as_deref().map(|cause| cause as &(dyn Error + 'static))
        }
    }

    #[test]
    fn every_cause_is_told_once() {
        let cause = || Some(Box::new(Fault("no such file", None)));
        assert_eq!(explain(&Fault("journal: x: no such file", cause())), "journal: x: no such file");
        assert_eq!(explain(&Fault("journal: x", cause())), "journal: x: no such file");
        let deep = Fault("start", Some(Box::new(Fault("journal: no such file", cause()))));
        assert_eq!(explain(&deep), "start: journal: no such file");
    }
}
