//! Changes of the members and of the leader by hand, with addresses that are wrong and nodes that hang.

#![allow(clippy::disallowed_methods, reason = "real processes live on the real clock")]

use std::time::{Duration, Instant};

use anyhow::{Context, Result, ensure};
use quorate_tests::harness::{Cluster, Setup, eventually};
use serde_json::{Value, json};

const CLUSTER: &str = "/v1/cluster?consistency=local";
const MEMBERS: &str = "/v1/cluster/members";
const TRANSFER: &str = "/v1/cluster/transfer-leader";
/// A question is waited for a second; the rest is for a busy machine.
const REFUSED_WITHIN: Duration = Duration::from_millis(3_000);

async fn view(cluster: &Cluster, id: u64) -> Result<Value> {
    Ok(cluster.get(id, CLUSTER).await?.1["data"].clone())
}

/// `view` as a change of the members, and with one more.
fn with(view: &Value, id: u64, peer_addr: &str) -> Result<Value> {
    let mut members: Vec<Value> = Vec::new();
    for member in view["members"].as_array().context("members")? {
        let mut member = member.clone();
        let fields = member.as_object_mut().context("a member")?;
        fields.remove("matched_index");
        fields.remove("store_id");
        members.push(member);
    }
    members.push(json!({"node_id": id, "peer_addr": peer_addr, "api_addr": "127.0.0.1:9", "voter": true}));
    Ok(json!({"membership_index": view["membership_index"], "members": members}))
}

/// Sets the limit that is set already, which is a commit like any other.
fn commits(cluster: &Cluster) -> Result<()> {
    cluster.ledgerctl(&["limit", "100"]).map(drop)
}

#[tokio::test(flavor = "multi_thread")]
async fn a_wrong_address_never_becomes_a_member() -> Result<()> {
    for nodes in [1, 3] {
        let cluster = Cluster::start(Setup { nodes, symbols: vec!["BTCUSDT"], ..Setup::default() }).await?;
        let leader = cluster.leader().await?;
        let before = view(&cluster, leader).await?;
        let somebody_else = format!("127.0.0.1:{}", cluster.peer_port(leader));
        for id in cluster.ids() {
            // Nobody listens at the discard port; nothing comes back from a documentation address; another node.
            for addr in ["127.0.0.1:9", "192.0.2.1:7001", somebody_else.as_str()] {
                let asked = Instant::now();
                let (status, answer) = cluster.post(id, MEMBERS, &with(&before, 77, addr)?).await?;
                ensure!(status == 409 && answer["type"] == "urn:quorate:conflict", "{addr}: {status} {answer}");
                ensure!(asked.elapsed() < REFUSED_WITHIN, "{addr}: {:?}", asked.elapsed());
                commits(&cluster)?;
            }
        }
        let after = view(&cluster, leader).await?;
        for field in ["membership_index", "voter_sets", "joint", "term"] {
            ensure!(after[field] == before[field], "{field}: {} and then {}", before[field], after[field]);
        }
    }
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn a_node_that_hangs_gets_no_leadership_and_holds_up_no_operator() -> Result<()> {
    let mut cluster = Cluster::start(Setup { symbols: vec!["BTCUSDT"], ..Setup::default() }).await?;
    let leader = cluster.leader().await?;
    let term = view(&cluster, leader).await?["term"].clone();
    let mut followers = cluster.ids().into_iter().filter(|id| *id != leader);
    let hung = followers.next().context("a follower")?;
    let other = followers.next().context("another follower")?;
    cluster.node(hung)?.pause()?;
    for id in [leader, other] {
        let (status, answer) = cluster.post(id, TRANSFER, &json!({"to": hung})).await?;
        ensure!(status == 409 && answer["outcome_unknown"] == false, "{status} {answer}");
        commits(&cluster)?;
    }
    let now = view(&cluster, leader).await?;
    ensure!(now["leader"] == leader && now["term"] == term, "{now} after term {term}");

    // It is the first that is asked.
    let endpoints = [cluster.api(hung), cluster.api(other), cluster.api(leader)].join(",");
    let asked = Instant::now();
    cluster.ledgerctl(&["snapshot", "--endpoints", &endpoints])?;
    cluster.ledgerctl(&["transfer-leader", &other.to_string(), "--endpoints", &endpoints])?;
    ensure!(asked.elapsed() < Duration::from_secs(8), "{:?}", asked.elapsed());
    cluster.node(hung)?.resume()?;
    eventually("the one that hung follows the new leader", || async {
        let view = view(&cluster, hung).await?;
        anyhow::Ok((view["leader"] == other).then_some(()))
    })
    .await?;
    commits(&cluster)
}
