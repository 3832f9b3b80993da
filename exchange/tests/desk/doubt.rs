//! Answers that get lost, and groups without a quorum: nobody is told anything that is not certain.

use std::time::Duration;

use quorate_seams::FailAction;
use serde_json::json;
use tokio::time::sleep;

use crate::{
    ledger::Fate,
    world::{Exchange, code, group},
};

#[tokio::test(start_paused = true)]
async fn a_lost_answer_is_asked_for_until_it_is_known() {
    let group = group();
    let exchange = Exchange::start(&group).await;
    group.fates([Fate::LostAfter, Fate::LostBefore, Fate::LostAfter]);
    let (status, placed) = exchange.market("o1", "BUY", 2).await;
    assert_eq!((status, &placed["status"]), (200, &json!("FILLED")));
    assert_eq!(group.executions()["o1"], 1);
}

#[tokio::test(start_paused = true)]
async fn without_a_quorum_nothing_is_filled_and_the_refusal_is_certain() {
    let group = group();
    let exchange = Exchange::start(&group).await;
    group.always(Fate::NoLeader);
    let refused = exchange.market("o1", "BUY", 2).await;
    assert_eq!(code(&refused), (503, -1001));
    assert_eq!(code(&exchange.query("o1").await), (400, -2013));
    group.always(Fate::Served);
    sleep(Duration::from_secs(20)).await;
    assert_eq!(group.executions().len(), 0);
    group.quote("BTCUSDT", 9_900, 10_100, 10);
    assert_eq!(exchange.market("o2", "BUY", 2).await.1["status"], "FILLED");
    assert_eq!(exchange.market("o1", "BUY", 2).await.1["status"], "FILLED");
}

#[tokio::test(start_paused = true)]
async fn what_may_have_happened_is_unknown_until_it_is_settled() {
    let group = group();
    let exchange = Exchange::start(&group).await;
    // Applied, and then nobody says anything any more.
    group.set_muted(true);
    group.always(Fate::LostAfter);
    let silence = async {
        while group.executions().is_empty() {
            sleep(Duration::from_millis(1)).await;
        }
        group.set_reachable(false);
    };
    let (unknown, ()) = tokio::join!(exchange.market("o1", "BUY", 2), silence);
    let text = "Timeout waiting for response from backend server. Send status unknown; execution status unknown.";
    assert_eq!(unknown, (504, json!({"code": -1007, "msg": text})));
    // While it cannot be read, nobody says that it is not there.
    assert_eq!(code(&exchange.query("o1").await), (503, -1001));
    exchange.until("silent", |exchange| !exchange.desk.health().ledger_reachable).await;
    assert_eq!(exchange.get("/health").await.0, 503);
    group.set_muted(false);
    group.always(Fate::Served);
    group.set_reachable(true);
    exchange.until("settled", |exchange| exchange.desk.health().pending == 0).await;
    assert_eq!(exchange.query("o1").await.1["status"], "FILLED");
    assert_eq!(exchange.market("o1", "BUY", 2).await.1["status"], "FILLED");
    assert_eq!(group.executions()["o1"], 1);
    assert!(exchange.desk.health().stats.unknown_settled >= 1);
}

#[tokio::test(start_paused = true)]
async fn what_never_happened_is_unknown_until_its_deadline_and_then_does_not_exist() {
    let group = group();
    let exchange = Exchange::start(&group).await;
    // On its way, and lost, again and again.
    group.always(Fate::LostBefore);
    assert_eq!(code(&exchange.market("o1", "BUY", 2).await), (504, -1007));
    assert_eq!(code(&exchange.query("o1").await), (504, -1007));
    sleep(Duration::from_secs(10)).await;
    // Log time passes the order's deadline with whatever is applied next.
    group.quote("BTCUSDT", 9_900, 10_100, 10);
    exchange.until("settled", |exchange| exchange.desk.health().pending == 0).await;
    assert_eq!(code(&exchange.query("o1").await), (400, -2013));
    group.always(Fate::Served);
    sleep(Duration::from_secs(5)).await;
    assert_eq!(group.executions().len(), 0);
    assert_eq!(exchange.market("o2", "BUY", 2).await.1["status"], "FILLED");
}

