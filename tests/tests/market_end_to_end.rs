//! The whole loop with real processes: orders are filled from quotes, and every fill brings a new quote that is
//! computed from the committed position.

use std::{collections::BTreeMap, time::Duration};

use anyhow::{Context, Result};
use quorate_ledger::QuoteCause;
use quorate_tests::{
    harness::{Cluster, MakerOptions, Setup, within},
    quotes::explain,
};

/// Every symbol is quoted again at least so often.
const REFRESH_MAX_MS: u64 = 5_000;
/// A fill is answered by a new quote within this: far above what it takes, far below a refresh.
const REQUOTE_MAX_MS: u64 = 2_000;
const ORDERS: u64 = 400;

#[tokio::test(flavor = "multi_thread")]
async fn every_fill_brings_a_quote_from_the_committed_position() -> Result<()> {
    let mut cluster = Cluster::start(Setup::default()).await?;
    cluster.start_exchange(&[]).await?;
    for maker in ["alpha", "beta", "gamma"] {
        cluster.start_maker(
            maker,
            &MakerOptions { flags: vec!["--skew-percent=50", "--tolerance-ticks=0"], ..MakerOptions::default() },
        )?;
    }
    cluster.all_quoted().await?;

    // Orders of all kinds flow; the publisher's end says that it knows what became of each.
    let publisher = cluster.start_publisher(7, &["--count=400", "--rate=80", "--max-lots=8"])?;
    let status = publisher.ended(Duration::from_secs(60)).await?;
    assert!(status.success(), "the publisher: {status}");

    // Then nothing happens but time: each symbol's quote is confirmed all the same.
    let quoted = quotes(&cluster).await?;
    confirmed(&cluster, &quoted).await?;

    // The evidence: replay and journal agree, nothing is lost or doubled.
    let found = cluster.judge(&[7])?;
    assert_eq!(u64::try_from(found.executed.len())?, ORDERS);
    assert!(found.quote_fills > ORDERS / 4, "only {} fills of quotes", found.quote_fills);
    assert_eq!(found.authority_overlaps, 0);

    // Positions as the group tells them are the sums of the fills that were replayed.
    let positions = cluster.read("/v1/positions").await?;
    let told: BTreeMap<&str, i64> = positions
        .as_array()
        .into_iter()
        .flatten()
        .filter_map(|row| Some((row["symbol"].as_str()?, row["position"].as_str()?.parse().ok()?)))
        .collect();
    let replayed: BTreeMap<&str, i64> = found.positions.iter().map(|(symbol, sum)| (symbol.as_str(), *sum)).collect();
    assert_eq!(told, replayed);

    // So do the figures that a monitor collects.
    for id in cluster.ids() {
        let figures = figures(&cluster, id).await?;
        assert_eq!(figures["quorate_fills_total"], found.fills, "node {id}");
        assert_eq!(figures["quorate_exposure_limit"], 100);
        assert!(
            figures["quorate_storage_commits_total"] > 0 && figures["quorate_storage_commit_microseconds_total"] > 0
        );
        for side in ["long", "short"] {
            assert!(figures[&format!("quorate_exposure_reserved{{side=\"{side}\"}}")] <= 100);
        }
    }

    // Every quote explains itself; fills are followed by quotes; none is older than the refresh allows.
    let explained = explain(&cluster.frames()?);
    assert!(explained.violations.is_empty(), "{:#?}", explained.violations);
    for cause in [QuoteCause::AuthorityGained, QuoteCause::Fill, QuoteCause::ReferenceMoved] {
        assert!(explained.placed.contains_key(&cause), "no quote by {cause:?}: {:?}", explained.placed);
    }
    assert!(explained.requoted > ORDERS / 8, "{explained:?}");
    assert!(explained.requote_ms_max <= REQUOTE_MAX_MS, "{explained:?}");
    assert!(explained.gap_ms_max <= REFRESH_MAX_MS, "{explained:?}");
    cluster.judge_beliefs()?;
    println!(
        "{} orders, {} fills, {} of quotes; by cause {:?}; a fill is followed by a quote within {} ms, a quote by \
         another within {} ms; exposure up to {}",
        found.executed.len(),
        found.fills,
        found.quote_fills,
        explained.placed,
        explained.requote_ms_max,
        explained.gap_ms_max,
        found.exposure_max
    );
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn in_a_quiet_market_each_quote_keeps_its_id_and_is_confirmed_within_five_seconds() -> Result<()> {
    // No orders, and no move of the reference price that a maker would follow: only the clock is left as a cause.
    let mut cluster = Cluster::start(Setup::default()).await?;
    cluster.start_exchange(&[]).await?;
    let flags = vec!["--tolerance-ticks=100000", "--half-spread-ticks=5000"];
    cluster.start_maker("alpha", &MakerOptions { flags, ..MakerOptions::default() })?;
    cluster.all_quoted().await?;
    let first = quotes(&cluster).await?;
    let began = cluster.frames()?.last().context("frames")?.log_time.0;
    let mut last = first.clone();
    for _ in 0..3 {
        last = confirmed(&cluster, &last).await?;
    }
    let ids = |quotes: &BTreeMap<String, (u64, u64)>| quotes.values().map(|(id, _)| *id).collect::<Vec<_>>();
    assert_eq!(ids(&first), ids(&last), "nothing changed, and quotes were placed anew");
    let frames = cluster.frames()?;
    let explained = explain(&frames);
    assert!(explained.violations.is_empty(), "{:#?}", explained.violations);
    assert!(explained.gap_ms_max <= REFRESH_MAX_MS, "{explained:?}");
    // At most one commit for each symbol and refresh, which is every 4 s.
    let (symbols, refreshes) = (first.len() as u64, (frames.last().context("frames")?.log_time.0 - began) / 4_000 + 2);
    assert!(explained.kept >= 3 * symbols && explained.kept <= refreshes * symbols, "{explained:?}");
    cluster.judge(&[])?;
    println!("{} quotes kept {} times, at most {} ms apart", symbols, explained.kept, explained.gap_ms_max);
    Ok(())
}

/// Waits until every one of these quotes was placed anew, or kept; gives them as they are then.
async fn confirmed(cluster: &Cluster, before: &BTreeMap<String, (u64, u64)>) -> Result<BTreeMap<String, (u64, u64)>> {
    within(Duration::from_millis(2 * REFRESH_MAX_MS), "every quote to be confirmed", || async {
        let now = quotes(cluster).await?;
        let later =
            |(symbol, (_, deadline)): (&String, &(u64, u64))| now.get(symbol).is_some_and(|now| now.1 > *deadline);
        anyhow::Ok(before.iter().all(later).then_some(now))
    })
    .await
}

/// A node's metrics, once it has applied what this call found committed.
async fn figures(cluster: &Cluster, id: u64) -> Result<BTreeMap<String, u64>> {
    let (status, _) = cluster.get(id, "/v1/positions").await?;
    anyhow::ensure!(status == 200, "positions of node {id}: {status}");
    let text = reqwest::get(format!("{}/metrics", cluster.api(id))).await?.error_for_status()?;
    let text = String::from_utf8(text.bytes().await?.to_vec())?;
    let samples = text.lines().filter(|line| !line.starts_with('#'));
    samples
        .map(|line| {
            let (name, value) = line.rsplit_once(' ').with_context(|| format!("no sample: {line}"))?;
            Ok((name.to_owned(), value.parse().with_context(|| line.to_owned())?))
        })
        .collect()
}

/// The active quote of each symbol: its id and its deadline.
async fn quotes(cluster: &Cluster) -> Result<BTreeMap<String, (u64, u64)>> {
    let quotes = cluster.read("/v1/quotes").await?;
    let rows = quotes.as_array().context("a list")?;
    let number = |value: &serde_json::Value| value.as_u64().or_else(|| value.as_str()?.parse().ok());
    let quote = |row: &serde_json::Value| {
        Some((row["symbol"].as_str()?.to_owned(), (number(&row["quote_id"])?, number(&row["deadline"])?)))
    };
    Ok(rows.iter().filter_map(quote).collect())
}
