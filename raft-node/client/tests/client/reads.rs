//! Reads: repeated at one node after the other until one answers.

use std::{
    sync::{Arc, Mutex},
    time::Duration,
};

use quorate_api::{ChangeMembers, ExposureView, PositionView, Problem, ProblemKind};
use quorate_client::{CallFailed, OrderQuery, ReadOptions};
use quorate_domain::{Exposure, ExposureBasis, Money, Position, Qty};
use quorate_seams::CallError;
use tokio::time::Instant;

use crate::group::{Group, read};

fn positions() -> Vec<PositionView> {
    vec![PositionView {
        symbol: "BTCUSDT".parse().unwrap(),
        position: Position(-3),
        position_units: "-0.003".into(),
        position_seq: 2,
        position_max: None,
        bought: Qty(1),
        sold: Qty(4),
        cash: Money(i128::from(i64::MAX) * 1_000),
        cost: Money(-5),
        realised: Money::ZERO,
        unrealised: None,
        fees: Money::ZERO,
        mark: None,
    }]
}

fn problem(kind: ProblemKind) -> Result<(u16, Vec<u8>), CallError> {
    let problem = Problem::new(kind, "as scripted");
    Ok((problem.status, serde_json::to_vec(&problem).unwrap()))
}

#[tokio::test(start_paused = true)]
async fn a_read_goes_from_node_to_node_until_one_answers() {
    let (group, _) = Group::new();
    let answer = serde_json::to_vec(&read(3, 77, positions())).unwrap();
    group.set_reader(move |host, _| match host {
        "a" => problem(ProblemKind::NoLeader),
        "b" => Err(CallError::Broken("reset".into())),
        _ => Ok((200, answer.clone())),
    });
    let client = group.client(1);
    let got = client.positions(None, &ReadOptions::linearizable()).await.unwrap();
    assert_eq!((got.applied_index, got.node_id, got.data), (77, 3, positions()), "as it was sent");
    let hosts: Vec<_> = group.arrived().into_iter().map(|one| one.host).collect();
    assert_eq!(hosts, ["a", "b", "c"]);
    // The next one goes straight to who answered.
    client.positions(None, &ReadOptions::linearizable()).await.unwrap();
    assert_eq!(group.arrived().last().unwrap().host, "c");
}

#[tokio::test(start_paused = true)]
async fn who_only_reads_learns_of_members_that_it_was_not_told_of() {
    let (group, _) = Group::new();
    let answer = serde_json::to_vec(&read(2, 5, positions())).unwrap();
    group.set_reader(move |_, _| Ok((200, answer.clone())));
    let client = group.client_with(1, |config| config.endpoints = vec!["http://a:1".into()]);
    client.positions(None, &ReadOptions::linearizable()).await.unwrap();
    tokio::time::sleep(Duration::from_secs(1)).await;
    group.set_down(&["a"]);
    client.positions(None, &ReadOptions::linearizable()).await.unwrap();
    assert_eq!(group.arrived().last().unwrap().host, "b");
}

#[tokio::test(start_paused = true)]
async fn options_and_filters_stand_in_the_query() {
    let (group, _) = Group::new();
    let paths = Arc::new(Mutex::new(Vec::new()));
    let seen = paths.clone();
    group.set_reader(move |host, path| {
        seen.lock().unwrap().push(format!("{host}{path}"));
        problem(ProblemKind::NotFound)
    });
    let client = group.client(2);
    let symbol = "BTCUSDT".parse().unwrap();
    let _ = client.positions(Some(&symbol), &ReadOptions::local(1).at_least(9)).await;
    let query = OrderQuery {
        account: Some("acme".parse().unwrap()),
        client_order_id: Some("a:b/c".parse().unwrap()),
        symbol: Some(symbol.clone()),
        open: true,
        limit: Some(5),
        after: Some(6),
        ..OrderQuery::default()
    };
    let _ = client.orders(&query, &ReadOptions::linearizable()).await;
    let _ = client.fills(4, None, Some(&symbol), &ReadOptions::linearizable()).await;
    assert_eq!(
        *paths.lock().unwrap(),
        [
            "b/v1/positions?symbol=BTCUSDT&consistency=local&min_index=9",
            "a/v1/orders?account=acme&client_order_id=a:b/c&symbol=BTCUSDT&open=true&limit=5&after=6",
            "a/v1/fills?from=4&symbol=BTCUSDT",
        ]
    );
}

