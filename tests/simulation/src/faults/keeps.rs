//! Somebody who knows the makers' secrets keeps their quotes, as a second part of a maker would. It tries as well to keep a quote
//! that was filled, from the position that it has now, and one whose time is over: that must be refused.

use std::{collections::BTreeMap, time::Duration};

use quorate_client::ReadOptions;
use quorate_domain::Symbol;
use quorate_ledger::{Answer, Command, Epoch, KeepQuote, Outcome, Refusal, Response};
use rand::{Rng, seq::IndexedRandom};
use tokio::time::{Instant, sleep};

use super::{
    Scene,
    mischief::{Session, keep},
};

/// How long one read may take.
const ANSWER_MAX: Duration = Duration::from_secs(1);
/// The shortest life that may be asked for.
const TTL_MIN_MS: u64 = 100;

/// The highest number that is known to be used, by symbol and epoch.
type Used = BTreeMap<(Symbol, Epoch), u64>;

pub(super) async fn happen(mut scene: Scene) {
    scene.happened("");
    let until = Instant::now() + Duration::from_millis(scene.fault.for_ms);
    let Some(mut session) = Session::open(&scene).await else { return };
    let mut used = Used::new();
    while Instant::now() < until {
        let pause = scene.rng.random_range(10..=120);
        sleep(Duration::from_millis(pause)).await;
        keep_one(&mut scene, &mut session, &mut used).await;
    }
    session.try_one(&scene, Command::CloseSession).await;
}

async fn keep_one(scene: &mut Scene, session: &mut Session, used: &mut Used) {
    let client = scene.operator.client();
    let options = ReadOptions::linearizable().within(ANSWER_MAX);
    let Ok(quotes) = client.quotes(None, &options).await else { return };
    let Some(stands) = quotes.data.choose(&mut scene.rng) else { return };
    let Some(secret) = scene.sim.maker_secret(&stands.maker) else { return };
    let Ok(positions) = client.positions(Some(&stands.symbol), &options).await else { return };
    let present = positions.data.first().map_or(0, |view| view.position_seq);
    let kept = keep(stands, secret, stands.quote_seq);
    match scene.rng.random_range(0..4) {
        // As if it had been placed from the position that it was filled to.
        0 => {
            let position_seq = present.max(stands.position_seq + 1);
            let filled = KeepQuote { position_seq, ..kept };
            let Some(response) = send_next(scene, session, used, filled).await else { return };
            if matches!(response.outcome, Outcome::Accepted(_)) {
                let what = format!("kept from fill {position_seq}, placed from {}: {response:?}", stands.position_seq);
                scene.sim.wrong("mischief is refused", what);
            }
        }
        // For a moment, and again when that is over, unless somebody else has kept it for longer: the frames say.
        1 => {
            let short = KeepQuote { ttl_ms: TTL_MIN_MS, ..kept.clone() };
            if try_to_keep(scene, session, used, short).await {
                sleep(Duration::from_millis(2 * TTL_MIN_MS)).await;
                try_to_keep(scene, session, used, kept).await;
            }
        }
        _ => {
            let ttl_ms = scene.rng.random_range(TTL_MIN_MS..=10_000);
            try_to_keep(scene, session, used, KeepQuote { ttl_ms, ..kept }).await;
        }
    }
}

/// Whether it was kept.
async fn try_to_keep(scene: &Scene, session: &mut Session, used: &mut Used, keep: KeepQuote) -> bool {
    match send_next(scene, session, used, keep).await.map(|response| response.outcome) {
        Some(Outcome::Accepted(Answer::QuoteKept { .. })) => {
            scene.sim.count("quotes kept");
            true
        }
        Some(Outcome::Accepted(answer)) => {
            scene.sim.wrong("keeps are answered", format!("{answer:?}"));
            false
        }
        Some(Outcome::Refused(_)) | None => false,
    }
}

/// Sends a keep with the next number; once more with the one after that which the ledger names, where that was used.
async fn send_next(scene: &Scene, session: &mut Session, used: &mut Used, keep: KeepQuote) -> Option<Response> {
    let known = used.entry((keep.symbol.clone(), keep.epoch)).or_default();
    *known = keep.quote_seq.max(*known) + 1;
    let first = KeepQuote { quote_seq: *known, ..keep.clone() };
    let response = session.try_one(scene, Command::KeepQuote(first)).await?;
    let Outcome::Refused(Refusal::StaleQuoteSeq { last }) = response.outcome else { return Some(response) };
    *known = last + 1;
    session.try_one(scene, Command::KeepQuote(KeepQuote { quote_seq: *known, ..keep })).await
}
