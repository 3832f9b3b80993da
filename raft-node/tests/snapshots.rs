//! Snapshots between nodes that are not taken: it shows.

#![allow(clippy::unwrap_used, reason = "what does not work ends the test")]

mod support;

use std::time::Duration;

use quorate_seams::FailAction;
use support::{Group, Settings, open_session};
use tokio::time::Instant;

fn within(seconds: u64) -> Instant {
    Instant::now() + Duration::from_secs(seconds)
}

/// Waits until `test` holds of the leader's figures.
async fn until(group: &Group, leader: u64, test: impl Fn(&quorate_node::node::NodeMetrics) -> bool) {
    let ends = within(60);
    while !test(&group.node(leader).metrics()) {
        assert!(Instant::now() < ends, "{:?}", group.node(leader).metrics());
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
}

#[tokio::test(start_paused = true)]
async fn a_snapshot_that_a_node_does_not_take_is_counted() {
    let settings = Settings { snapshot_every: 200, log_keep: 20, event_retention: 100, ..Settings::default() };
    let mut group = Group::start(3, settings).await;
    let leader = group.leader().await;
    let behind = group.ids().into_iter().find(|id| *id != leader).unwrap();
    group.kill(behind);
    for _ in 0..20 {
        group.node(leader).propose(vec![open_session(); 50], within(10)).await;
    }
    group.node(leader).trigger_snapshot(within(10)).await.unwrap();
    until(&group, leader, |metrics| metrics.purged_index > 0).await;
    // A node that is not there has not refused anything.
    assert_eq!(group.node(leader).metrics().snapshots_failed, 0);
    group.launch(behind).await;
    group.arm(behind, "snapshot.install.before", 0, FailAction::Error);
    until(&group, leader, |metrics| metrics.snapshots_failed > 0).await;

    group.kill(behind);
    group.launch(behind).await;
    group.commit(leader).await;
    group.converge().await;
    assert_eq!(group.node(behind).metrics().snapshots_installed, 1);
}
