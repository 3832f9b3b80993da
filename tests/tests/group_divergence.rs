//! Nodes whose states really differ, as an operator meets them: what the processes say and show, what a restart
//! remembers, and what ends it. A failpoint makes a node apply the first command of its log differently.

use std::time::Duration;

use anyhow::{Result, ensure};
use quorate_tests::harness::{Cluster, Process, Setup, Writer, Wrote, binary, eventually};
use serde_json::{Value, json};

const SYMBOL: &str = "BTCUSDT";
const DIFFERS: &str = "--failpoints=state.apply.diverge=error";
const END_MAX: Duration = Duration::from_secs(20);

async fn start() -> Result<(Cluster, Writer)> {
    let cluster = Cluster::start(Setup { symbols: vec![SYMBOL], ..Setup::default() }).await?;
    let mut writer = Writer::open(cluster.api(1), SYMBOL).await?;
    write(&mut writer).await?;
    Ok((cluster, writer))
}

async fn write(writer: &mut Writer) -> Result<()> {
    writer.write(3_000).await;
    eventually("a write that is applied", || async {
        match writer.send(writer.seq(), 3_000).await {
            Wrote::Applied(_) => anyhow::Ok(Some(())),
            Wrote::NotProposed(why) | Wrote::Unknown(why) => anyhow::bail!(why),
        }
    })
    .await
}

async fn status(cluster: &Cluster, id: u64) -> Result<Value> {
    Ok(cluster.get(id, "/v1/status?consistency=local").await?.1["data"].take())
}

async fn until_verdict(cluster: &Cluster, id: u64, verdict: &str) -> Result<()> {
    eventually(&format!("node {id} says '{verdict}'"), || async {
        let status = status(cluster, id).await?;
        ensure!(status["divergence"]["verdict"] == json!(verdict), "{status}");
        anyhow::Ok(Some(()))
    })
    .await
}

/// Neither commands nor reads are taken; the reason has the cure in it.
async fn does_not_serve(cluster: &Cluster, id: u64) -> Result<()> {
    let command = json!({"command": "open_session"});
    for (status, answer) in [
        cluster.get(id, "/v1/positions").await?,
        cluster.get(id, "/v1/positions?consistency=local").await?,
        cluster.get(id, "/readyz").await?,
        cluster.post(id, "/v1/commands", &command).await?,
    ] {
        let detail = answer["detail"].as_str().unwrap_or_default();
        ensure!(status == 503 && detail.contains("run --accept-own-state"), "node {id}: {status} {answer}");
    }
    Ok(())
}

/// Its directory holds its state as it is: a start does not apply the commands anew.
async fn snapshot(cluster: &Cluster, id: u64) -> Result<()> {
    let applied = status(cluster, id).await?["applied_index"].as_u64();
    // A node that does not serve builds it, and says that it does not serve.
    cluster.post(id, "/v1/cluster/snapshot", &json!({})).await?;
    eventually("a snapshot", || async {
        anyhow::Ok((status(cluster, id).await?["snapshot_index"].as_u64() >= applied).then_some(()))
    })
    .await
}

/// It ends by itself, as one that failed, and says why and what cures it.
async fn ends(cluster: &mut Cluster, id: u64) -> Result<()> {
    let status = cluster.take_node(id)?.ended(END_MAX).await?;
    let log = std::fs::read_to_string(cluster.dir().join(format!("node-{id}.log")))?;
    let last = log.lines().last().unwrap_or_default();
    let told = last.contains("differs from the majority's") && last.contains("under a new node id");
    ensure!(status.code() == Some(1) && told, "{status}: {log}");
    Ok(())
}

#[tokio::test]
async fn a_process_whose_state_differs_ends_and_does_not_start_again() -> Result<()> {
    let (mut cluster, mut writer) = start().await?;
    let wrong = 2;
    cluster.take_node(wrong)?.terminate().await?;
    cluster.start_node_with(wrong, &[DIFFERS])?;
    ends(&mut cluster, wrong).await?;
    for flags in [&[][..], &["--accept-own-state"]] {
        cluster.start_node_with(wrong, flags)?;
        ends(&mut cluster, wrong).await?;
    }
    write(&mut writer).await?;
    for id in [1, 3] {
        let status = status(&cluster, id).await?;
        ensure!(status["divergence"] == Value::Null, "node {id} is in doubt: {status}");
    }
    Ok(())
}

/// `raft-node run --accept-own-state`, as an operator types it.
fn run_accepting(cluster: &Cluster, id: u64) -> Result<Process> {
    let api = |id: u64| cluster.api(id).trim_start_matches("http://").to_owned();
    let members: Vec<String> =
        cluster.ids().into_iter().map(|id| format!("{id}=127.0.0.1:{}/{}", cluster.peer_port(id), api(id))).collect();
    let args = [
        "run".to_owned(),
        "--accept-own-state".to_owned(),
        format!("--node-id={id}"),
        format!("--data-dir={}", cluster.dir().join(format!("node-{id}")).display()),
        format!("--listen-peer=127.0.0.1:{}", cluster.peer_port(id)),
        format!("--listen-api={}", api(id)),
        format!("--initial-members={}", members.join(",")),
    ];
    Process::spawn("the node that is named", &binary("raft-node")?, args, &cluster.dir().join("accepting.log"))
}

#[tokio::test]
async fn two_that_differ_serve_nobody_until_an_operator_names_one() -> Result<()> {
    let (mut cluster, mut writer) = start().await?;
    let (named, wrong, away) = (1, 2, 3);
    cluster.take_node(away)?.kill()?;
    cluster.take_node(wrong)?.terminate().await?;
    cluster.start_node_with(wrong, &[DIFFERS])?;
    for id in [named, wrong] {
        until_verdict(&cluster, id, "undecided").await?;
        does_not_serve(&cluster, id).await?;
        snapshot(&cluster, id).await?;
        let metrics = reqwest::get(format!("{}/metrics", cluster.api(id))).await?.bytes().await?;
        let metrics = String::from_utf8_lossy(&metrics);
        ensure!(metrics.contains("\nquorate_state_undecided 1\n"), "{metrics}");
    }
    // Each alone remembers it, and both together.
    for id in [named, wrong] {
        cluster.take_node(id)?.terminate().await?;
    }
    for id in [named, wrong] {
        cluster.start_node(id)?;
        until_verdict(&cluster, id, "undecided").await?;
        does_not_serve(&cluster, id).await?;
    }
    cluster.take_node(named)?.terminate().await?;
    let accepting = run_accepting(&cluster, named)?;
    until_verdict(&cluster, named, "accepted").await?;
    writer.turn_to(cluster.api(named));
    write(&mut writer).await?;
    does_not_serve(&cluster, wrong).await?;
    let chain = status(&cluster, named).await?["divergence"]["others"][0]["chain"].to_string();
    let said = accepting.said();
    let told = said.lines().find(|line| line.contains("WARN") && line.contains(chain.trim_matches('"')));
    ensure!(told.is_some_and(|line| line.contains("given up")), "the operator's word is not in the log: {said}");

    // The third has what was named: a majority.
    cluster.start_node(away)?;
    ends(&mut cluster, wrong).await?;
    writer.turn_to(cluster.api(away));
    write(&mut writer).await
}
