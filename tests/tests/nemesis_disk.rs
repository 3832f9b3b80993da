//! A full disk: the node says so and stops, the others serve, and with room again it catches up on the data it has.

use std::time::Duration;

use anyhow::{Result, ensure};
use quorate_tests::{
    harness::{Flow, within},
    nemesis::{Arena, Fault, FullDisk, Host, Means, Plan, can_have_small_disks, skipped},
};

/// Room for a node that has done nothing yet, and a little more.
const DISK_MIB: u64 = 64;
const SEED: u64 = 1;

#[tokio::test(flavor = "multi_thread")]
async fn a_full_disk_stops_its_node_and_with_room_again_it_catches_up() -> Result<()> {
    if let Some(why) = can_have_small_disks() {
        return skipped("a full disk", &why);
    }
    let mut arena = Arena::start(Plan { small_disk: Some((2, DISK_MIB)), ..Plan::new(Means::Switch) }).await?;
    let flow = Flow::start(arena.cluster.trader(SEED)?, &arena.cluster.symbols(), 16, Duration::from_millis(10));

    let mut fault = FullDisk::default();
    eprintln!("{}", fault.start(&mut arena).await?);
    // Acknowledgements end before the process does: nothing it could not write may have been acknowledged.
    let host = Host::Node(2);
    let ended = within(Duration::from_secs(30), "the end of the node whose disk is full", || {
        std::future::ready(arena.process(&host).map(|process| (!process.is_running()).then_some(())))
    });
    ended.await?;
    let happened = fault.happened(&mut arena).await?;
    ensure!(happened.amount > 0, "it ended without a word about the disk");
    eprintln!("{happened}");

    // The others serve.
    #[expect(clippy::disallowed_methods, reason = "real processes live on the real clock")]
    let now = std::time::Instant::now();
    let served = || std::future::ready(anyhow::Ok((flow.placed_after(now) >= 20).then_some(())));
    within(Duration::from_secs(15), "orders filled without it", served).await?;

    fault.heal(&mut arena).await?;
    flow.finish().await?;
    arena.recovered().await?;
    let (found, _) = arena.judged(&[SEED])?;
    ensure!(found.fills > 50, "{} fills", found.fills);
    Ok(())
}
