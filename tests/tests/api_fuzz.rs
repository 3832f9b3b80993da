//! Requests made up from a node's own OpenAPI document, whole and broken: every answer is one that the document
//! promises, no process ends, and the ledger stays sound.
//!
//! `QUORATE_FUZZ_SEED` sets the seed, `QUORATE_FUZZ_REQUESTS` the number of requests.

use std::{
    collections::{BTreeMap, BTreeSet},
    time::Duration,
};

use anyhow::{Context, Result, ensure};
use futures_util::future::join_all;
use quorate_tests::{
    fuzz::{Fuzzer, Request},
    harness::{Cluster, Setup, eventually},
};
use serde_json::{Value, json};

const SYMBOL: &str = "BTCUSDT";
const SEED: u64 = 20_261_121;
const REQUESTS: usize = 2_000;
/// Requests on their way at once.
const AT_ONCE: usize = 48;
/// Kinds of refusal by the ledger that must have been met.
const REFUSALS_MIN: usize = 8;
const MEMBERS: &str = "/v1/cluster/members";

/// What the answers to made-up requests came to.
#[derive(Debug, Default)]
struct Answers {
    statuses: BTreeMap<u16, u32>,
    refusals: BTreeSet<String>,
}

/// Sends a request, and holds the answer against the document.
async fn try_one(
    http: &reqwest::Client,
    base: &str,
    fuzzer: &Fuzzer,
    request: &Request,
) -> Result<(u16, Option<String>)> {
    let method = reqwest::Method::from_bytes(request.method.as_bytes())?;
    let mut call = http.request(method, format!("{base}{}", request.target));
    for (name, value) in &request.headers {
        call = call.header(name, value);
    }
    if let Some(body) = &request.body {
        call = call.body(body.clone());
    }
    let answer = call.send().await?;
    let status = answer.status().as_u16();
    let content = answer.headers().get("content-type").and_then(|value| value.to_str().ok()).unwrap_or_default();
    let content = content.split(';').next().unwrap_or_default().to_owned();
    let types = fuzzer.documented(request, status).with_context(|| format!("{status} is not in the document"))?;
    ensure!(types.contains(&content), "{status} as {content}, and not as one of {types:?}");
    ensure!(status != 500, "an internal error: {:?}", answer.bytes().await?);
    ensure!(status != 200 || !body_is_of_another_type(request), "a body of another type is taken");
    let mut refusal = None;
    match content.as_str() {
        "application/problem+json" => {
            let problem: Value = serde_json::from_slice(&answer.bytes().await?)?;
            ensure!(problem["status"] == status, "{status} says of itself {problem}");
            ensure!(problem["type"].as_str().is_some_and(|kind| kind.starts_with("urn:quorate:")), "{problem}");
            ensure!(problem["detail"].as_str().is_some_and(|detail| !detail.is_empty()), "no reason: {problem}");
            let refused = &problem["refused"]["outcome"]["refused"];
            let name = refused.as_str().or_else(|| refused.as_object()?.keys().next().map(String::as_str));
            refusal = name.map(str::to_owned);
        }
        "application/json" => drop(serde_json::from_slice::<Value>(&answer.bytes().await?)?),
        // Text; or a stream of events, which has no end.
        _ => {}
    }
    Ok((status, refusal))
}

fn body_is_of_another_type(request: &Request) -> bool {
    request.headers.iter().any(|(name, value)| name == "content-type" && value != "application/json")
}

async fn sessions(cluster: &Cluster, count: usize) -> Result<Vec<Value>> {
    let batch = vec![json!({"command": "open_session"}); count];
    let (_, opened) = cluster.post(1, "/v1/commands", &Value::Array(batch)).await?;
    let opened = opened.as_array().context("an array")?;
    Ok(opened.iter().map(|one| one["response"]["outcome"]["accepted"]["session_opened"]["session"].clone()).collect())
}

fn setting<T: std::str::FromStr>(name: &str, default: T) -> Result<T>
where
    T::Err: std::error::Error + Send + Sync + 'static,
{
    std::env::var(name).map_or(Ok(default), |text| text.parse().with_context(|| name.to_owned()))
}

