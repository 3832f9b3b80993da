//! Makers die, pause, join and leave: authority passes on, never twice at a time, by the ledger's events and by the
//! makers' own records of what they believed.

use std::{collections::BTreeMap, time::Duration};

use anyhow::{Result, ensure};
use quorate_ledger::{AuthorityEndReason, DepartReason, Event, Frame, QuoteEndReason};
use quorate_tests::{
    harness::{Cluster, MakerOptions, Setup, eventually, within},
    quotes::explain,
};

/// A short lease, so that its end need not be waited for long.
const LEASE_MS: u64 = 2_000;
/// After a deadline the leader proposes a tick at once: what this allows for is a slow disk and a busy machine.
const TICK_LATE_MAX_MS: u64 = 1_000;
const SYMBOLS: [&str; 7] = ["AUSDT", "BUSDT", "CUSDT", "DUSDT", "EUSDT", "FUSDT", "GUSDT"];

fn short_lease() -> MakerOptions {
    MakerOptions { order_qty: 4, lease_ttl_ms: LEASE_MS, ..MakerOptions::default() }
}

async fn start(symbols: &[&'static str], makers: &[&str]) -> Result<Cluster> {
    let mut cluster = Cluster::start(Setup { symbols: symbols.to_vec(), ..Setup::default() }).await?;
    cluster.start_exchange(&[]).await?;
    for maker in makers {
        cluster.start_maker(maker, &short_lease())?;
    }
    spread(&cluster, makers).await?;
    Ok(cluster)
}

/// How many symbols each maker holds, symbols that move apart.
async fn loads(cluster: &Cluster) -> Result<BTreeMap<String, usize>> {
    let authority = cluster.read("/v1/authority").await?;
    let mut loads = BTreeMap::new();
    for row in authority.as_array().into_iter().flatten() {
        if let (Some(holder), true) = (row["holder"].as_str(), row["moving_to"].is_null()) {
            *loads.entry(holder.to_owned()).or_default() += 1;
        }
    }
    Ok(loads)
}

/// Waits until just these makers hold all symbols, evenly, and all are quoted by their holders.
async fn spread(cluster: &Cluster, makers: &[&str]) -> Result<()> {
    let what = format!("{makers:?} to hold and quote all symbols");
    eventually(&what, || async {
        let loads = loads(cluster).await?;
        let even = loads.values().max().unwrap_or(&0) - loads.values().min().unwrap_or(&0) <= 1;
        let just_these = loads.len() == makers.len() && makers.iter().all(|maker| loads.contains_key(*maker));
        let authority = cluster.read("/v1/authority").await?;
        let symbols = authority.as_array().map_or(0, Vec::len);
        let quotes = cluster.read("/v1/quotes").await?;
        let quoted = quotes.as_array().map_or(0, Vec::len);
        let all = loads.values().sum::<usize>() == symbols && quoted == symbols;
        ensure!(even && just_these && all, "{loads:?}, {quoted} of {symbols} quoted");
        anyhow::Ok(Some(()))
    })
    .await
}

/// The frame in which a maker's incarnation departed, with the reason.
fn departure<'a>(frames: &'a [Frame], name: &str) -> Option<(&'a Frame, u64, DepartReason)> {
    frames.iter().find_map(|frame| {
        frame.events.iter().find_map(|event| match event {
            Event::MakerDeparted { maker, incarnation, reason } if maker.as_str() == name => {
                Some((frame, *incarnation, *reason))
            }
            _ => None,
        })
    })
}

/// The deadline of the last lease that a registration was given.
fn lease_deadline(frames: &[Frame], wanted: u64) -> u64 {
    let mut last = 0;
    for event in frames.iter().flat_map(|frame| &frame.events) {
        match event {
            Event::MakerRegistered { incarnation, deadline, .. }
            | Event::MakerRenewed { incarnation, deadline, .. }
                if *incarnation == wanted =>
            {
                last = deadline.0;
            }
            _ => {}
        }
    }
    last
}

/// The quotes that ended in a frame because authority did.
fn quotes_ended(frame: &Frame) -> usize {
    let ended = |event: &&Event| matches!(event, Event::QuoteEnded { reason: QuoteEndReason::AuthorityEnded, .. });
    frame.events.iter().filter(ended).count()
}

/// Index, epoch and incarnation of each quote that a registration placed or tried to place.
fn tried(frames: &[Frame], wanted: u64) -> Vec<u64> {
    let mut indexes = Vec::new();
    for frame in frames {
        for event in &frame.events {
            let by = match event {
                Event::QuotePlaced(placed) => placed.incarnation,
                Event::QuoteRefused { incarnation, .. } => *incarnation,
                _ => continue,
            };
            if by == wanted {
                indexes.push(frame.index);
            }
        }
    }
    indexes
}

