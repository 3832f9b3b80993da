//! One call, from its caller to its answer.

use http_body::Body as _;
use http_body_util::BodyExt;
use quorate_seams::{Body, CallError, full_body};
use tokio::{sync::oneshot, task::JoinHandle, time::sleep};
use tower::ServiceExt;

use super::{CONNECT_MAX, Net, Route, arrived, body, sniff};
use crate::{
    process::{Party, Who},
    tap::Mark,
};

/// Calls that find no connection are told so, in a hundred; the others go over one that is open and hang.
const FRESH_CONNECTIONS: u32 = 30;
/// Calls that break off with an error where a message was lost, in a hundred; the others hang.
const BREAKS: u32 = 50;
/// Calls given up whose handler is dropped at the target, in a hundred; the others run to their end.
const GIVEN_UP: u32 = 50;

type Answer = Result<http::Response<Body>, CallError>;

/// A request whose body is at hand, or streams.
struct Outgoing {
    number: u64,
    parts: http::request::Parts,
    body: Payload,
    http2: bool,
    mark: Mark,
}

enum Payload {
    Whole(bytes::Bytes),
    Stream(Body),
}

/// Makes a call in the name of `from`.
pub(super) async fn call(net: Net, from: Party, request: http::Request<Body>) -> Answer {
    let Some(address) = request.uri().authority().map(ToString::to_string) else {
        return Err(CallError::Connect("no host in the address".to_owned()));
    };
    let Some(route) = net.state().routes.get(&address).cloned() else {
        return Err(CallError::Connect(format!("nobody is called {address}")));
    };
    let number = {
        let mut state = net.state();
        state.calls += 1;
        state.calls
    };
    let http2 = request.version() == http::Version::HTTP_2;
    let (parts, body) = request.into_parts();
    let body = match body.size_hint().exact() {
        Some(_) => Payload::Whole(collect(body).await?),
        None => Payload::Stream(body),
    };
    let to = route.party.who;
    if let (Some(tap), Payload::Whole(bytes)) = (net.0.tap.get(), &body) {
        tap.sent(number, from.who, to, parts.uri.path(), bytes);
    }
    let outgoing = Outgoing { number, parts, body, http2, mark: net.mark() };
    // A task of the network's own: what was sent is on its way, whatever becomes of its sender.
    let (answer, answered) = oneshot::channel();
    tokio::spawn(deliver(net, from, address, to, outgoing, answer));
    match answered.await {
        Ok(answer) => answer,
        // Lost without a word: the caller's deadline ends it.
        Err(_) => std::future::pending().await,
    }
}

async fn collect(body: Body) -> Result<bytes::Bytes, CallError> {
    body.collect().await.map(http_body_util::Collected::to_bytes).map_err(|error| CallError::Broken(error.to_string()))
}

/// Ends a call of which a message was lost: with an error some time later, or not at all.
async fn lose(net: &Net, answer: oneshot::Sender<Answer>) {
    if net.chance(BREAKS) {
        sleep(net.between(100, 3_000)).await;
        let _ = answer.send(Err(CallError::Broken("the connection was lost".to_owned())));
    }
}

async fn deliver(net: Net, from: Party, address: String, to: Who, outgoing: Outgoing, answer: oneshot::Sender<Answer>) {
    if !from.is_alive() {
        return;
    }
    if net.is_broken(from.who, to) && net.chance(FRESH_CONNECTIONS) {
        sleep(CONNECT_MAX).await;
        let _ = answer.send(Err(CallError::Connect("timed out".to_owned())));
        return;
    }
    let doubled = {
        let state = &mut *net.state();
        matches!(outgoing.body, Payload::Whole(_)) && state.rules.doubles(&mut state.rng, from.who, to)
    };
    if doubled {
        net.count("calls doubled");
        tokio::spawn(double(net.clone(), from.clone(), (address.clone(), to), outgoing.number, again(&outgoing)));
    }
    if !net.carry(from.who, to).await {
        return lose(&net, answer).await;
    }
    let Outgoing { number, parts, body, http2, mark } = outgoing;
    let Some(route) = serving(&net, &address) else {
        if net.carry(to, from.who).await {
            let _ = answer.send(Err(CallError::Connect("refused".to_owned())));
        }
        return;
    };
    let body = match body {
        Payload::Whole(bytes) => {
            arrived(&net, number, parts.uri.path(), from.who, to, &bytes);
            delivered(&net, number);
            full_body(bytes)
        }
        Payload::Stream(body) => {
            arrived(&net, number, parts.uri.path(), from.who, to, &[]);
            body::relay(&net, number, &from, route.party.who, http2, body)
        }
    };
    let asked = Asked { number, method: parts.method.clone(), uri: parts.uri.clone(), http2, mark };
    let handled = handle(&route, parts, body);
    respond(net, asked, from, route.party, handled, answer).await;
}