#[tokio::test(start_paused = true)]
async fn while_it_registers_again_nobody_is_told_that_an_order_does_not_exist() {
    let group = group();
    let exchange = Exchange::start(&group).await;
    group.set_muted(true);
    group.always(Fate::LostBefore);
    assert_eq!(code(&exchange.market("o1", "BUY", 2).await), (504, -1007));
    // Frames are missing, and no registration gets through: what was in flight is forgotten, and may still arrive.
    group.define("ETHUSDT");
    group.drop_frames();
    group.set_muted(false);
    exchange.until("halted", |exchange| !exchange.desk.health().ready).await;
    assert_eq!(code(&exchange.query("o1").await), (503, -1001));
    assert_eq!(code(&exchange.get("/api/v3/order?symbol=BTCUSDT&orderId=1").await), (503, -1001));
    // Nor that a repeat of it was not executed; of what was not tried before that is certain.
    assert_eq!(code(&exchange.market("o1", "BUY", 2).await), (504, -1007));
    assert_eq!(code(&exchange.market("o2", "BUY", 2).await), (503, -1001));
    group.always(Fate::Served);
    exchange.until_ready().await;
    assert_eq!(code(&exchange.query("o1").await), (400, -2013));
    assert_eq!(group.executions().len(), 0);
    group.set_reachable(false);
    exchange.until("silent", |exchange| !exchange.desk.health().ledger_reachable).await;
    group.quote("BTCUSDT", 9_900, 10_100, 10);
    group.drop_frames();
    group.set_reachable(true);
    group.always(Fate::LostBefore);
    exchange.until("halted again", |exchange| !exchange.desk.health().ready).await;
    assert_eq!(code(&exchange.market("o1", "BUY", 2).await), (503, -1001), "what was in doubt is settled since");
}

#[tokio::test(start_paused = true)]
async fn an_exchange_killed_with_an_order_in_doubt_settles_it_once_after_its_restart() {
    for (fate, executed) in [(Fate::LostAfter, true), (Fate::LostBefore, false)] {
        let group = group();
        let exchange = Exchange::start(&group).await;
        // The caller hangs up, and the exchange dies.
        group.set_muted(true);
        group.always(fate);
        let order = exchange.market("o1", "BUY", 2);
        assert!(tokio::time::timeout(Duration::from_millis(500), order).await.is_err());
        exchange.kill();
        assert_eq!(group.executions().contains_key("o1"), executed);
        group.set_muted(false);
        group.always(Fate::Served);
        let exchange = Exchange::start(&group).await;
        let seen = exchange.query("o1").await;
        if executed {
            assert_eq!(seen.1["status"], "FILLED");
        } else {
            assert_eq!(code(&seen), (400, -2013));
        }
        assert_eq!(exchange.market("o1", "BUY", 2).await.1["status"], "FILLED");
        sleep(Duration::from_secs(5)).await;
        assert_eq!(group.executions()["o1"], 1);
    }
}

#[tokio::test(start_paused = true)]
async fn failpoints_stand_before_the_proposal_and_before_the_answer() {
    let group = group();
    let exchange = Exchange::start(&group).await;
    exchange.failpoints().set("exchange.before_propose", 0, FailAction::Error);
    assert_eq!(code(&exchange.market("o1", "BUY", 2).await), (503, -1001));
    assert_eq!(group.executions().len(), 0);
    exchange.failpoints().set("exchange.after_commit", 0, FailAction::Error);
    assert_eq!(code(&exchange.market("o1", "BUY", 2).await), (504, -1007));
    assert_eq!(exchange.query("o1").await.1["status"], "FILLED");
    assert_eq!(exchange.market("o1", "BUY", 2).await.1["status"], "FILLED");
    assert_eq!(group.executions()["o1"], 1);
}

#[tokio::test(start_paused = true)]
async fn answers_that_stay_lost_do_not_use_up_the_session() {
    let group = group();
    let exchange = Exchange::start(&group).await;
    // No answer ever comes: the frames alone tell, and each attempt ends as unknown long after.
    group.always(Fate::LostAfter);
    let more_than_a_window = quorate_ledger::bounds::SESSION_WINDOW + 12;
    for at in 0..more_than_a_window {
        let placed = exchange.limit(&format!("o{at}"), "BUY", "IOC", "90.00", 2).await;
        assert_eq!(placed.1["status"], "EXPIRED", "{at}");
        sleep(Duration::from_millis(20)).await;
    }
    assert_eq!(group.executions().values().sum::<usize>() as u64, more_than_a_window);
}

#[tokio::test(start_paused = true)]
async fn many_orders_at_once_each_have_one_effect_and_one_true_answer() {
    let group = group();
    let exchange = Exchange::start(&group).await;
    let kinds = [Fate::Served, Fate::LostAfter, Fate::LostBefore, Fate::NoLeader, Fate::Served];
    for round in 0..12_usize {
        group.fates((0..4).map(|at| kinds[(round * 7 + at * 3) % kinds.len()]));
        group.quote("BTCUSDT", 9_900, 10_100, 10);
        let names: Vec<String> = (0..16).map(|at| format!("r{round}-{at}")).collect();
        let orders = names.iter().map(|name| exchange.limit(name, "BUY", "IOC", "101.00", 1));
        let answers = futures_util::future::join_all(orders).await;
        exchange.until("settled", |exchange| exchange.desk.health().pending == 0).await;
        for (name, answer) in names.iter().zip(answers) {
            let times = group.executions().get(name).copied().unwrap_or(0);
            match answer.0 {
                200 => assert_eq!(times, 1, "{name} {answer:?}"),
                503 => assert_eq!(times, 0, "{name} {answer:?}"),
                _ => assert_eq!(code(&answer), (504, -1007), "{name}"),
            }
            let seen = exchange.query(name).await;
            assert_eq!(seen.0 == 200, times == 1, "{name} {seen:?}");
        }
    }
}
