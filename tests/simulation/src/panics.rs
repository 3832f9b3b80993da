//! Counts panics, wherever they are: tokio swallows those of tasks, and the store those of its engine.

use std::{cell::RefCell, panic, sync::Once};

thread_local! {
    /// Panics of the run on this thread; `None` outside of one.
    static PANICS: RefCell<Option<Vec<(String, bool)>>> = const { RefCell::new(None) };
}

static HOOK: Once = Once::new();

/// A run begins on this thread.
pub fn begin() {
    HOOK.call_once(|| {
        let before = panic::take_hook();
        panic::set_hook(Box::new(move |info| {
            let place = info.location().map(|at| format!("{}:{}", at.file(), at.line())).unwrap_or_default();
            // redb asserts on some kinds of damage, and the store turns that into an error.
            let of_engine = place.contains("/redb-");
            let taken = PANICS.with(|panics| match panics.try_borrow_mut() {
                Ok(mut panics) => {
                    panics.as_mut().map(|panics| panics.push((format!("{place}: {info}"), of_engine))).is_some()
                }
                Err(_) => false,
            });
            if !taken {
                before(info);
            }
        }));
    });
    PANICS.with(|panics| *panics.borrow_mut() = Some(Vec::new()));
}

/// It is over: the panics that were, those of the database engine apart where disks rotted.
#[must_use]
pub fn end(disks_rotted: bool) -> Vec<String> {
    let panics = PANICS.with(|panics| panics.borrow_mut().take()).unwrap_or_default();
    panics.into_iter().filter(|(_, of_engine)| !(disks_rotted && *of_engine)).map(|(text, _)| text).collect()
}
