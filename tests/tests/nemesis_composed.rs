//! Several faults at once, as a seed has it: a short run of what `cluster.sh chaos` does for minutes.

use std::time::Duration;

use anyhow::{Context, Result, ensure};
use quorate_tests::{
    harness::Flow,
    nemesis::{Arena, Kind, Means, Plan},
};

const SEED: u64 = 1;

/// kill -9 of all and of a majority, a leader that sleeps while another is cut off, cut links where a process at an end
/// of them may be gone: after each, what was acknowledged is there, and orders are filled.
#[tokio::test(flavor = "multi_thread")]
async fn kills_pauses_and_cuts_at_once_lose_nothing() -> Result<()> {
    let means = Means::best()?;
    eprintln!("links are spoilt by {means}");
    let mut arena = Arena::start(Plan::new(means)).await?;
    let flow = Flow::start(arena.cluster.trader(SEED)?, &arena.cluster.symbols(), 8, Duration::from_millis(50));
    let rounds: [&[Kind]; 5] = [
        &[Kind::KillMajority, Kind::KillMaker, Kind::Bridge],
        &[Kind::FollowerIsolated, Kind::PauseLeader, Kind::PauseMaker],
        &[Kind::KillExchange, Kind::KillLeader, Kind::Bridge],
        &[Kind::PauseFollower, Kind::FollowerIsolated, Kind::KillExchange],
        &[Kind::KillAll],
    ];
    for (choice, round) in (0..).zip(rounds) {
        let mut begun = Vec::new();
        for kind in round {
            let mut fault = kind.fault(choice);
            let whom = fault.start(&mut arena).await.with_context(|| kind.to_string())?;
            // All of them last at once from the last one's beginning on, and none takes away another's measure.
            arena.shown(&mut *fault, 1).await.with_context(|| whom.clone())?;
            begun.push((fault, whom));
        }
        // Long enough for an election, for what needs one.
        for _ in 0..10 {
            tokio::time::sleep(Duration::from_millis(150)).await;
            arena.look().await;
        }
        // Healed in another order than begun.
        for (mut fault, whom) in begun.into_iter().rev() {
            let happened = fault.happened(&mut arena).await?;
            ensure!(happened.amount > 0, "{}, {whom}: {happened}", fault.kind());
            eprintln!("{}, {whom}: {happened}", fault.kind());
            fault.heal(&mut arena).await?;
        }
        arena.recovered().await.with_context(|| format!("after {round:?}"))?;
    }
    flow.finish().await?;
    let ended = arena.ended_unasked()?;
    ensure!(ended.is_empty(), "{ended:?} ended though nobody killed them");
    let (found, beliefs) = arena.judged(&[SEED])?;
    ensure!(found.fills > 20 && beliefs.beliefs > 0, "{} fills, {} beliefs", found.fills, beliefs.beliefs);
    Ok(())
}
