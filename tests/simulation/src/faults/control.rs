//! What people do at the wrong moment, and a client that sends what it should not.

use std::time::Duration;

use quorate_ledger::{
    CancelOrder, Command, DefineSymbol, Envelope, ExecuteOrder, Exposure, MakerRef, Millis, NewOrder, OrderType,
    PlaceQuote, Price, PullQuote, Qty, QuoteCause, QuoteSide, QuotingScope, RegisterMaker, ReleaseSymbol, Remainder,
    SetExposureLimit, SetKillSwitch, Side, SymbolSpec, TimeInForce, UpgradeLedger,
};
use quorate_seams::{full_body, read_body};
use rand::{Rng, seq::IndexedRandom};
use tokio::time::timeout;

use super::{Kind, Scene};
use crate::{clock::EPOCH_MS, node::api_address, plan::SYMBOLS};

pub(super) async fn happen(mut scene: Scene) {
    match scene.fault.kind {
        Kind::SetLimit => {
            let limit = scene.rng.random_range(0..=100);
            scene.happened(limit);
            scene.operator.set_limit(limit).await;
            scene.last().await;
            scene.operator.set_limit(scene.sim.plan.limit).await;
        }
        Kind::SetQuoting => {
            let scope = match scene.rng.random_range(0..3) {
                0 => QuotingScope::All,
                1 => QuotingScope::Symbol(symbol(&mut scene)),
                _ => {
                    let number = scene.one_maker();
                    QuotingScope::Maker(format!("maker-{number}").parse().expect("a name"))
                }
            };
            scene.happened(&scope);
            scene.operator.set_quoting(scope.clone(), false).await;
            scene.last().await;
            scene.operator.set_quoting(scope, true).await;
        }
        Kind::KillSwitch => {
            scene.happened("");
            scene.operator.set_kill_switch(true).await;
            scene.last().await;
            scene.operator.set_kill_switch(false).await;
        }
        _ => mischief(scene).await,
    }
}

fn symbol(scene: &mut Scene) -> quorate_ledger::Symbol {
    let known = &SYMBOLS[..scene.sim.plan.symbols];
    known.choose(&mut scene.rng).unwrap_or(&SYMBOLS[0]).0.parse().expect("a symbol")
}

/// A dozen commands, each wrong in one way: the ledger must refuse them all, and nothing else.
async fn mischief(mut scene: Scene) {
    scene.happened("");
    let session = call(&scene, &[Envelope { session: 0, seq: 0, command: Command::OpenSession }]).await;
    let session =
        session.as_ref().and_then(|answer| answer[0]["outcome"]["accepted"]["session_opened"]["session"].as_u64());
    let session = session.unwrap_or(1);
    let commands = wrong_commands(&mut scene);
    let mut batch: Vec<Envelope> = Vec::new();
    for (seq, command) in (1..).zip(commands) {
        batch.push(Envelope { session, seq, command });
    }
    let reused = Command::RenewMaker(MakerRef { maker: "nobody".parse().expect("a name"), incarnation: 2 });
    batch.push(Envelope { session, seq: 1, command: reused.clone() });
    batch.push(Envelope { session, seq: 0, command: reused.clone() });
    batch.push(Envelope { session: 0, seq: 0, command: reused.clone() });
    batch.push(Envelope { session: u64::MAX, seq: 1, command: reused });
    for envelope in batch {
        let _ = call(&scene, &[envelope]).await;
    }
    let _ = call(&scene, &[Envelope { session, seq: 1_000, command: Command::CloseSession }]).await;
}

async fn call(scene: &Scene, batch: &[Envelope]) -> Option<serde_json::Value> {
    let id = scene.up().first().copied()?;
    let body = serde_json::to_vec(batch).ok()?;
    let request = http::Request::post(format!("http://{}{}", api_address(id), quorate_api::paths::COMMANDS))
        .header("content-type", "application/json")
        .body(full_body(body.into()))
        .ok()?;
    let answered = timeout(Duration::from_secs(2), async {
        let response = scene.operator.process.world.http.call(request).await.ok()?;
        read_body(response.into_body(), 1 << 20).await.ok()
    });
    serde_json::from_slice(&answered.await.ok()??).ok()
}

