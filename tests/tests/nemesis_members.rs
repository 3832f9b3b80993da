//! What goes wrong with members: an empty disk under an old id, leadership for a dead node, a member at an address where
//! nobody listens, a member of another group. The group refuses it, says so, and serves.

use std::time::Duration;

use anyhow::{Context, Result, ensure};
use quorate_tests::{
    harness::{Flow, within},
    nemesis::{Arena, Kind, Means, Plan},
};

const SEED: u64 = 1;
/// How long orders may take to be filled while the fault lasts.
const SERVES_MAX: Duration = Duration::from_secs(15);

/// Lets one fault happen to a group that serves; it must show, and the group must serve all the while.
async fn suffered(kind: Kind) -> Result<()> {
    let mut arena = Arena::start(Plan::new(Means::Switch)).await?;
    let flow = Flow::start(arena.cluster.trader(SEED)?, &arena.cluster.symbols(), 8, Duration::from_millis(50));
    let mut fault = kind.fault(0);
    let whom = fault.start(&mut arena).await?;
    let happened = arena.shown(&mut *fault, 1).await.with_context(|| whom.clone())?;
    eprintln!("{kind}, {whom}: {happened}");
    #[expect(clippy::disallowed_methods, reason = "real processes live on the real clock")]
    let now = std::time::Instant::now();
    let served = || std::future::ready(anyhow::Ok((flow.placed_after(now) >= 20).then_some(())));
    within(SERVES_MAX, "orders filled while it lasts", served).await?;
    fault.happened(&mut arena).await?;
    fault.heal(&mut arena).await?;
    flow.finish().await?;
    arena.recovered().await?;
    let ended = arena.ended_unasked()?;
    ensure!(ended.is_empty(), "{ended:?} ended though nobody killed them");
    let (found, _) = arena.judged(&[SEED])?;
    ensure!(found.fills > 20, "{} fills", found.fills);
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn a_node_whose_disk_was_wiped_stays_out_and_with_its_disk_comes_back() -> Result<()> {
    suffered(Kind::WipedDisk).await
}

#[tokio::test(flavor = "multi_thread")]
async fn leadership_is_not_handed_to_a_dead_node() -> Result<()> {
    suffered(Kind::TransferToDead).await
}

#[tokio::test(flavor = "multi_thread")]
async fn an_address_where_nobody_listens_becomes_no_member() -> Result<()> {
    suffered(Kind::DeadAddressAdded).await
}

#[tokio::test(flavor = "multi_thread")]
async fn a_member_of_another_group_becomes_no_member() -> Result<()> {
    suffered(Kind::ForeignNode).await
}

/// Each of them while other faults last, as far as there is somebody left for it.
#[tokio::test(flavor = "multi_thread")]
async fn what_goes_wrong_with_members_is_refused_among_other_faults() -> Result<()> {
    let mut arena = Arena::start(Plan::new(Means::best()?)).await?;
    let flow = Flow::start(arena.cluster.trader(SEED)?, &arena.cluster.symbols(), 8, Duration::from_millis(50));
    let rounds: [&[Kind]; 3] = [
        &[Kind::WipedDisk, Kind::KillExchange, Kind::DeadAddressAdded],
        &[Kind::FollowerIsolated, Kind::ForeignNode, Kind::PauseMaker],
        &[Kind::TransferToDead, Kind::KillLeader],
    ];
    for (choice, round) in (0..).zip(rounds) {
        let mut begun = Vec::new();
        for kind in round {
            let mut fault = kind.fault(choice);
            let whom = fault.start(&mut arena).await.with_context(|| kind.to_string())?;
            let happened = arena.shown(&mut *fault, 1).await.with_context(|| whom.clone())?;
            eprintln!("{kind}, {whom}: {happened}");
            begun.push(fault);
        }
        for mut fault in begun.into_iter().rev() {
            fault.heal(&mut arena).await?;
        }
        arena.recovered().await.with_context(|| format!("after {round:?}"))?;
    }
    flow.finish().await?;
    arena.judged(&[SEED])?;
    Ok(())
}
