//! The whole process but for its sockets to the group: `run` on a free port.

use std::time::Duration;

use quorate_exchange::{
    config::Settings,
    run::{RunError, run},
};
use quorate_seams::World;
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::{TcpListener, TcpStream},
    sync::oneshot,
    task::JoinHandle,
    time::{sleep, timeout},
};

use crate::{
    ledger::{Fate, Group},
    world::{config, group, world},
};

struct Process {
    port: u16,
    world: World,
    stop: oneshot::Sender<()>,
    ended: JoinHandle<Result<(), RunError>>,
}

impl Process {
    async fn start(group: &Group) -> Self {
        Self::start_with(group, |_| {}).await
    }

    async fn start_with(group: &Group, change: impl FnOnce(&mut Settings)) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let port = listener.local_addr().unwrap().port();
        let (stop, stopped) = oneshot::channel::<()>();
        let world = world(group, group.clocks());
        let run = run(config(change), world.clone(), listener, async {
            let _ = stopped.await;
        });
        let process = Self { port, world, stop, ended: tokio::spawn(run) };
        let ready = async {
            while !call(port, "GET", "/health", "").await.is_some_and(|answer| answer.starts_with("HTTP/1.1 200")) {
                sleep(Duration::from_millis(5)).await;
            }
        };
        timeout(Duration::from_secs(20), ready).await.expect("it takes orders");
        process
    }

    /// Stops it as SIGTERM does; what it spawned ends with it.
    async fn end(self) -> Result<(), RunError> {
        drop(self.stop);
        let ended = timeout(Duration::from_secs(20), self.ended).await.expect("it ends").unwrap();
        self.world.tasks.abort_all();
        ended
    }
}

/// The whole answer; `None` where nobody takes the call.
async fn call(port: u16, method: &str, path: &str, form: &str) -> Option<String> {
    let mut stream = TcpStream::connect(("127.0.0.1", port)).await.ok()?;
    let request = format!(
        "{method} {path} HTTP/1.1\r\nhost: a\r\nconnection: close\r\ncontent-length: {}\r\n\r\n{form}",
        form.len()
    );
    stream.write_all(request.as_bytes()).await.ok()?;
    let mut answer = String::new();
    stream.read_to_string(&mut answer).await.ok()?;
    Some(answer)
}

const ORDER: &str = "symbol=BTCUSDT&side=BUY&type=MARKET&quantity=0.002&newClientOrderId=o1";

#[tokio::test]
async fn told_to_stop_it_settles_what_is_in_flight_and_ends() {
    let group = group();
    let process = Process::start(&group).await;
    let sessions = group.look(|ledger| ledger.session_count());
    group.fates([Fate::LostAfter, Fate::LostBefore, Fate::LostBefore]);
    let port = process.port;
    let order = tokio::spawn(async move { call(port, "POST", "/api/v3/order", ORDER).await });
    while group.executions().is_empty() {
        sleep(Duration::from_millis(1)).await;
    }
    process.end().await.expect("a clean end");
    let answer = order.await.unwrap().expect("an answer");
    assert!(answer.starts_with("HTTP/1.1 200") && answer.contains("FILLED"), "{answer}");
    assert!(TcpStream::connect(("127.0.0.1", port)).await.is_err());
    assert_eq!(group.look(|ledger| ledger.session_count()), sessions - 1);
}

#[tokio::test]
async fn told_to_stop_it_settles_also_what_nobody_waits_for() {
    let group = group();
    let process = Process::start(&group).await;
    group.always(Fate::LostBefore);
    let port = process.port;
    let order = tokio::spawn(async move { call(port, "POST", "/api/v3/order", ORDER).await });
    // Once its batch has been lost, the caller hangs up.
    while group.lost() < 2 {
        sleep(Duration::from_millis(1)).await;
    }
    order.abort();
    let heal = async {
        // Longer than connections and the session are given to end.
        sleep(Duration::from_millis(1_500)).await;
        group.always(Fate::Served);
    };
    let (ended, ()) = tokio::join!(process.end(), heal);
    ended.expect("a clean end");
    assert_eq!(group.executions().get("o1"), Some(&1));
}

#[tokio::test]
async fn fenced_it_ends_with_an_error_that_says_so() {
    let group = group();
    let first = Process::start(&group).await;
    let second = Process::start(&group).await;
    let ended = timeout(Duration::from_secs(20), first.ended).await.expect("it ends").unwrap();
    let error = ended.expect_err("fenced").to_string();
    assert!(error.contains("another exchange has registered"), "{error}");
    let answer = call(second.port, "POST", "/api/v3/order", ORDER).await.expect("an answer");
    assert!(answer.contains("FILLED"), "{answer}");
    second.end().await.expect("a clean end");
}

#[tokio::test]
async fn where_all_places_are_taken_it_says_so_and_still_tells_how_it_is() {
    let group = group();
    let process = Process::start_with(&group, |settings| settings.max_connections = Some(1)).await;
    let port = process.port;
    // Half a request keeps its place for a while.
    let mut busy = TcpStream::connect(("127.0.0.1", port)).await.unwrap();
    busy.write_all(b"POST /api/v3/order HTTP/1.1\r\nhost: a\r\ncontent-length: 9\r\n\r\nsymbol").await.unwrap();
    let full = async {
        loop {
            let answer = call(port, "POST", "/api/v3/order", ORDER).await.unwrap_or_default();
            if answer.starts_with("HTTP/1.1 429") {
                return answer;
            }
        }
    };
    let answer = timeout(Duration::from_secs(10), full).await.expect("it is refused");
    assert!(answer.contains("\"code\":-1003") && answer.contains("retry-after: 1"), "{answer}");
    for path in ["/health", "/metrics"] {
        let answer = call(port, "GET", path, "").await.expect("an answer");
        assert!(answer.starts_with("HTTP/1.1 200"), "{answer}");
    }
    let cancel = call(port, "DELETE", "/api/v3/openOrders?symbol=BTCUSDT", "").await.expect("an answer");
    assert!(cancel.contains("-2011"), "{cancel}");
    drop(busy);
    process.end().await.expect("a clean end");
}

#[tokio::test(start_paused = true)]
async fn one_connection_with_many_requests_takes_no_more_places() {
    let group = group();
    let exchange = crate::world::Exchange::start_with(&group, |settings| settings.max_connections = Some(2)).await;
    group.set_muted(true);
    group.always(Fate::LostBefore);
    let orders = ["o0", "o1", "o2"].map(|name| exchange.market(name, "BUY", 1));
    let (answers, (health, cancel)) = tokio::join!(futures_util::future::join_all(orders), async {
        sleep(Duration::from_millis(100)).await;
        let cancel = exchange.call("DELETE", "/api/v3/order?symbol=BTCUSDT&origClientOrderId=no", "").await;
        (exchange.get("/health").await.0, cancel)
    });
    let codes: Vec<i64> = answers.iter().map(|answer| crate::world::code(answer).1).collect();
    assert_eq!(codes, [-1007, -1007, -1003]);
    assert_eq!((health, crate::world::code(&cancel)), (200, (400, -2011)));
}

#[tokio::test]
async fn it_does_not_start_with_a_reference_that_cannot_be_read() {
    let group = group();
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let config = config(|settings| settings.reference = Some(vec!["capture:/nowhere.gz,BTCUSDT".into()]));
    let error = run(config, world(&group, group.clocks()), listener, std::future::pending()).await;
    assert!(error.expect_err("refused").to_string().starts_with("reference: /nowhere.gz"));
}
