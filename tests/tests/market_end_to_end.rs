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
        cluster.start_maker(maker, &MakerOptions { flags: vec!["--skew-percent=50"], ..MakerOptions::default() })?;
    }
    cluster.all_quoted().await?;

    // Orders of all kinds flow; the publisher's end says that it knows what became of each.
    let publisher = cluster.start_publisher(7, &["--count=400", "--rate=80", "--max-lots=8"])?;
    let status = publisher.ended(Duration::from_secs(60)).await?;
    assert!(status.success(), "the publisher: {status}");

    // Then nothing happens but time: each symbol is quoted anew all the same.
    let quoted = newest_quotes(&cluster).await?;
    within(Duration::from_millis(2 * REFRESH_MAX_MS), "newer quotes for all symbols", || async {
        let now = newest_quotes(&cluster).await?;
        let newer = |(symbol, id): (&String, &u64)| now.get(symbol).is_some_and(|now| now > id);
        anyhow::Ok(quoted.iter().all(newer).then_some(()))
    })
    .await?;

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
async fn a_quiet_market_is_quoted_anew_before_five_seconds() -> Result<()> {
    // No orders, and no move of the reference price that a maker would follow: only the clock is left as a cause.
    let mut cluster = Cluster::start(Setup::default()).await?;
    cluster.start_exchange(&[]).await?;
    let quiet = MakerOptions { flags: vec!["--tolerance-ticks=100000"], ..MakerOptions::default() };
    cluster.start_maker("alpha", &quiet)?;
    cluster.all_quoted().await?;
    let mut refreshed = newest_quotes(&cluster).await?;
    for _ in 0..2 {
        let before = std::mem::take(&mut refreshed);
        refreshed = within(Duration::from_millis(2 * REFRESH_MAX_MS), "every quote to be replaced", || async {
            let now = newest_quotes(&cluster).await?;
            let newer = |(symbol, id): (&String, &u64)| now.get(symbol).is_some_and(|now| now > id);
            anyhow::Ok(before.iter().all(newer).then_some(now))
        })
        .await?;
    }
    let explained = explain(&cluster.frames()?);
    assert!(explained.violations.is_empty(), "{:#?}", explained.violations);
    let refreshes = explained.placed.get(&QuoteCause::Refresh).copied().unwrap_or(0);
    assert!(refreshes >= 6, "{explained:?}");
    assert!(explained.gap_ms_max <= REFRESH_MAX_MS, "{explained:?}");
    cluster.judge(&[])?;
    println!("{refreshes} refreshes, at most {} ms apart", explained.gap_ms_max);
    Ok(())
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

/// The active quote of each symbol.
async fn newest_quotes(cluster: &Cluster) -> Result<BTreeMap<String, u64>> {
    let quotes = cluster.read("/v1/quotes").await?;
    let rows = quotes.as_array().context("a list")?;
    let quote = |row: &serde_json::Value| Some((row["symbol"].as_str()?.to_owned(), row["quote_id"].as_u64()?));
    Ok(rows.iter().filter_map(quote).collect())
}
