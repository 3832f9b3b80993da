//! Accounts that the file says are limited: none trades before the ledger holds it to its balances.

use std::time::Duration;

use quorate_binance_api::signing::sign;
use serde_json::{Value, json};
use tempfile::NamedTempFile;
use tokio::time::sleep;

use crate::{
    ledger::Group,
    world::{Exchange, code, group},
};

/// Alice, whose balances are as the file says.
fn file(balances: &str) -> NamedTempFile {
    let file = NamedTempFile::new().unwrap();
    let key = "[[account.key]]\napi-key = \"key\"\nsecret = \"secret\"\npermissions = [\"read\", \"trade\"]\n";
    let text = format!("[[account]]\nname = \"alice\"\nbalances = \"{balances}\"\n{key}");
    std::fs::write(file.path(), text).unwrap();
    file
}

async fn start(group: &Group, file: &NamedTempFile) -> Exchange {
    Exchange::start_with(group, |settings| settings.accounts = Some(file.path().to_owned())).await
}

async fn call(exchange: &Exchange, method: &str, path: &str, form: &str) -> (u16, Value) {
    let form = format!("{form}&timestamp={}", exchange.desk.world().clocks.wall_ms());
    let path = format!("/api/v3/{path}?{form}&signature={}", sign("secret", &form));
    exchange.call_as(Some("key"), method, &path, "").await
}

/// Buys 10 lots at 95.00, for 0.95 in all.
async fn buy(exchange: &Exchange, name: &str) -> (u16, Value) {
    let form = "symbol=BTCUSDT&side=BUY&type=LIMIT&timeInForce=GTC&quantity=0.010&price=95.00";
    call(exchange, "POST", "order", &format!("{form}&newClientOrderId={name}")).await
}

fn alice() -> quorate_domain::Account {
    "alice".parse().unwrap()
}

async fn until_limited(exchange: &Exchange) {
    exchange.until("limited", |exchange| !exchange.desk.limits.is_due(&alice())).await;
}

#[tokio::test(start_paused = true)]
async fn no_order_is_taken_before_the_ledger_has_limited_its_account() {
    let (group, file) = (group(), file("limited"));
    let exchange = start(&group, &file).await;
    let early = buy(&exchange, "o1").await;
    assert_eq!((code(&early), group.executions().len()), ((503, -1001), 0), "{early:?}");
    until_limited(&exchange).await;
    let by_exchange = [("exchange".to_owned(), "alice".to_owned())];
    assert_eq!(group.limited_by(), by_exchange);
    let short = (400, json!({"code": -2010, "msg": "Account has insufficient balance for requested action."}));
    assert_eq!(buy(&exchange, "o2").await, short);
    group.deposit("alice", "USDT", "1");
    assert_eq!(buy(&exchange, "o3").await.1["status"], "NEW");
    // It stays limited: one that starts again has nothing to say.
    exchange.kill();
    let again = start(&group, &file).await;
    until_limited(&again).await;
    assert_eq!(group.limited_by(), by_exchange);
    assert_eq!(buy(&again, "o4").await, short);
}

#[tokio::test(start_paused = true)]
async fn what_an_operator_decides_meanwhile_is_read_first() {
    let (group, file) = (group(), file("limited"));
    let exchange = start(&group, &file).await;
    group.meddle(3);
    let version = |group: &Group| group.look(|ledger| ledger.control().version);
    let before = version(&group);
    until_limited(&exchange).await;
    assert_eq!((version(&group), group.limited_by().len()), (before + 4, 1), "three decisions, and then this one");
}

#[tokio::test(start_paused = true)]
async fn an_account_that_cannot_be_limited_yet_may_cancel_and_not_trade() {
    let group = group();
    let before = start(&group, &file("open")).await;
    assert_eq!(buy(&before, "rests").await.1["status"], "NEW", "an open account owes what it likes");
    assert!(!before.desk.limits.is_due(&alice()));
    before.kill();
    let exchange = start(&group, &file("limited")).await;
    sleep(Duration::from_secs(5)).await;
    assert_eq!((code(&buy(&exchange, "o1").await), group.limited_by()), ((503, -1001), Vec::new()));
    let cancelled = call(&exchange, "DELETE", "order", "symbol=BTCUSDT&origClientOrderId=rests").await;
    assert_eq!(cancelled.1["status"], "CANCELED");
    until_limited(&exchange).await;
    assert_eq!(code(&buy(&exchange, "o2").await), (400, -2010));
}
