//! Registering, following, fencing.

use std::time::Duration;

use quorate_exchange::recover::RecoverError;
use serde_json::json;
use tokio::time::sleep;

use crate::{
    ledger::Fate,
    world::{Exchange, code, group},
};

#[tokio::test(start_paused = true)]
async fn before_it_is_registered_nothing_is_taken_and_nothing_is_certain() {
    let group = group();
    group.set_reachable(false);
    let exchange = Exchange::begin(&group, |_| {});
    assert_eq!(code(&exchange.market("o1", "BUY", 1).await), (503, -1001));
    assert_eq!(code(&exchange.query("o1").await), (503, -1001));
    assert_eq!(code(&exchange.get("/api/v3/openOrders").await), (503, -1001));
    let (status, health) = exchange.get("/health").await;
    assert_eq!((status, &health["status"]), (503, &json!("catching up with the ledger")));
    group.set_reachable(true);
    exchange.until_ready().await;
    assert_eq!(exchange.market("o1", "BUY", 1).await.1["status"], "FILLED");
}

#[tokio::test(start_paused = true)]
async fn a_newer_exchange_fences_the_older_one_for_good() {
    let group = group();
    let first = Exchange::start(&group).await;
    let second = Exchange::start(&group).await;
    first.until("fenced", |exchange| exchange.following.is_finished()).await;
    let refused = first.market("o1", "BUY", 1).await;
    assert_eq!(code(&refused), (503, -1001));
    assert_eq!(first.get("/health").await.1["fenced"], true);
    let epoch = second.desk.health().exchange_epoch;
    let Exchange { following, .. } = first;
    assert!(matches!(following.await, Ok(RecoverError::Fenced(present)) if present == epoch));
    assert_eq!(second.market("o1", "BUY", 1).await.1["status"], "FILLED");
    assert_eq!(group.executions()["o1"], 1);
}

#[tokio::test(start_paused = true)]
async fn an_older_exchange_that_heard_nothing_is_fenced_by_its_next_order() {
    let group = group();
    let first = Exchange::start(&group).await;
    let second = Exchange::begin(&group, |_| {});
    // The frame that says so is not there yet when the order goes out: whichever comes first, it ends the same way.
    let refused = first.market("o1", "BUY", 1).await;
    second.until_ready().await;
    sleep(Duration::from_secs(1)).await;
    assert!(first.following.is_finished());
    let executed = group.executions().get("o1").copied().unwrap_or(0);
    assert!(refused.0 == 503 && executed == 0 || refused.0 == 200 && executed == 1, "{refused:?} {executed}");
}

#[tokio::test(start_paused = true)]
async fn frames_that_are_no_longer_kept_make_it_register_again() {
    let group = group();
    let exchange = Exchange::start(&group).await;
    let resting = exchange.limit("r1", "BUY", "GTC", "90.00", 5).await;
    assert_eq!(resting.1["status"], "NEW");
    let epoch = exchange.desk.health().exchange_epoch;
    let before = exchange.desk.health().stats.orders;
    group.set_reachable(false);
    sleep(Duration::from_millis(100)).await;
    group.define("ETHUSDT");
    group.drop_frames();
    group.set_reachable(true);
    exchange.until("registered again", |exchange| exchange.desk.health().exchange_epoch > epoch).await;
    exchange.until_ready().await;
    assert_eq!(exchange.get("/api/v3/openOrders").await.1[0]["clientOrderId"], "r1");
    assert_eq!(exchange.market("o1", "BUY", 1).await.1["status"], "FILLED");
    // Counters go on.
    assert_eq!(exchange.desk.health().stats.orders, before + 1);
    assert!(!exchange.following.is_finished());
}

#[tokio::test(start_paused = true)]
async fn one_that_was_fenced_while_it_heard_nothing_does_not_take_the_place_back() {
    let group = group();
    let exchange = Exchange::start(&group).await;
    group.set_reachable(false);
    sleep(Duration::from_millis(100)).await;
    let present = group.register_another();
    group.drop_frames();
    group.set_reachable(true);
    exchange.until("ended", |exchange| exchange.following.is_finished()).await;
    let Exchange { following, .. } = exchange;
    assert!(matches!(following.await, Ok(RecoverError::Fenced(epoch)) if epoch == present));
    assert_eq!(group.look(|ledger| ledger.exchange().unwrap().epoch), present);
}

#[tokio::test(start_paused = true)]
async fn its_own_registration_in_doubt_is_not_taken_for_anothers() {
    let group = group();
    let exchange = Exchange::start(&group).await;
    let epoch = exchange.desk.health().exchange_epoch;
    group.set_reachable(false);
    sleep(Duration::from_millis(100)).await;
    group.define("ETHUSDT");
    group.drop_frames();
    // Registers, and hears nothing of it for a long time.
    group.fates(std::iter::once(Fate::LostAfter).chain(std::iter::repeat_n(Fate::LostBefore, 200)));
    group.set_reachable(true);
    exchange.until("registered again", |exchange| exchange.desk.health().exchange_epoch > epoch).await;
    exchange.until_ready().await;
    assert!(!exchange.following.is_finished());
    assert_eq!(exchange.desk.health().exchange_epoch, group.look(|ledger| ledger.exchange().unwrap().epoch));
}

#[tokio::test(start_paused = true)]
async fn a_clock_that_ran_ahead_of_log_time_is_set_back() {
    let group = group();
    let exchange = Exchange::start(&group).await;
    let before = exchange.desk.look(|_, now| now).unwrap();
    // An hour without a frame; then log time turns out to have stood still.
    group.freeze_log_time();
    sleep(Duration::from_secs(3_600)).await;
    assert!(exchange.desk.look(|_, now| now).unwrap().0 >= before.0 + 3_600_000);
    group.define("ETHUSDT");
    sleep(Duration::from_millis(1_100)).await;
    group.define("SOLUSDT");
    sleep(Duration::from_millis(100)).await;
    let now = exchange.desk.look(|_, now| now).unwrap();
    assert!(now.0 < before.0 + 2_000, "{now} after {before}");
    assert_eq!(exchange.limit("o1", "BUY", "GTC", "90.00", 5).await.0, 200);
}