#[tokio::test(start_paused = true)]
async fn a_read_of_one_node_asks_no_other_and_gives_up_in_time() {
    let (group, _) = Group::new();
    group.set_down(&["b"]);
    let client = group.client(3);
    let before = tokio::time::Instant::now();
    let options = ReadOptions::local(1).within(Duration::from_millis(700));
    let error = client.exposure(&options).await.unwrap_err();
    assert!(matches!(error, CallFailed::Unavailable(_)), "{error:?}");
    assert!(before.elapsed() <= Duration::from_millis(700));
    let arrived = group.arrived();
    assert!(arrived.len() > 2 && arrived.iter().all(|one| one.host == "b"));
}

#[tokio::test(start_paused = true)]
async fn a_refusal_for_good_ends_the_read_and_an_unreadable_answer_says_so() {
    let (group, _) = Group::new();
    group.set_reader(|_, _| problem(ProblemKind::WrongCluster));
    let client = group.client(4);
    let error = client.exposure(&ReadOptions::linearizable()).await.unwrap_err();
    assert!(matches!(&error, CallFailed::Refused(problem) if problem.kind == ProblemKind::WrongCluster));
    assert_eq!(group.arrived().len(), 1);
    group.set_reader(|_, _| Ok((200, b"{}".to_vec())));
    let error = client.exposure(&ReadOptions::linearizable()).await.unwrap_err();
    assert!(matches!(error, CallFailed::Unreadable { .. }), "{error:?}");
}

#[tokio::test(start_paused = true)]
async fn a_node_that_hangs_costs_one_attempt() {
    let (group, _) = Group::new();
    let view = ExposureView {
        basis: ExposureBasis::Units,
        limit: Exposure(100),
        hard_limit: Exposure(100),
        long: Exposure(1),
        short: Exposure(2),
        symbols: Vec::new(),
    };
    let answer = serde_json::to_vec(&read(2, 5, view.clone())).unwrap();
    // A gateway's page is no problem document: the read goes on.
    group.set_reader(move |host, _| match host {
        "a" => Ok((502, b"<html>bad gateway</html>".to_vec())),
        _ => Ok((200, answer.clone())),
    });
    let got = group.client(5).exposure(&ReadOptions::linearizable()).await.unwrap();
    assert_eq!((got.node_id, got.data), (2, view));
}

#[tokio::test(start_paused = true)]
async fn a_change_of_the_group_is_not_repeated_once_it_may_have_been_made() {
    let (group, _) = Group::new();
    let calls = Arc::new(Mutex::new(0));
    let seen = calls.clone();
    group.set_reader(move |_, _| {
        *seen.lock().unwrap() += 1;
        match *seen.lock().unwrap() {
            1 => problem(ProblemKind::NoLeader),
            2 => Err(CallError::Broken("reset".into())),
            _ => Ok((200, Vec::new())),
        }
    });
    let client = group.client(6);
    let error = client.transfer_leader(2, Duration::from_secs(5)).await.unwrap_err();
    assert!(matches!(&error, CallFailed::Unavailable(problem) if problem.outcome_unknown), "{error:?}");
    assert_eq!(*calls.lock().unwrap(), 2, "again after 'no leader', not after a broken call");
    client.transfer_leader(2, Duration::from_secs(5)).await.unwrap();
}

#[tokio::test(start_paused = true)]
async fn a_node_that_hangs_is_not_sent_a_change_of_the_group() {
    let (group, _) = Group::new();
    group.set_reader(|_, _| Ok((200, b"{}".to_vec())));
    group.set_hung(&["a"]);
    let members = ChangeMembers { membership_index: 0, members: Vec::new() };
    for at in 0..3 {
        let client = group.client(7 + at);
        let (asked, timeout) = (Instant::now(), Duration::from_secs(5));
        match at {
            0 => client.transfer_leader(2, timeout).await.unwrap(),
            1 => client.snapshot(None, timeout).await.unwrap(),
            _ => client.change_members(&members, timeout).await.unwrap(),
        }
        assert!(asked.elapsed() < Duration::from_millis(1_500), "{:?}", asked.elapsed());
    }
    let changes: Vec<String> =
        group.arrived_anywhere().into_iter().filter(|one| !one.path.contains('?')).map(|one| one.host).collect();
    assert_eq!(changes.len(), 3);
    assert!(!changes.contains(&"a".to_owned()), "{changes:?}");

    // Where nobody else may be asked, nothing was sent, and the answer says so.
    let error = group.client(11).snapshot(Some(0), Duration::from_secs(3)).await.unwrap_err();
    assert!(matches!(&error, CallFailed::Unavailable(problem) if !problem.outcome_unknown), "{error:?}");
}
