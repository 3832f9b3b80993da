//! Bad requests to a node, one row each, with what it must answer: those that never reach the ledger.

use serde_json::{Value, json};

use super::wire::{Ask, FORM};

/// What is sent.
#[derive(Debug, Clone)]
pub(crate) enum Sent {
    /// This request.
    Http(Ask),
    /// This command, in the session of the test and with its next number.
    Command(Value),
}

/// A bad request and its answer.
#[derive(Debug, Clone)]
pub(crate) struct Row {
    pub(crate) what: &'static str,
    pub(crate) sent: Sent,
    pub(crate) status: u16,
    /// The kind of the problem; for `refused` the ledger's word after a colon.
    pub(crate) kind: &'static str,
}

pub(super) fn row(what: &'static str, ask: Ask, status: u16, kind: &'static str) -> Row {
    Row { what, sent: Sent::Http(ask), status, kind }
}

pub(super) fn command(what: &'static str, command: Value, status: u16, kind: &'static str) -> Row {
    Row { what, sent: Sent::Command(command), status, kind }
}

pub(super) const INVALID: &str = "invalid-request";
pub(super) const COMMANDS: &str = "/v1/commands";
const MEMBERS: &str = "/v1/cluster/members";
/// Bytes of a body at most.
const BODY_MAX: usize = 1 << 20;

