//! Wrong wall clocks: a node whose clock is ahead or behind leads, and log time neither goes back nor lets a quote live
//! longer than it may.

use std::time::Duration;

use anyhow::{Result, ensure};
use quorate_tests::{
    harness::{Flow, within},
    nemesis::{Arena, Fault, Means, Plan, WrongClock},
};

const SEED: u64 = 1;
/// How long a node may take to come up with its wrong clock and to get the leadership.
const LEADS_MAX: Duration = Duration::from_secs(20);

/// Lets a node lead with its clock off by that much; tells how many clock jumps it counted.
async fn led_by(offset_ms: i64) -> Result<u64> {
    let mut arena = Arena::start(Plan::new(Means::Switch)).await?;
    let flow = Flow::start(arena.cluster.trader(SEED)?, &arena.cluster.symbols(), 4, Duration::from_millis(50));
    let mut fault = WrongClock::by(offset_ms, 0);
    eprintln!("{}", fault.start(&mut arena).await?);
    let mut happened = fault.happened(&mut arena).await?;
    for _ in 0..100 {
        if happened.amount > 0 {
            break;
        }
        tokio::time::sleep(LEADS_MAX / 100).await;
        happened = fault.happened(&mut arena).await?;
    }
    ensure!(happened.amount > 0, "the node with the wrong clock never led");
    let jumps = match arena.leader_now().await {
        Some(leader) => arena.metric(leader, "clock_jumps_total").await.unwrap_or(0),
        None => 0,
    };
    // It trades under that clock.
    #[expect(clippy::disallowed_methods, reason = "real processes live on the real clock")]
    let now = std::time::Instant::now();
    let traded = || std::future::ready(anyhow::Ok((flow.placed_after(now) >= 30).then_some(())));
    within(Duration::from_secs(20), "orders filled under the wrong clock", traded).await?;
    fault.heal(&mut arena).await?;
    flow.finish().await?;
    arena.recovered().await?;
    // The replay finds log time that goes back, and fills past their quote's deadline.
    let (found, _) = arena.judged(&[SEED])?;
    ensure!(found.fills >= 20, "{} fills", found.fills);
    Ok(jumps)
}

#[tokio::test(flavor = "multi_thread")]
async fn a_leader_whose_clock_is_ahead_counts_the_jump_and_breaks_nothing() -> Result<()> {
    let jumps = led_by(20_000).await?;
    ensure!(jumps > 0, "a clock 20 s ahead was not noticed");
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn a_leader_whose_clock_is_behind_stretches_nothing() -> Result<()> {
    let jumps = led_by(-3_600_000).await?;
    ensure!(jumps == 0, "a clock behind is no jump");
    Ok(())
}
