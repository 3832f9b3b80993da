//! Market-maker protection.
use crate::numbers::{Millis, Qty};
use serde::{Deserialize, Serialize};

/// The limits.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
pub struct Protection {
    /// Lots.
    pub lots_max: Qty,
    /// Milliseconds.
    pub window_ms: u64,
    /// Milliseconds.
    pub pause_ms: u64,
}

/// Why not.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{0}")]
pub struct InvalidProtection(&'static str);

impl Protection {
    /// # Errors
    /// Names the field.
    pub fn check(&self) -> Result<(), InvalidProtection> {
        if !self.lots_max.is_valid() {
            return Err(InvalidProtection("lots_max"));
        }
        if !(1..=3_600_000).contains(&self.window_ms) {
            return Err(InvalidProtection("window_ms"));
        }
        if !(1..=3_600_000).contains(&self.pause_ms) {
            return Err(InvalidProtection("pause_ms"));
        }
        Ok(())
    }
}

/// What was counted.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
pub struct ProtectionState {
    /// Since.
    pub opened: Option<Millis>,
    /// Lots.
    pub lots: Qty,
    /// Until.
    pub paused_until: Option<Millis>,
}

impl ProtectionState {
    /// After a fill; whether it trips.
    #[must_use]
    pub fn on_fill(&self, protection: &Protection, now: Millis, qty: Qty) -> (Self, bool) {
        let open = self.opened.is_some_and(|opened| now < opened.plus(protection.window_ms));
        let lots = if open { Qty(self.lots.0.saturating_add(qty.0)) } else { qty };
        if lots >= protection.lots_max {
            return (Self { opened: None, lots: Qty::ZERO, paused_until: Some(now.plus(protection.pause_ms)) }, true);
        }
        (Self { opened: if open { self.opened } else { Some(now) }, lots, ..*self }, false)
    }
}
