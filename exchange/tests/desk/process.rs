//! The whole process but for its sockets to the group: `run` on a free port.

use std::time::Duration;

use quorate_exchange::run::{RunError, run};
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
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let port = listener.local_addr().unwrap().port();
        let (stop, stopped) = oneshot::channel::<()>();
        let world = world(group, group.clocks());
        let run = run(config(|_| {}), world.clone(), listener, async {
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
async fn it_does_not_start_with_a_reference_that_cannot_be_read() {
    let group = group();
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let config = config(|settings| settings.reference = Some(vec!["capture:/nowhere.gz,BTCUSDT".into()]));
    let error = run(config, world(&group, group.clocks()), listener, std::future::pending()).await;
    assert!(error.expect_err("refused").to_string().starts_with("reference: /nowhere.gz"));
}