/// What is not a request of this API at all.
pub(crate) fn unreadable() -> Vec<Row> {
    let post = |what, body: Vec<u8>| row(what, Ask::json(COMMANDS, body), 400, INVALID);
    let text = |what, body: &str| post(what, body.as_bytes().to_vec());
    let one = r#"{"command":"open_session"}"#;
    let batch_of = |count: usize| format!("[{}]", vec![one; count].join(","));
    vec![
        text("half a body", r#"{"command":"#),
        text("no body", ""),
        text("only spaces", "  \n "),
        text("two bodies", &format!("{one}{one}")),
        text("a null", "null"),
        text("a number", "42"),
        text("a text", r#""open_session""#),
        text("NaN", r#"{"session":NaN,"command":"open_session"}"#),
        post("bytes that are no text", vec![0xff, 0xfe, 0x00]),
        post("a lone surrogate", br#"{"command":{"close_session":"\ud800"}}"#.to_vec()),
        text("a session that is a text", r#"{"session":"one","command":"open_session"}"#),
        text("a negative session", r#"{"session":-1,"command":"open_session"}"#),
        text("a seq that is a fraction", r#"{"session":1,"seq":1.5,"command":"close_session"}"#),
        text("a session of 65 bits", r#"{"session":18446744073709551616,"command":"open_session"}"#),
        text("a seq of 400 digits", r#"{"session":1,"seq":1e400,"command":"close_session"}"#),
        text("a field too many", r#"{"command":"open_session","force":true}"#),
        text("a field twice", r#"{"command":"open_session","command":"open_session"}"#),
        text("no command", r#"{"session":1,"seq":1}"#),
        text("an unknown command", r#"{"command":"close_everything"}"#),
        text("two commands", r#"{"command":{"open_session":null,"close_session":null}}"#),
        text("a command without its fields", r#"{"command":{"define_symbol":{}}}"#),
        text("a batch with one that cannot be read", &format!("[{one},{{}}]")),
        text("an empty batch", "[]"),
        post("arrays too deep", vec![b'['; 100_000]),
        post("objects too deep", br#"{"command":"#.repeat(50_000)),
        row("a batch too long", Ask::json(COMMANDS, batch_of(257)), 413, "too-large"),
        row("a body too large", Ask::json(COMMANDS, vec![b' '; BODY_MAX + 1]), 413, "too-large"),
        row("a huge body", Ask::json(COMMANDS, vec![b'['; 8 * BODY_MAX]), 413, "too-large"),
        row("no content type", Ask::new("POST", COMMANDS).body(one), 415, "unsupported-media-type"),
        row(
            "text for JSON",
            Ask::new("POST", COMMANDS).header("content-type", "text/plain").body(one),
            415,
            "unsupported-media-type",
        ),
        row(
            "a form for JSON",
            Ask::new("POST", MEMBERS).header("content-type", FORM).body("members="),
            415,
            "unsupported-media-type",
        ),
        row(
            "a content type that is no text",
            Ask::new("POST", COMMANDS).header("content-type", vec![0xff]).body(one),
            415,
            "unsupported-media-type",
        ),
    ]
}

/// Where there is nothing, or nothing for this caller.
pub(crate) fn misdirected() -> Vec<Row> {
    let one = r#"{"command":"open_session"}"#;
    let deadline = |what, value: &str| {
        row(what, Ask::json(COMMANDS, one).header("x-quorate-deadline-ms", value.as_bytes()), 400, INVALID)
    };
    let method = |what, method, path: &str| row(what, Ask::new(method, path), 405, "method-not-allowed");
    vec![
        row("an unknown path", Ask::get("/v2/positions"), 404, "not-found"),
        row("a path below one", Ask::get("/v1/positions/BTCUSDT"), 404, "not-found"),
        row("a slash too many", Ask::json("/v1/commands/", one), 404, "not-found"),
        row("a path that is no text", Ask::get("/v1/%ff%00"), 404, "not-found"),
        row("a long path", Ask::get(format!("/{}", "a".repeat(8_000))), 404, "not-found"),
        method("reading commands", "GET", COMMANDS),
        method("deleting positions", "DELETE", "/v1/positions"),
        method("writing positions", "POST", "/v1/positions"),
        method("putting a member", "PUT", MEMBERS),
        method("patching health", "PATCH", "/livez"),
        method("posting events", "POST", "/v1/events"),
        method("an unheard of method", "BREW", "/v1/status"),
        row("another cluster", Ask::json(COMMANDS, one).header("x-quorate-cluster", "other"), 421, "wrong-cluster"),
        row("no cluster", Ask::get("/v1/positions").header("x-quorate-cluster", ""), 421, "wrong-cluster"),
        row(
            "a cluster that is no text",
            Ask::get("/livez").header("x-quorate-cluster", vec![0xfe]),
            421,
            "wrong-cluster",
        ),
        deadline("no time at all", "0"),
        deadline("time that has passed", "-1"),
        deadline("time in words", "soon"),
        deadline("more time than there is", "18446744073709551616"),
        deadline("an empty deadline", ""),
    ]
}

/// Reads that ask for what cannot be.
pub(crate) fn unanswerable() -> Vec<Row> {
    let invalid = |what, query: &str| row(what, Ask::get(format!("/v1/{query}")), 400, INVALID);
    let missing = |what, query: &str| row(what, Ask::get(format!("/v1/{query}")), 404, "not-found");
    vec![
        invalid("a consistency there is not", "positions?consistency=eventual"),
        invalid("an index below 0", "positions?min_index=-1"),
        invalid("an index of 65 bits", "positions?min_index=18446744073709551616"),
        invalid("an index that is a fraction", "status?min_index=1.0"),
        invalid("a parameter there is not", "positions?sort=asc"),
        invalid("a parameter of another read", "quotes?limit=5"),
        invalid("a symbol where none is asked for", "audit?symbol=BTCUSDT"),
        invalid("a parameter twice", "positions?symbol=BTCUSDT&symbol=ETHUSDT"),
        invalid("a symbol that cannot be", "positions?symbol=btc%20usdt"),
        invalid("a symbol that is no text", "positions?symbol=%ff%fe"),
        invalid("an empty symbol", "exposure?symbol="),
        invalid("a symbol too long", "quotes?symbol=AAAAAAAAAAAAAAAAAAAAA"),
        missing("a symbol that nobody defined", "positions?symbol=NOPE"),
        missing("makers of such a symbol", "makers?symbol=NOPE"),
        missing("orders of such a symbol", "orders?symbol=NOPE"),
        missing("fills of such a symbol", "fills?symbol=NOPE"),
        invalid("no rows", "orders?limit=0"),
        invalid("too many rows", "orders?limit=1001"),
        invalid("rows below 0", "fills?limit=-1"),
        invalid("an order by its name alone", "orders?client_order_id=a"),
        invalid("a name that cannot be", "orders?account=a&client_order_id=%20"),
        invalid("neither open nor closed", "orders?open=maybe"),
        invalid("an order id below 0", "orders?order_id=-7"),
        invalid("fills from nowhere", "fills?from=first"),
        invalid("events from below 0", "events?from=-1"),
        invalid("events from nowhere", "events?from="),
        invalid("events with a parameter there is not", "events?to=5"),
        row("a last event in words", Ask::get("/v1/events").header("last-event-id", "last"), 400, INVALID),
        row(
            "a last event of 65 bits",
            Ask::get("/v1/events").header("last-event-id", "18446744073709551616"),
            400,
            INVALID,
        ),
    ]
}

/// Changes of the group that cannot be. `first` is a member as it is.
pub(crate) fn impossible_groups(first: &Value) -> Vec<Row> {
    let change = |index: Value, members: Value| {
        Ask::json(MEMBERS, json!({"membership_index": index, "members": members}).to_string())
    };
    let members = |what, members: Value| row(what, change(json!(0), members), 400, INVALID);
    let body = |what, path: &str, body: &str| row(what, Ask::json(path, body), 400, INVALID);
    let with = |field: &str, value: Value| {
        let mut member = first.clone();
        member[field] = value;
        member
    };
    let many: Vec<Value> = (1..=10).map(|id| with("node_id", json!(id))).collect();
    let transfer = "/v1/cluster/transfer-leader";
    vec![
        members("nobody", json!([])),
        members("one twice", json!([first, first])),
        members("node 0", json!([with("node_id", json!(0))])),
        members("node -1", json!([with("node_id", json!(-1))])),
        members("nobody votes", json!([with("voter", json!(false))])),
        members("ten", json!(many)),
        members("an address without a port", json!([with("peer_addr", json!("localhost"))])),
        members("an address with a port too high", json!([with("api_addr", json!("localhost:65536"))])),
        members("an address of 300 bytes", json!([with("api_addr", json!(format!("{}:1", "a".repeat(300))))])),
        members("another address for a member", json!([with("peer_addr", json!("127.0.0.1:1"))])),
        members("a member with a field too many", json!([with("weight", json!(2))])),
        members("a member that is a number", json!([1])),
        row("members of a time that is not now", change(json!(1_000_000), json!([first])), 409, "conflict"),
        row("one of three members", change(json!(0), json!([first])), 409, "conflict"),
        row("members of before the beginning", change(json!(-1), json!([first])), 400, INVALID),
        row("members of no time", Ask::json(MEMBERS, json!({"members": [first]}).to_string()), 400, INVALID),
        body("members missing", MEMBERS, r#"{"membership_index":0}"#),
        body("members null", MEMBERS, r#"{"membership_index":0,"members":null}"#),
        body("a leader that is no member", transfer, r#"{"to":9}"#),
        body("a leader in words", transfer, r#"{"to":"node-1"}"#),
        body("a leader below 0", transfer, r#"{"to":-1}"#),
        body("no leader named", transfer, "{}"),
        body("a fault switch in words", "/v1/faults", r#"{"drop_to":"all","drop_from":[]}"#),
    ]
}