#[tokio::test(flavor = "multi_thread")]
async fn a_killed_makers_quotes_end_with_its_lease_and_the_others_take_its_symbols() -> Result<()> {
    let mut cluster = start(&["AUSDT", "BUSDT", "CUSDT"], &["alpha", "beta", "gamma"]).await?;

    // Killed without a word, while it holds a quote: nobody may quote its symbol before its lease is over.
    cluster.take_maker("beta")?.kill()?;
    spread(&cluster, &["alpha", "gamma"]).await?;

    // What the ledger says: the quote ended in the very apply in which the lease ended, at its deadline.
    let frames = cluster.frames()?;
    let Some((frame, incarnation, reason)) = departure(&frames, "beta") else { anyhow::bail!("beta never departed") };
    let late = frame.log_time.0 - lease_deadline(&frames, incarnation);
    assert_eq!(reason, DepartReason::Expired);
    assert_eq!(quotes_ended(frame), 1, "{:?}", frame.events);
    assert!(late <= TICK_LATE_MAX_MS, "the lease ended {late} ms late");
    assert!(tried(&frames, incarnation).iter().all(|index| *index < frame.index));

    // The symbol that passed on was quoted again, with the reason that authority was gained.
    let explained = explain(&frames);
    assert!(explained.violations.is_empty(), "{:#?}", explained.violations);
    let judged = cluster.judge_beliefs()?;
    assert!(judged.handovers >= 1);
    let found = cluster.judge(&[])?;
    assert_eq!(found.authority_overlaps, 0);
    println!("lease swept {late} ms late; {} beliefs, {} passed on", judged.beliefs, judged.handovers);
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn a_maker_paused_past_its_lease_validates_before_it_quotes_again() -> Result<()> {
    let mut cluster = start(&["AUSDT", "BUSDT", "CUSDT"], &["alpha", "beta", "gamma"]).await?;

    // Stopped in the middle of its work, holding a quote and not knowing that time passes.
    cluster.maker("beta")?.pause()?;
    spread(&cluster, &["alpha", "gamma"]).await?;
    let frames = cluster.frames()?;
    let Some((gone, incarnation, reason)) = departure(&frames, "beta") else { anyhow::bail!("beta never departed") };
    assert_eq!(reason, DepartReason::Expired);

    // Resumed: it must find out by itself, and comes back as somebody new.
    cluster.maker("beta")?.resume()?;
    spread(&cluster, &["alpha", "beta", "gamma"]).await?;

    // Nothing under the old registration, not even an attempt, came after it had ended.
    let frames = cluster.frames()?;
    let late: Vec<u64> = tried(&frames, incarnation).into_iter().filter(|index| *index >= gone.index).collect();
    assert!(late.is_empty(), "quoted under an ended registration at {late:?}");
    let again = frames.iter().flat_map(|frame| &frame.events).find_map(|event| match event {
        Event::MakerRegistered { maker, incarnation: new, .. } if maker.as_str() == "beta" && *new > incarnation => {
            Some(*new)
        }
        _ => None,
    });
    let Some(again) = again else { anyhow::bail!("beta did not register again") };
    assert!(!tried(&frames, again).is_empty(), "it quotes again");
    let judged = cluster.judge_beliefs()?;
    assert!(judged.handovers >= 2, "away and back: {judged:?}");
    let found = cluster.judge(&[])?;
    assert_eq!(found.authority_overlaps, 0);
    println!("{} beliefs, {} passed on, longest {} ms", judged.beliefs, judged.handovers, judged.handover_ms_max);
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn authority_moves_on_join_leave_and_crash_and_loads_stay_even() -> Result<()> {
    let mut cluster = start(&SYMBOLS, &["alpha", "beta", "gamma"]).await?;
    let joined_at = cluster.frames()?.last().map_or(0, |frame| frame.index);

    // A fourth joins: it is given symbols as fast as the others release them, without waiting for a lease to end.
    cluster.start_maker("delta", &short_lease())?;
    spread(&cluster, &["alpha", "beta", "delta", "gamma"]).await?;
    let frames = cluster.frames()?;
    let moved = ended(&frames, joined_at);
    assert_eq!(moved, [(AuthorityEndReason::Released, 1)].into(), "7 symbols on 4 makers: one has to move");

    // One leaves in good order: its symbols pass on at once.
    let left_at = frames.last().map_or(0, |frame| frame.index);
    let status = cluster.take_maker("alpha")?.terminate().await?;
    assert!(status.success(), "{status}");
    within(Duration::from_millis(LEASE_MS), "the leaver's symbols to be held", || async {
        let loads = loads(&cluster).await?;
        anyhow::Ok((loads.values().sum::<usize>() == SYMBOLS.len() && !loads.contains_key("alpha")).then_some(()))
    })
    .await?;
    spread(&cluster, &["beta", "delta", "gamma"]).await?;
    let frames = cluster.frames()?;
    assert_eq!(departure(&frames, "alpha").map(|(_, _, reason)| reason), Some(DepartReason::Left));
    assert!(ended(&frames, left_at).keys().all(|reason| *reason == AuthorityEndReason::MakerLeft));

    // One crashes: its symbols pass on with its lease.
    cluster.take_maker("gamma")?.kill()?;
    spread(&cluster, &["beta", "delta"]).await?;
    let frames = cluster.frames()?;
    assert_eq!(departure(&frames, "gamma").map(|(_, _, reason)| reason), Some(DepartReason::Expired));

    // Never two at a time, by the ledger and by what they believed; epochs only grew, or the replay would tell.
    let judged = cluster.judge_beliefs()?;
    assert!(judged.handovers >= 4, "{judged:?}");
    let found = cluster.judge(&[])?;
    assert_eq!(found.authority_overlaps, 0);
    println!("{} beliefs, {} passed on, longest {} ms", judged.beliefs, judged.handovers, judged.handover_ms_max);
    Ok(())
}

/// Why authority ended after an index, and how often.
fn ended(frames: &[Frame], after: u64) -> BTreeMap<AuthorityEndReason, usize> {
    let mut reasons = BTreeMap::new();
    for event in frames.iter().filter(|frame| frame.index > after).flat_map(|frame| &frame.events) {
        if let Event::AuthorityEnded { reason, .. } = event {
            *reasons.entry(*reason).or_default() += 1;
        }
    }
    reasons
}