#[tokio::test(flavor = "multi_thread")]
async fn the_api_keeps_to_its_document_whatever_it_is_sent() -> Result<()> {
    let (seed, requests) = (setting("QUORATE_FUZZ_SEED", SEED)?, setting("QUORATE_FUZZ_REQUESTS", REQUESTS)?);
    println!("QUORATE_FUZZ_SEED={seed} QUORATE_FUZZ_REQUESTS={requests}");
    let mut cluster = Cluster::start(Setup { symbols: vec![SYMBOL, "ETHUSDT"], ..Setup::default() }).await?;
    // A connection on which a body was refused half-read is not used again.
    let builder = reqwest::Client::builder().no_proxy().pool_max_idle_per_host(0);
    let http = builder.timeout(Duration::from_secs(15)).build()?;
    let (_, document) = cluster.get(1, "/openapi.json").await?;
    let hints: BTreeMap<String, Vec<Value>> = [
        ("session", sessions(&cluster, 64).await?),
        ("seq", (1..500).map(|seq| json!(seq)).collect()),
        ("control_version", (0..4).map(|version| json!(version)).collect()),
        ("symbol", vec![json!(SYMBOL), json!("ETHUSDT"), json!("NOPE")]),
        ("maker", vec![json!("alpha"), json!("beta")]),
        ("ttl_ms", vec![json!(30_000), json!(9_000)]),
        ("tick_size", vec![json!("0.01")]),
        ("min_index", vec![json!(1)]),
        ("from", vec![json!(1)]),
        ("to", vec![json!(1), json!(2), json!(3)]),
        ("x-quorate-cluster", vec![json!("quorate")]),
        ("x-quorate-deadline-ms", vec![json!(1_000)]),
    ]
    .map(|(name, values)| (name.to_owned(), values))
    .into();
    let mut fuzzer = Fuzzer::new(document, hints, seed)?;
    let mut answers = Answers::default();
    let mut touched: BTreeSet<String> = BTreeSet::new();
    for from in (0..requests).step_by(AT_ONCE) {
        // A change of members that happens to be right would take the cluster apart; `api_bad_input` tries wrong ones.
        // Every other request is a command, for there are many kinds of them.
        let batch: Vec<Request> = (from..(from + AT_ONCE).min(requests))
            .map(|number| fuzzer.next(|_, path| path != MEMBERS && (number % 2 == 0 || path == "/v1/commands")))
            .collect();
        let calls = batch.iter().zip(cluster.ids().into_iter().cycle()).map(|(request, id)| {
            let base = cluster.api(id);
            let (http, fuzzer) = (&http, &fuzzer);
            async move { try_one(http, &base, fuzzer, request).await.with_context(|| format!("{request:?}")) }
        });
        for answer in join_all(calls).await {
            let (status, refusal) = answer?;
            *answers.statuses.entry(status).or_default() += 1;
            answers.refusals.extend(refusal);
        }
        touched.extend(batch.into_iter().map(|request| request.template));
    }
    println!("{requests} requests: {answers:?}");
    let missed: Vec<_> =
        fuzzer.operations().map(|(_, path)| path).filter(|path| !touched.contains(*path) && *path != MEMBERS).collect();
    ensure!(missed.is_empty(), "never tried: {missed:?}");
    for status in [200, 400, 404, 409, 415, 422] {
        ensure!(answers.statuses.contains_key(&status), "no answer was {status}: {answers:?}");
    }
    ensure!(answers.refusals.len() >= REFUSALS_MIN, "hardly anything reached the ledger: {answers:?}");

    eventually("an audit without findings", || async { anyhow::Ok(cluster.ledgerctl(&["audit"]).ok()) }).await?;
    let exposure = cluster.read("/v1/exposure").await?;
    for side in ["long", "short"] {
        ensure!(exposure[side].as_i64() <= exposure["limit"].as_i64(), "{exposure}");
    }
    for id in cluster.ids() {
        let node = cluster.node(id)?;
        ensure!(node.is_running() && !node.said().contains("panicked"), "node {id}:\n{}", node.said());
    }
    Ok(())
}
