//! A node's API over real sockets, when many ask for much of it: nobody is shut out by those who say nothing.

#![allow(clippy::unwrap_used, reason = "what does not work ends the test")]

use std::{net::SocketAddr, sync::Arc, time::Duration};

use quorate_log_store::{Storage, StorageOptions, WriterMode};
use quorate_node::{
    config::Settings,
    http::api_router,
    run::{Listeners, RunError, run},
};
use quorate_seams::{Failpoints, World};
use serde_json::Value;
use tempfile::TempDir;
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::{TcpListener, TcpStream},
    sync::oneshot,
    task::JoinHandle,
    time::{Instant, sleep, timeout},
};

const CONNECTIONS: usize = 40;
const STREAMS: usize = 16;
/// What must be answered is answered within this, on a loaded machine too.
const PATIENCE: Duration = Duration::from_secs(30);

struct Served {
    addr: SocketAddr,
    stop: Option<oneshot::Sender<()>>,
    ended: JoinHandle<Result<(), RunError>>,
    _dir: TempDir,
}

impl Served {
    /// A group of one, that leads.
    async fn start() -> Self {
        let dir = tempfile::tempdir().unwrap();
        let peer = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let api = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let (listen_peer, addr) = (peer.local_addr().unwrap(), api.local_addr().unwrap());
        let config = Settings {
            cluster_id: Some("serving".to_owned()),
            node_id: Some(1),
            data_dir: Some(dir.path().to_owned()),
            listen_peer: Some(listen_peer),
            listen_api: Some(addr),
            initial_members: Some(vec![format!("1={listen_peer}/{addr}")]),
            max_connections: Some(CONNECTIONS),
            max_event_streams: Some(STREAMS),
            ..Settings::default()
        };
        let config = config.resolve().unwrap();
        let world = World::real(Failpoints::none()).unwrap();
        let options = StorageOptions::new("serving", 1, 1, WriterMode::Thread, Arc::clone(&world.clocks));
        let storage = Storage::open_file(dir.path().join("1.redb"), options).unwrap();
        let (stop, stopped) = oneshot::channel::<()>();
        let shutdown = async move { drop(stopped.await) };
        let listeners = Listeners { peer, api };
        let ended = tokio::spawn(run(config, world, storage, listeners, api_router, shutdown));
        let served = Self { addr, stop: Some(stop), ended, _dir: dir };
        let ends = Instant::now() + PATIENCE;
        while served.get("/readyz").await.status != 200 {
            assert!(Instant::now() < ends, "it does not become ready");
            sleep(Duration::from_millis(20)).await;
        }
        served
    }

    async fn stop(mut self) {
        self.stop.take().unwrap().send(()).unwrap();
        self.ended.await.unwrap().unwrap();
    }

    async fn get(&self, path: &str) -> Answer {
        ask(self.addr, &format!("GET {path} HTTP/1.1\r\nhost: node\r\n\r\n")).await
    }

