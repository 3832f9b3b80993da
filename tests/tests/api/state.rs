//! What a request must not change, and whether the processes took harm.

use std::collections::BTreeMap;

use anyhow::{Context, Result, ensure};
use futures_util::future::join_all;
use quorate_tests::{
    harness::{Cluster, eventually},
    replay::{Findings, replay},
};
use serde_json::{Value, json};

/// Rows that requests are judged by.
const VIEWS: [&str; 8] = ["positions", "exposure", "quotes", "authority", "makers", "symbols", "orders", "fills"];
/// Figures of the status that only accepted commands change.
const FIGURES: [&str; 7] =
    ["control", "fills", "open_orders", "sessions", "exchange_epoch", "ledger_version", "cluster_id"];

/// All that the group holds, read linearizably at one node.
#[derive(Debug, PartialEq)]
pub(crate) struct State {
    /// Rows and figures: what no refused request changes.
    pub(crate) rows: BTreeMap<&'static str, Value>,
    /// Index and digest of the whole state: what nothing changes that is not even proposed.
    pub(crate) at: (u64, Value),
    /// The Raft term: what no request changes.
    pub(crate) term: Value,
}

impl State {
    pub(crate) async fn read(cluster: &Cluster, node: u64) -> Result<Self> {
        let views = join_all(VIEWS.map(|view| data(cluster, node, view))).await;
        let mut rows = BTreeMap::new();
        for (view, read) in VIEWS.into_iter().zip(views) {
            let mut read = read?.0;
            if view == "positions" {
                forget_marks(&mut read);
            }
            rows.insert(view, read);
        }
        let (status, _) = data(cluster, node, "status").await?;
        for figure in FIGURES {
            rows.insert(figure, status[figure].clone());
        }
        let (audit, index) = data(cluster, node, "audit").await?;
        ensure!(audit["violations"] == json!([]), "{audit}");
        Ok(Self { rows, at: (index, audit["state"].clone()), term: status["term"].clone() })
    }

    /// What is not as it was.
    pub(crate) fn changed(&self, before: &Self) -> Vec<String> {
        let rows = self.rows.iter().filter(|(name, row)| before.rows[*name] != **row);
        rows.map(|(name, row)| format!("{name}: {} -> {row}", before.rows[name])).collect()
    }
}

/// Takes away what moves with the exchange's reference price, whatever is asked of it.
fn forget_marks(positions: &mut Value) {
    for row in positions.as_array_mut().into_iter().flatten().filter_map(Value::as_object_mut) {
        row.retain(|field, _| !matches!(field.as_str(), "mark" | "unrealised"));
    }
}

async fn data(cluster: &Cluster, node: u64, view: &str) -> Result<(Value, u64)> {
    eventually(view, || async {
        let (status, mut answer) = cluster.get(node, &format!("/v1/{view}")).await?;
        ensure!(status == 200, "{view}: {status} {answer}");
        let index = answer["applied_index"].as_u64().context("an index")?;
        Ok(Some((answer["data"].take(), index)))
    })
    .await
}

/// Demands that every process still runs, under the id that it had, and never panicked.
pub(crate) fn unharmed(cluster: &mut Cluster, with_exchange: bool) -> Result<()> {
    for id in cluster.ids() {
        let node = cluster.node(id)?;
        ensure!(node.is_running(), "node {id} ended: {}", node.said());
        ensure!(!node.said().contains("panicked"), "node {id} panicked: {}", node.said());
    }
    if with_exchange {
        let exchange = cluster.exchange()?;
        ensure!(exchange.is_running(), "the exchange ended: {}", exchange.said());
        ensure!(!exchange.said().contains("panicked"), "the exchange panicked: {}", exchange.said());
    }
    Ok(())
}

/// Demands that the nodes agree, and that a naive replay of the events of each finds nothing wrong.
pub(crate) fn sound(cluster: &Cluster) -> Result<Findings> {
    cluster.ledgerctl(&["audit"])?;
    let mut longest = Findings::default();
    for export in cluster.exports()? {
        let found = replay(&export);
        ensure!(found.violations.is_empty(), "the replay found: {:#?}", found.violations);
        longest = found;
    }
    Ok(longest)
}

/// A session in which commands are sent, each with the next number.
#[derive(Debug)]
pub(crate) struct Session {
    pub(crate) id: u64,
    pub(crate) seq: u64,
}

impl Session {
    pub(crate) async fn open(cluster: &Cluster, node: u64) -> Result<Self> {
        let (status, answer) = cluster.post(node, "/v1/commands", &json!({"command": "open_session"})).await?;
        let id = answer["outcome"]["accepted"]["session_opened"]["session"].as_u64();
        Ok(Self { id: id.with_context(|| format!("{status} {answer}"))?, seq: 0 })
    }

    /// The next command, as it is sent.
    pub(crate) fn wrap(&mut self, command: &Value) -> Value {
        self.seq += 1;
        json!({"session": self.id, "seq": self.seq, "command": command})
    }

    /// Has a command accepted: what it did.
    pub(crate) async fn accepted(&mut self, cluster: &Cluster, node: u64, command: &Value) -> Result<Value> {
        let (status, mut answer) = cluster.post(node, "/v1/commands", &self.wrap(command)).await?;
        ensure!(status == 200, "{command}: {status} {answer}");
        Ok(answer["outcome"]["accepted"].take())
    }
}
