//! Named places where a test injects a fault. A [`Failpoints`] value belongs to one process; an empty
//! one (production) costs a null check.

use std::{
    collections::BTreeMap,
    fmt,
    sync::{Arc, Mutex, PoisonError},
};

/// What happens at a failpoint.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum FailAction {
    /// The process ends at once, as by kill -9 (a simulation crashes the node instead).
    Crash,
    /// The operation fails with an I/O error.
    Error,
}

/// What a crash does: production aborts the process, a simulation marks the node dead.
type OnCrash = Arc<dyn Fn(&str) + Send + Sync>;

/// A process's failpoints: name -> (hits to let pass first, action).
#[derive(Clone, Default)]
pub struct Failpoints(Option<Arc<Armed>>);

struct Armed {
    points: Mutex<BTreeMap<String, (u64, FailAction)>>,
    on_crash: OnCrash,
}

/// A failpoint text that cannot be read.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("'{0}' is not a failpoint: write name=crash, name=error, or name=N*crash to let N hits pass first")]
pub struct InvalidFailpoint(String);

impl fmt::Debug for Failpoints {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(if self.0.is_some() { "Failpoints(armed)" } else { "Failpoints(none)" })
    }
}

impl Failpoints {
    /// None at all.
    #[must_use]
    pub fn none() -> Self {
        Self(None)
    }

    /// A set that can be armed later with [`Failpoints::set`]; `on_crash` is what a crash does.
    #[must_use]
    pub fn armed(on_crash: OnCrash) -> Self {
        Self(Some(Arc::new(Armed { points: Mutex::default(), on_crash })))
    }

    /// Reads `name=action[;name=action]`; a crash aborts the process.
    ///
    /// # Errors
    /// [`InvalidFailpoint`] names the part that cannot be read.
    pub fn parse(text: &str) -> Result<Self, InvalidFailpoint> {
        let armed = Self::armed(Arc::new(|_| std::process::abort()));
        for part in text.split(';').filter(|part| !part.trim().is_empty()) {
            let wrong = || InvalidFailpoint(part.to_owned());
            let (name, action) = part.trim().split_once('=').ok_or_else(wrong)?;
            let (skip, action) = match action.split_once('*') {
                Some((count, action)) => (count.parse().map_err(|_| wrong())?, action),
                None => (0, action),
            };
            let action = match action {
                "crash" => FailAction::Crash,
                "error" => FailAction::Error,
                _ => return Err(wrong()),
            };
            armed.set(name, skip, action);
        }
        Ok(armed)
    }

    /// Arms `name`: the first `skip` hits pass, the next one acts, once.
    pub fn set(&self, name: &str, skip: u64, action: FailAction) {
        if let Some(armed) = &self.0 {
            let mut points = armed.points.lock().unwrap_or_else(PoisonError::into_inner);
            points.insert(name.to_owned(), (skip, action));
        }
    }

    /// Passes through the place called `name`.
    ///
    /// # Errors
    /// An I/O error where the point is armed and due (after a simulated crash too, so that the
    /// caller stops there).
    pub fn hit(&self, name: &str) -> std::io::Result<()> {
        let Some(armed) = &self.0 else { return Ok(()) };
        let action = {
            let mut points = armed.points.lock().unwrap_or_else(PoisonError::into_inner);
            match points.get_mut(name) {
                None => return Ok(()),
                Some((skip, _)) if *skip > 0 => {
                    *skip -= 1;
                    return Ok(());
                }
                Some((_, action)) => {
                    let action = *action;
                    points.remove(name);
                    action
                }
            }
        };
        if action == FailAction::Crash {
            (armed.on_crash)(name);
        }
        Err(std::io::Error::other(format!("failpoint {name}")))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_point_lets_the_counted_hits_pass_and_acts_once() {
        let points = Failpoints::parse("save=2*error").expect("valid");
        assert!(points.hit("save").is_ok());
        assert!(points.hit("other").is_ok());
        assert!(points.hit("save").is_ok());
        assert!(points.hit("save").is_err());
        assert!(points.hit("save").is_ok());
    }

    #[test]
    fn unreadable_text_is_refused() {
        assert!(Failpoints::parse("save").is_err());
        assert!(Failpoints::parse("save=explode").is_err());
        assert!(Failpoints::parse("save=x*crash").is_err());
    }
}