    async fn open_session(&self) -> Answer {
        self.command(r#"{"command":"open_session"}"#).await
    }

    async fn command(&self, body: &str) -> Answer {
        let head = "POST /v1/commands HTTP/1.1\r\nhost: node\r\ncontent-type: application/json";
        ask(self.addr, &format!("{head}\r\ncontent-length: {}\r\n\r\n{body}", body.len())).await
    }

    /// The node is up, says how it is, and takes commands.
    async fn serves(&self) {
        for path in ["/livez", "/readyz", "/health", "/metrics", "/v1/status?consistency=local", "/v1/cluster"] {
            let answer = self.get(path).await;
            assert_eq!(answer.status, 200, "{path}: {} {}", answer.head, answer.body);
        }
        let answer = self.open_session().await;
        assert_eq!(answer.status, 200, "{} {}", answer.head, answer.body);
    }
}

/// What came back. The connection stays open as long as this lives, unless the node closes it.
struct Answer {
    status: u16,
    head: String,
    body: String,
    connection: TcpStream,
}

async fn ask(addr: SocketAddr, request: &str) -> Answer {
    timeout(PATIENCE, ask_for_long(addr, request)).await.unwrap_or_else(|_| panic!("no answer to {request}"))
}

async fn ask_for_long(addr: SocketAddr, request: &str) -> Answer {
    let mut connection = TcpStream::connect(addr).await.unwrap();
    connection.write_all(request.as_bytes()).await.unwrap();
    let mut text = Vec::new();
    let end = loop {
        let read = connection.read_buf(&mut text).await.unwrap();
        assert!(read > 0, "closed without an answer to {request}");
        if let Some(end) = text.windows(4).position(|four| four == b"\r\n\r\n") {
            break end + 4;
        }
    };
    let head = String::from_utf8(text[..end].to_vec()).unwrap().to_ascii_lowercase();
    let status = head.split(' ').nth(1).unwrap().parse().unwrap();
    let length = head.lines().find_map(|line| line.strip_prefix("content-length: "));
    let length: usize = length.map_or(0, |length| length.trim().parse().unwrap());
    while text.len() < end + length {
        assert!(connection.read_buf(&mut text).await.unwrap() > 0, "closed within the answer to {request}");
    }
    let body = String::from_utf8(text[end..].to_vec()).unwrap();
    Answer { status, head, body, connection }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn watchers_of_events_leave_places_for_all_other_calls() {
    let served = Served::start().await;
    let mut watchers = Vec::new();
    for _ in 0..3 * CONNECTIONS {
        watchers.push(served.get("/v1/events").await);
    }
    let (streams, refused): (Vec<_>, Vec<_>) = watchers.iter().partition(|answer| answer.status == 200);
    assert_eq!(streams.len(), STREAMS);
    for answer in &refused {
        assert_eq!(answer.status, 503, "{}", answer.body);
        assert!(answer.head.contains("retry-after: ") && answer.head.contains("connection: close"), "{}", answer.head);
        assert!(answer.body.contains("max-event-streams"), "{}", answer.body);
    }
    served.serves().await;
    let metrics = served.get("/metrics").await.body;
    let counted = format!("quorate_event_streams_refused_total {}\n", refused.len());
    assert!(metrics.contains(&counted) && metrics.contains(&format!("quorate_event_streams {STREAMS}\n")), "{metrics}");

    // The place of a stream that ends is free again.
    drop(watchers);
    let ends = Instant::now() + PATIENCE;
    while served.get("/v1/events").await.status != 200 {
        assert!(Instant::now() < ends, "no place came back");
        sleep(Duration::from_millis(50)).await;
    }
    served.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_body_that_is_too_large_is_refused_with_its_bound_and_what_to_do() {
    let served = Served::start().await;
    let command = r#"{"command":"open_session"}"#;
    let filled = |len: usize| format!("{command}{}", " ".repeat(len - command.len()));
    let refused = served.command(&filled((1 << 20) + 1)).await;
    assert_eq!(refused.status, 413, "{}", refused.body);
    for said in ["urn:quorate:too-large", "at most 1048576 bytes", "send fewer commands"] {
        assert!(refused.body.contains(said), "{}", refused.body);
    }
    assert_eq!(served.command(&filled(1 << 20)).await.status, 200);
    served.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn connections_that_say_nothing_shut_nobody_out() {
    let served = Served::start().await;
    let watcher = served.get("/v1/events").await;
    assert_eq!(watcher.status, 200);
    let mut quiet = Vec::new();
    for _ in 0..4 * CONNECTIONS {
        quiet.push(TcpStream::connect(served.addr).await.unwrap());
    }
    served.serves().await;
    // Nor do those that were answered once and keep their connection.
    let mut idle = Vec::new();
    for _ in 0..2 * CONNECTIONS {
        idle.push(served.get("/livez").await);
    }
    served.serves().await;
    let ends = Instant::now() + PATIENCE;
    while served.get("/v1/positions").await.status != 200 {
        assert!(Instant::now() < ends, "those who are quiet keep the common places");
        sleep(Duration::from_millis(50)).await;
    }
    // The stream was never quiet for long.
    let mut watching = watcher.connection;
    let mut bytes = [0; 4096];
    for _ in 0..3 {
        assert!(timeout(PATIENCE, watching.read(&mut bytes)).await.unwrap().unwrap() > 0, "the stream was closed");
    }
    served.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_must_get_through_does_while_all_places_are_busy() {
    let served = Served::start().await;
    let mut busy = Vec::new();
    for _ in 0..CONNECTIONS {
        let mut connection = TcpStream::connect(served.addr).await.unwrap();
        // Half a request: it could still become one.
        connection.write_all(b"GET /v1/positions HTTP/1.1\r\n").await.unwrap();
        busy.push(connection);
    }
    let ends = Instant::now() + PATIENCE;
    let answer = loop {
        // Until all of them were read, one more gets the place of one that seems quiet.
        let answer = served.get("/v1/positions").await;
        if answer.status != 200 {
            break answer;
        }
        assert!(Instant::now() < ends, "there is always a place");
    };
    assert_eq!(answer.status, 503, "{}", answer.body);
    let problem: Value = serde_json::from_str(&answer.body).unwrap();
    assert_eq!(problem["type"], "urn:quorate:overloaded");
    assert!(answer.body.contains("max-connections") && answer.head.contains("retry-after: "), "{}", answer.body);
    assert!(answer.head.contains("connection: close"), "{}", answer.head);
    served.serves().await;
    served.stop().await;
}

/// The index of the first frame that a stream sends.
async fn first_frame(served: &Served, query: &str, last_seen: Option<u64>) -> u64 {
    let header = last_seen.map(|seen| format!("last-event-id: {seen}\r\n")).unwrap_or_default();
    let request = format!("GET /v1/events{query} HTTP/1.1\r\nhost: node\r\n{header}\r\n");
    let mut answer = ask(served.addr, &request).await;
    assert_eq!(answer.status, 200, "{}", answer.body);
    let read = async {
        loop {
            let id = answer.body.lines().find_map(|line| line.strip_prefix("id: "));
            if let Some(id) = id.and_then(|id| id.parse().ok()) {
                return id;
            }
            let mut bytes = [0; 4096];
            let count = answer.connection.read(&mut bytes).await.unwrap();
            assert!(count > 0, "the stream ended");
            answer.body.push_str(std::str::from_utf8(&bytes[..count]).unwrap());
        }
    };
    timeout(PATIENCE, read).await.expect("no frame")
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_browser_that_comes_back_goes_on_after_what_it_has_seen() {
    let served = Served::start().await;
    for _ in 0..10 {
        served.serves().await;
    }
    assert_eq!(first_frame(&served, "?from=2", None).await, 2);
    assert_eq!(first_frame(&served, "?from=2", Some(7)).await, 8, "Last-Event-ID is newer");
    assert_eq!(first_frame(&served, "?from=9", Some(3)).await, 9, "from is newer");
    assert_eq!(first_frame(&served, "", Some(4)).await, 5);
    served.stop().await;
}

/// The kill switch, with a field of its own for the version, if any.
fn switch(engaged: bool, version: &str) -> String {
    let change = format!(r#"{{"kill_switch":{{"engaged":{engaged}}}}}"#);
    format!(r#"{{"command":{{"control":{{"actor":"operator","reason":"a test","change":{change}{version}}}}}}}"#)
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_kill_switch_is_engaged_without_a_version_and_turned_off_with_the_present_one() {
    let served = Served::start().await;
    for round in 0..2 {
        let engaged = served.command(&switch(true, "")).await;
        assert_eq!(engaged.status, 200, "{}", engaged.body);
        let off = served.command(&switch(false, "")).await;
        assert_eq!(off.status, 409, "{}", off.body);
        let status: Value = serde_json::from_str(&served.get("/v1/status").await.body).unwrap();
        let control = &status["data"]["control"];
        assert_eq!((&control["kill_switch"], &control["control_version"]), (&true.into(), &(2 * round + 1).into()));
        let version = format!(r#","control_version":{}"#, control["control_version"]);
        let off = served.command(&switch(false, &version)).await;
        assert_eq!(off.status, 200, "{}", off.body);
    }
    served.stop().await;
}