/// A node is given a request that may be of commands.
fn delivered(net: &Net, number: u64) {
    if let Some(tap) = net.0.tap.get() {
        tap.delivered(number);
    }
}

fn again(outgoing: &Outgoing) -> (http::request::Parts, Payload) {
    let body = match &outgoing.body {
        Payload::Whole(bytes) => bytes.clone(),
        Payload::Stream(_) => bytes::Bytes::new(),
    };
    (outgoing.parts.clone(), Payload::Whole(body))
}

/// The same request once more; nobody hears its answer.
async fn double(
    net: Net,
    from: Party,
    (address, to): (String, Who),
    number: u64,
    (parts, body): (http::request::Parts, Payload),
) {
    sleep(net.between(0, 50)).await;
    let Payload::Whole(bytes) = body else { return };
    if !net.carry(from.who, to).await {
        return;
    }
    let Some(route) = serving(&net, &address) else { return };
    arrived(&net, 0, parts.uri.path(), from.who, to, &bytes);
    delivered(&net, number);
    drop(handle(&route, parts, full_body(bytes)).await);
}

fn serving(net: &Net, address: &str) -> Option<Route> {
    net.state().routes.get(address).filter(|route| route.party.is_alive() && route.router.is_some()).cloned()
}

/// Runs the handler as a task of the process that serves.
fn handle(route: &Route, parts: http::request::Parts, body: Body) -> JoinHandle<axum::response::Response> {
    let router = route.router.clone().unwrap_or_default();
    let request = http::Request::from_parts(parts, axum::body::Body::new(body));
    route.party.tasks.spawn(async move {
        match router.oneshot(request).await {
            Ok(response) => response,
            Err(never) => match never {},
        }
    })
}

/// What is known of a request once it is handed over.
struct Asked {
    number: u64,
    method: http::Method,
    uri: http::Uri,
    http2: bool,
    mark: Mark,
}

async fn respond(
    net: Net,
    asked: Asked,
    from: Party,
    target: Party,
    mut handled: JoinHandle<axum::response::Response>,
    mut answer: oneshot::Sender<Answer>,
) {
    let handled = tokio::select! {
        biased;
        handled = &mut handled => handled,
        () = answer.closed() => {
            if net.chance(GIVEN_UP) && net.carry(from.who, target.who).await {
                handled.abort();
            }
            return;
        }
    };
    let response = match handled {
        Ok(response) if target.is_alive() => response,
        Ok(_) | Err(_) => {
            if net.carry(target.who, from.who).await {
                let _ = answer.send(Err(CallError::Broken("reset by peer".to_owned())));
            }
            return;
        }
    };
    let (parts, body) = response.into_parts();
    let whole = match body.size_hint().exact() {
        Some(_) => match body.collect().await {
            Ok(whole) => Payload::Whole(whole.to_bytes()),
            Err(_) => return,
        },
        None => Payload::Stream(body.map_err(std::io::Error::other).boxed_unsync()),
    };
    if !net.carry(target.who, from.who).await {
        return lose(&net, answer).await;
    }
    let body = match whole {
        Payload::Whole(bytes) => {
            listen(&net, &asked, &parts, from.who, target.who, &bytes);
            arrived(&net, asked.number, parts.status.as_str(), target.who, from.who, &bytes);
            full_body(bytes)
        }
        Payload::Stream(body) => {
            arrived(&net, asked.number, parts.status.as_str(), target.who, from.who, &[]);
            body::relay(&net, asked.number, &target, from.who, asked.http2, body)
        }
    };
    let _ = answer.send(Ok(http::Response::from_parts(parts, body)));
}

/// What a client of a node is told.
fn listen(net: &Net, asked: &Asked, parts: &http::response::Parts, client: Who, server: Who, body: &[u8]) {
    let path = asked.uri.path();
    if path == quorate_api::paths::COMMANDS {
        for name in sniff::refusals(body) {
            *net.state().refusals.entry(name.to_owned()).or_default() += 1;
        }
    }
    let (Who::Node(node), Some(tap)) = (server, net.0.tap.get()) else { return };
    if matches!(client, Who::Node(_)) {
        return;
    }
    if path == quorate_api::paths::COMMANDS {
        tap.commands_answered(asked.number, client, body);
    } else if asked.method == http::Method::GET && parts.status.is_success() {
        tap.read_answered(&asked.mark, node, client, &asked.uri, body);
    }
}
