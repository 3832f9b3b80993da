//! What people do at the wrong moment.

use quorate_domain::{Money, Protection, Qty};
use quorate_ledger::QuotingScope;
use rand::Rng;

use super::{Kind, Scene};

pub(super) async fn happen(mut scene: Scene) {
    match scene.fault.kind {
        Kind::SetLimit => {
            let limit = scene.rng.random_range(0..=100);
            scene.happened(limit);
            scene.operator.set_limit(limit).await;
            scene.last().await;
            scene.operator.set_limit(scene.sim.plan.limit).await;
        }
        Kind::SetPositionLimit => {
            let (symbol, max) = (scene.one_symbol(), scene.rng.random_range(0..=30));
            scene.happened((&symbol, max));
            scene.operator.set_position_limit(symbol.clone(), Some(max)).await;
            scene.last().await;
            scene.operator.set_position_limit(symbol, None).await;
        }
        Kind::SetDrawdown => {
            let limit = scene.rng.random_range(0..=2_000_000_000_000);
            scene.happened(limit);
            scene.operator.set_drawdown_limit(Some(Money(limit))).await;
            scene.last().await;
            scene.operator.set_drawdown_limit(None).await;
        }
        Kind::SetProtection => {
            let (symbol, lots) = (scene.one_symbol(), scene.rng.random_range(1..=8));
            scene.happened((&symbol, lots));
            let protection = Protection { lots_max: Qty(lots), window_ms: 1_000, pause_ms: 500 };
            scene.operator.set_protection(symbol.clone(), Some(protection)).await;
            scene.last().await;
            scene.operator.set_protection(symbol, None).await;
        }
        Kind::SetQuoting => {
            let scope = match scene.rng.random_range(0..3) {
                0 => QuotingScope::All,
                1 => QuotingScope::Symbol(scene.one_symbol()),
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
        _ => {
            scene.happened("");
            scene.operator.set_kill_switch(true).await;
            scene.last().await;
            scene.operator.set_kill_switch(false).await;
        }
    }
}