fn wrong_commands(scene: &mut Scene) -> Vec<Command> {
    let symbol = symbol(scene);
    let nowhere: quorate_ledger::Symbol = "NOWHERE".parse().expect("a symbol");
    let one = "1".parse().expect("a decimal");
    let side = |price| Some(QuoteSide { price: Price(price), qty: Qty(1) });
    let quote = |symbol: &quorate_ledger::Symbol, epoch, bid, ask| {
        Command::PlaceQuote(PlaceQuote {
            symbol: symbol.clone(),
            incarnation: 1,
            epoch,
            quote_seq: 1,
            position_seq: 0,
            bid: side(bid),
            ask: side(ask),
            allow_reduced: true,
            ttl_ms: 1_000,
            cause: QuoteCause::Refresh,
            computed_at: 1,
        })
    };
    let (holder_epoch, exchange_epoch) = {
        let state = scene.sim.state();
        let ledger = state.nodes.values().find_map(|host| {
            let status = host.running()?.status();
            Some(status.exchange_epoch)
        });
        (1, ledger.unwrap_or(0))
    };
    let order = |epoch, exec_id, symbol: &quorate_ledger::Symbol, deadline, timestamp| {
        Command::ExecuteOrder(ExecuteOrder {
            exchange_epoch: epoch,
            exec_id,
            deadline: Millis(deadline),
            order: NewOrder {
                account: "mischief".parse().expect("a name"),
                client_order_id: format!("m{exec_id}").parse().expect("a name"),
                symbol: symbol.clone(),
                side: Side::Buy,
                order_type: OrderType::Limit,
                time_in_force: TimeInForce::Gtc,
                price: Some(Price(1)),
                qty: Qty(1),
                timestamp: Millis(timestamp),
            },
            fills: Vec::new(),
            remainder: Remainder::Rest,
        })
    };
    vec![
        Command::RenewMaker(MakerRef { maker: "nobody".parse().expect("a name"), incarnation: 1 }),
        Command::DefineSymbol(DefineSymbol {
            symbol: symbol.clone(),
            spec: SymbolSpec { tick_size: one, lot_size: one, exposure_per_lot: 7 },
        }),
        Command::SetExposureLimit(SetExposureLimit { limit: Exposure(101), control_version: 0 }),
        Command::SetKillSwitch(SetKillSwitch { engaged: true, control_version: u64::MAX }),
        Command::UpgradeLedger(UpgradeLedger { ledger_version: 0, control_version: 0 }),
        Command::RegisterMaker(RegisterMaker { maker: "nobody".parse().expect("a name"), ttl_ms: 1 }),
        Command::ReleaseSymbol(ReleaseSymbol { symbol: symbol.clone(), epoch: 0 }),
        Command::ReleaseSymbol(ReleaseSymbol { symbol: nowhere.clone(), epoch: 1 }),
        quote(&symbol, holder_epoch, 1, 2),
        quote(&symbol, u64::MAX, 1, 2),
        quote(&symbol, 1, 3, 2),
        quote(&nowhere, 1, 1, 2),
        Command::PullQuote(PullQuote { symbol: symbol.clone(), epoch: u64::MAX }),
        order(0, 1, &symbol, EPOCH_MS, EPOCH_MS),
        order(exchange_epoch, 0, &symbol, EPOCH_MS, EPOCH_MS),
        order(exchange_epoch, u64::MAX, &symbol, EPOCH_MS, EPOCH_MS),
        Command::CancelOrder(CancelOrder { exchange_epoch, account: "mischief".parse().expect("a name"), order_id: 1 }),
    ]
}
