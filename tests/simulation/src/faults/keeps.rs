//! Somebody who knows the makers' secrets keeps their quotes, as a second part of a maker would. It tries as well to keep a quote
//! that was filled, from the position that it has now, and one whose time is over: that must be refused.

use std::time::Duration;

use quorate_api::QuoteView;
use quorate_client::ReadOptions;
use quorate_domain::Millis;
use quorate_ledger::{Answer, Command, KeepQuote, Outcome, Secret};
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

pub(super) async fn happen(mut scene: Scene) {
    scene.happened("");
    let until = Instant::now() + Duration::from_millis(scene.fault.for_ms);
    let Some(mut session) = Session::open(&scene).await else { return };
    while Instant::now() < until {
        let pause = scene.rng.random_range(10..=120);
        sleep(Duration::from_millis(pause)).await;
        keep_one(&mut scene, &mut session).await;
    }
    session.try_one(&scene, Command::CloseSession).await;
}

async fn keep_one(scene: &mut Scene, session: &mut Session) {
    let client = scene.operator.client();
    let options = ReadOptions::linearizable().within(ANSWER_MAX);
    let Ok(quotes) = client.quotes(None, &options).await else { return };
    let Some(stands) = quotes.data.choose(&mut scene.rng) else { return };
    let Some(secret) = scene.sim.maker_secret(&stands.maker) else { return };
    let Ok(positions) = client.positions(Some(&stands.symbol), &options).await else { return };
    let present = positions.data.first().map_or(0, |view| view.position_seq);
    match scene.rng.random_range(0..4) {
        // As if it had been placed from the position that it was filled to.
        0 => {
            let position_seq = present.max(stands.position_seq + 1);
            let filled = KeepQuote { position_seq, ..keep(stands, secret, stands.quote_seq + 1) };
            session.must_refuse(scene, Command::KeepQuote(filled)).await;
        }
        1 => outlive(scene, session, stands, secret).await,
        _ => {
            let ttl_ms = scene.rng.random_range(TTL_MIN_MS..=10_000);
            let kept = KeepQuote { ttl_ms, ..keep(stands, secret, stands.quote_seq + 1) };
            try_to_keep(scene, session, kept).await;
        }
    }
}

/// Keeps it for a moment, and again when that is over.
async fn outlive(scene: &mut Scene, session: &mut Session, stands: &QuoteView, secret: Secret) {
    let short = KeepQuote { ttl_ms: TTL_MIN_MS, ..keep(stands, secret, stands.quote_seq + 1) };
    let Some(deadline) = try_to_keep(scene, session, short).await else { return };
    sleep(Duration::from_millis(2 * TTL_MIN_MS)).await;
    let again = Command::KeepQuote(keep(stands, secret, stands.quote_seq + 2));
    let Some(response) = session.try_one(scene, again).await else { return };
    if response.log_time >= deadline && matches!(response.outcome, Outcome::Accepted(_)) {
        scene.sim.wrong("mischief is refused", format!("kept, and it had ended at {deadline}: {response:?}"));
    }
}

/// Until when it was kept, if it was.
async fn try_to_keep(scene: &Scene, session: &mut Session, keep: KeepQuote) -> Option<Millis> {
    match session.try_one(scene, Command::KeepQuote(keep)).await?.outcome {
        Outcome::Accepted(Answer::QuoteKept { deadline }) => {
            scene.sim.count("quotes kept");
            Some(deadline)
        }
        Outcome::Accepted(answer) => {
            scene.sim.wrong("keeps are answered", format!("{answer:?}"));
            None
        }
        Outcome::Refused(_) => None,
    }
}
