//! The audit of the whole group: each node recomputes its ledger, and all states are compared at one
//! common index.

use std::{collections::BTreeMap, time::Duration};

use futures_util::future::join_all;
use quorate_api::{AuditView, Read};
use quorate_client::ReadOptions;
use quorate_ledger::Digest;
use serde::Serialize;
use tokio::time::Instant;

use crate::{
    Ctl,
    failure::CtlError,
    output::{Grid, short},
};

/// Pause between two rounds while the nodes stand at different indexes.
const ROUND_PAUSE: Duration = Duration::from_millis(50);

/// What the audit found at one node.
#[derive(Debug, Serialize)]
struct NodeAudit {
    endpoint: String,
    audit: Option<Read<AuditView>>,
    problem: Option<String>,
}

/// Where the nodes were compared.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
struct Comparison {
    index: u64,
    equal: bool,
}

/// What `audit` prints as JSON.
#[derive(Debug, Serialize)]
struct Report {
    ok: bool,
    nodes: Vec<NodeAudit>,
    compared: Option<Comparison>,
    problems: Vec<String>,
}

impl Ctl {
    pub(crate) async fn audit(&mut self) -> Result<(), CtlError> {
        let deadline = self.deadline();
        let options = ReadOptions::linearizable().within(self.timeout);
        let mut at_least = self.client.status(&options).await?.applied_index;
        let mut nodes;
        // Idle nodes meet at one index; busy ones pass the same checkpoints.
        let compared = loop {
            nodes = join_all((0..self.client.endpoints()).map(|at| self.audit_node(at, at_least, deadline))).await;
            let compared = match compare_audits(&nodes) {
                Some(compared) => Some(compared),
                None => self.compare_checkpoints(deadline).await,
            };
            // Who did not answer is asked again, as long as there is time.
            let all = nodes.iter().all(|node| node.audit.is_some());
            if all && compared.is_some() || Instant::now() + ROUND_PAUSE >= deadline {
                break compared;
            }
            let indexes = nodes.iter().filter_map(|node| node.audit.as_ref()).map(|audit| audit.applied_index);
            at_least = indexes.max().unwrap_or(at_least);
            tokio::time::sleep(ROUND_PAUSE).await;
        };
        let problems = problems(&nodes, compared);
        let silent = nodes.iter().filter(|node| node.audit.is_none()).count();
        let wrong = problems.len();
        let report = Report { ok: wrong == 0 && silent == 0, nodes, compared, problems };
        self.out.show(&report, show)?;
        if wrong > 0 {
            return Err(CtlError::Check(format!("{wrong} found")));
        }
        if silent > 0 {
            return Err(CtlError::Unavailable(format!("{silent} nodes could not be audited")));
        }
        Ok(())
    }

    async fn audit_node(&self, at: usize, index: u64, deadline: Instant) -> NodeAudit {
        let left = deadline.saturating_duration_since(Instant::now());
        let options = ReadOptions::local(at).at_least(index).within(left);
        let endpoint = self.endpoints[at].clone();
        match self.client.audit(&options).await {
            Ok(audit) => NodeAudit { endpoint, audit: Some(audit), problem: None },
            Err(error) => NodeAudit { endpoint, audit: None, problem: Some(error.to_string()) },
        }
    }

    /// Compares all nodes at the newest checkpoint that all of them have.
    async fn compare_checkpoints(&self, deadline: Instant) -> Option<Comparison> {
        let left = deadline.saturating_duration_since(Instant::now());
        let reads = (0..self.client.endpoints()).map(|at| {
            let options = ReadOptions::local(at).within(left);
            async move { self.client.digests(&options).await }
        });
        let mut by_node: Vec<BTreeMap<u64, (Digest, Digest)>> = Vec::new();
        for read in join_all(reads).await {
            by_node.push(read.ok()?.data.into_iter().map(|at| (at.index, (at.chain, at.state))).collect());
        }
        newest_common(&by_node)
    }
}

fn newest_common(by_node: &[BTreeMap<u64, (Digest, Digest)>]) -> Option<Comparison> {
    let (first, others) = by_node.split_first().filter(|(_, others)| !others.is_empty())?;
    let common = first.iter().rev().find(|(index, _)| others.iter().all(|other| other.contains_key(*index)));
    common.map(|(index, digests)| Comparison {
        index: *index,
        equal: others.iter().all(|other| other.get(index) == Some(digests)),
    })
}

/// Compares the audits themselves, where they were all made at one index.
fn compare_audits(nodes: &[NodeAudit]) -> Option<Comparison> {
    let mut audits = nodes.iter().filter_map(|node| node.audit.as_ref());
    let first = audits.next()?;
    let others: Vec<_> = audits.collect();
    if others.is_empty() || others.iter().any(|other| other.applied_index != first.applied_index) {
        return None;
    }
    let same = |other: &&Read<AuditView>| other.data.state == first.data.state && other.data.chain == first.data.chain;
    Some(Comparison { index: first.applied_index, equal: others.iter().all(same) })
}

fn problems(nodes: &[NodeAudit], compared: Option<Comparison>) -> Vec<String> {
    let mut problems = Vec::new();
    for node in nodes {
        if let Some(audit) = &node.audit {
            problems.extend(audit.data.violations.iter().map(|what| format!("{}: {what}", node.endpoint)));
        }
    }
    let answered = nodes.iter().filter(|node| node.audit.is_some()).count();
    match compared {
        Some(Comparison { equal: true, .. }) => {}
        Some(Comparison { index, equal: false }) => problems.push(format!("the nodes' states differ at index {index}")),
        None if answered > 1 => problems.push("the nodes could not be compared at one index in time".to_owned()),
        None => {}
    }
    problems
}

fn show(report: &Report) -> String {
    let mut grid = Grid::new(&["endpoint", ">node", ">index", "state", "chain", ">violations"]);
    for node in &report.nodes {
        match &node.audit {
            Some(audit) => grid.row([
                node.endpoint.clone(),
                audit.node_id.to_string(),
                audit.applied_index.to_string(),
                short(&audit.data.state),
                short(&audit.data.chain),
                audit.data.violations.len().to_string(),
            ]),
            None => grid.row([node.endpoint.clone(), "-".to_owned(), "does not answer".to_owned()]),
        }
    }
    let mut text = grid.finish();
    if let Some(compared) = report.compared {
        let verdict = if compared.equal { "equal" } else { "DIFFERENT" };
        text.push_str(&format!("\nstates compared at index {}: {verdict}", compared.index));
    }
    for node in &report.nodes {
        if let Some(problem) = &node.problem {
            text.push_str(&format!("\nno audit of {}: {problem}", node.endpoint));
        }
    }
    for problem in &report.problems {
        text.push_str(&format!("\nwrong: {problem}"));
    }
    text
}
