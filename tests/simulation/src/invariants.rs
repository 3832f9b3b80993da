//! What must hold at every step, one file each. None shares code with the ledger beyond its types.

mod acknowledged;
mod audit;
mod authority;
mod beliefs;
mod committed_on_quorum;
mod election_safety;
mod equal_digest;
mod exposure_limit;
mod fills_in_time;
mod fills_once;
mod fresh_prices;
mod gapless_streams;
mod kept_quotes;
mod leader_completeness;
mod log_matching;
mod log_pace;
mod log_time;
mod members_only;
mod money;
mod newest_quote;
mod nobody_starves;
mod one_quote;
mod positions;
mod reads;
mod reservations;

use std::sync::Arc;

use quorate_ledger::Frame;

use crate::view::{Acked, Believed, Placing, ReadSeen, View};

/// Two nodes never apply different things at one index; judged where frames are taken.
pub const STATE_MACHINE_SAFETY: &str = "state machine safety";

/// One thing that must hold.
pub trait Invariant: Send {
    /// Its name.
    fn name(&self) -> &'static str;

    /// The next applied index, each once, in order.
    ///
    /// # Errors
    /// What does not hold; likewise below.
    fn frame(&mut self, _frame: &Frame) -> Result<(), String> {
        Ok(())
    }

    /// The nodes at the end of a step.
    ///
    /// # Errors
    /// See above.
    fn step(&mut self, _view: &View) -> Result<(), String> {
        Ok(())
    }

    /// A belief changed.
    ///
    /// # Errors
    /// See above.
    fn belief(&mut self, _belief: &Believed) -> Result<(), String> {
        Ok(())
    }

    /// A client was told that something is committed.
    ///
    /// # Errors
    /// See above.
    fn acked(&mut self, _acked: &Acked) -> Result<(), String> {
        Ok(())
    }

    /// A maker sends a quote for the symbol of the feed.
    ///
    /// # Errors
    /// See above.
    fn placing(&mut self, _placing: &Placing) -> Result<(), String> {
        Ok(())
    }

    /// A client was answered a read.
    ///
    /// # Errors
    /// See above.
    fn read(&mut self, _read: &ReadSeen) -> Result<(), String> {
        Ok(())
    }

    /// A client's stream gave a frame.
    ///
    /// # Errors
    /// See above.
    fn streamed(&mut self, _stream: u64, _frame: &Frame) -> Result<(), String> {
        Ok(())
    }

    /// All is over; these are the frames of all indexes.
    ///
    /// # Errors
    /// See above.
    fn end(&mut self, _frames: &[Arc<Frame>]) -> Result<(), String> {
        Ok(())
    }
}

/// All of them.
#[must_use]
pub fn all() -> Vec<Box<dyn Invariant>> {
    vec![
        Box::<election_safety::ElectionSafety>::default(),
        Box::<log_matching::LogMatching>::default(),
        Box::<leader_completeness::LeaderCompleteness>::default(),
        Box::<committed_on_quorum::CommittedOnQuorum>::default(),
        Box::<equal_digest::EqualDigest>::default(),
        Box::<audit::Audit>::default(),
        Box::<members_only::MembersOnly>::default(),
        Box::<log_time::LogTime>::default(),
        Box::<log_pace::LogPace>::default(),
        Box::<exposure_limit::ExposureLimit>::default(),
        Box::<reservations::Reservations>::default(),
        Box::<one_quote::OneQuote>::default(),
        Box::<newest_quote::NewestQuote>::default(),
        Box::<kept_quotes::KeptQuotes>::default(),
        Box::<nobody_starves::NobodyStarves>::default(),
        Box::<authority::Authority>::default(),
        Box::<beliefs::Beliefs>::default(),
        Box::<fills_in_time::FillsInTime>::default(),
        Box::<fills_once::FillsOnce>::default(),
        Box::<positions::Positions>::default(),
        Box::<money::Money>::default(),
        Box::<fresh_prices::FreshPrices>::default(),
        Box::<acknowledged::Acknowledged>::default(),
        Box::<reads::Reads>::default(),
        Box::<gapless_streams::GaplessStreams>::default(),
    ]
}

/// An error, unless `holds`.
pub(crate) fn hold(holds: bool, what: impl FnOnce() -> String) -> Result<(), String> {
    if holds { Ok(()) } else { Err(what()) }
}
