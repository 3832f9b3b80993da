//! Waiting for a condition, with a deadline: never for a time.

use std::{
    fmt::Display,
    future::Future,
    time::{Duration, Instant},
};

use anyhow::{Result, bail};

/// Pause between two looks.
const LOOK_EVERY: Duration = Duration::from_millis(25);

/// Looks until `look` gives something, for `limit` at most. An error of `look` is "not yet"; the last one is told.
///
/// # Errors
/// Where nothing came in time.
pub async fn within<T, E, F, Fut>(limit: Duration, what: &str, mut look: F) -> Result<T>
where
    E: Display,
    F: FnMut() -> Fut,
    Fut: Future<Output = Result<Option<T>, E>>,
{
    #[expect(clippy::disallowed_methods, reason = "real processes live on the real clock")]
    let started = Instant::now();
    loop {
        let last = match look().await {
            Ok(Some(found)) => return Ok(found),
            Ok(None) => String::new(),
            Err(error) => format!(" (last: {error})"),
        };
        if started.elapsed() > limit {
            bail!("not within {} ms: {what}{last}", limit.as_millis());
        }
        tokio::time::sleep(LOOK_EVERY).await;
    }
}

/// [`within`] 30 seconds: for what has no bound of its own to prove.
///
/// # Errors
/// Where nothing came in time.
pub async fn eventually<T, E, F, Fut>(what: &str, look: F) -> Result<T>
where
    E: Display,
    F: FnMut() -> Fut,
    Fut: Future<Output = Result<Option<T>, E>>,
{
    within(Duration::from_secs(30), what, look).await
}
