//! The group itself: its nodes side by side, its members, its leader, its snapshots, its fault switch.

use std::{path::Path, time::Duration};

use futures_util::future::join_all;
use quorate_api::{ChangeMembers, CheckpointView, Faults, StatusView};
use quorate_client::ReadOptions;
use serde::Serialize;

use crate::{
    Ctl,
    args::FaultsAction,
    failure::{CtlError, operation_failed},
    output::{Grid, or_dash, short},
    state::on_off,
};

/// How long `status` waits for a node that does not answer.
const STATUS_PATIENCE: Duration = Duration::from_millis(1_000);

/// One row of `status`.
#[derive(Debug, Serialize)]
struct NodeStatus {
    endpoint: String,
    /// `None` where the node did not answer.
    status: Option<StatusView>,
    /// Its last checkpoint.
    checkpoint: Option<CheckpointView>,
    /// Why it did not answer.
    problem: Option<String>,
}

/// What `status` prints as JSON.
#[derive(Debug, Serialize)]
struct GroupStatus {
    nodes: Vec<NodeStatus>,
}

impl Ctl {
    pub(crate) async fn status(&mut self) -> Result<(), CtlError> {
        let nodes = join_all((0..self.client.endpoints()).map(|at| self.node_status(at))).await;
        let group = GroupStatus { nodes };
        self.out.show(&group, show_status)?;
        if group.nodes.iter().all(|node| node.status.is_none()) {
            return Err(CtlError::Unavailable("no node answers".to_owned()));
        }
        Ok(())
    }

    async fn node_status(&self, at: usize) -> NodeStatus {
        let options = ReadOptions::local(at).within(self.timeout.min(STATUS_PATIENCE));
        let endpoint = self.endpoints[at].clone();
        match self.client.status(&options).await {
            Ok(read) => {
                let digests = self.client.digests(&options).await;
                let checkpoint = digests.ok().and_then(|read| read.data.into_iter().max_by_key(|at| at.index));
                NodeStatus { endpoint, status: Some(read.data), checkpoint, problem: None }
            }
            Err(error) => NodeStatus { endpoint, status: None, checkpoint: None, problem: Some(error.to_string()) },
        }
    }

    pub(crate) async fn members(&mut self, change: Option<&Path>) -> Result<(), CtlError> {
        if let Some(path) = change {
            let wrong = |what: String| CtlError::Usage(format!("{}: {what}", path.display()));
            let text = std::fs::read_to_string(path).map_err(|error| wrong(error.to_string()))?;
            let change: ChangeMembers = serde_json::from_str(&text).map_err(|error| wrong(unreadable(&error)))?;
            self.client.change_members(&change, self.timeout).await.map_err(operation_failed)?;
        }
        let read = self.client.cluster(&self.read()).await?;
        self.out.show(&read, |read| {
            let columns = [">node", "peers", "clients", "votes", "leads", ">matched"];
            let mut grid = Grid::new(&columns);
            for member in &read.data.members {
                grid.row([
                    member.node_id.to_string(),
                    member.peer_addr.clone(),
                    member.api_addr.clone(),
                    yes(member.voter),
                    yes(read.data.leader == Some(member.node_id)),
                    or_dash(member.matched_index),
                ]);
            }
            let view = &read.data;
            let mut text = format!(
                "cluster {}, term {}, membership_index {}\n{}",
                view.cluster_id,
                view.term,
                view.membership_index,
                grid.finish()
            );
            if view.joint {
                let sets: Vec<String> = view.voter_sets.iter().map(|set| format!("{set:?}")).collect();
                text.push_str(&format!(
                    "\nJOINT: each of the voter sets {} must agree; the leader finishes it",
                    sets.join(" and ")
                ));
            }
            text
        })
    }

    pub(crate) async fn transfer_leader(&mut self, to: u64) -> Result<(), CtlError> {
        self.client.transfer_leader(to, self.timeout).await.map_err(operation_failed)?;
        self.done(&format!("node {to} leads"))
    }

    pub(crate) async fn snapshot(&mut self, node: Option<usize>) -> Result<(), CtlError> {
        let node = node.map(|node| self.endpoint(node)).transpose()?;
        self.client.snapshot(node, self.timeout).await.map_err(operation_failed)?;
        self.done("snapshot built")
    }

    pub(crate) async fn faults(&mut self, action: FaultsAction) -> Result<(), CtlError> {
        let (nodes, faults) = match action {
            FaultsAction::Set { node, drop_to, drop_from } => {
                (vec![self.endpoint(node)?], Faults { drop_to, drop_from })
            }
            FaultsAction::Clear { node: Some(node) } => (vec![self.endpoint(node)?], Faults::default()),
            FaultsAction::Clear { node: None } => ((0..self.client.endpoints()).collect(), Faults::default()),
        };
        let calls = nodes.iter().map(|node| self.client.set_faults(*node, &faults, self.timeout));
        for outcome in join_all(calls).await {
            outcome.map_err(operation_failed)?;
        }
        self.done("fault switch set")
    }

    /// The place in the configuration of the endpoint counted from 1.
    fn endpoint(&self, node: usize) -> Result<usize, CtlError> {
        let count = self.client.endpoints();
        node.checked_sub(1)
            .filter(|at| *at < count)
            .ok_or_else(|| CtlError::Usage(format!("--node: must be between 1 and {count}")))
    }

    fn done(&self, what: &str) -> Result<(), CtlError> {
        self.out.show(&serde_json::json!({ "done": what }), |_| what.to_owned())
    }
}

/// Why a file of members cannot be read, and what helps.
fn unreadable(error: &serde_json::Error) -> String {
    let hint =
        "write the membership_index that `ledgerctl members` showed with the members from which you made the list";
    let missing = error.to_string().contains("`membership_index`");
    if missing { format!("{error}: {hint}") } else { error.to_string() }
}

fn yes(value: bool) -> String {
    if value { "yes" } else { "-" }.to_owned()
}

fn show_status(group: &GroupStatus) -> String {
    let columns = [
        ">node",
        "endpoint",
        "role",
        ">term",
        ">leader",
        ">applied",
        ">committed",
        ">log",
        ">snapshot",
        "chain",
        "checkpoint",
    ];
    let mut grid = Grid::new(&columns);
    for node in &group.nodes {
        let Some(status) = &node.status else {
            grid.row(["-".to_owned(), node.endpoint.clone(), "does not answer".to_owned()]);
            continue;
        };
        grid.row([
            status.node_id.to_string(),
            node.endpoint.clone(),
            status.role.clone(),
            status.term.to_string(),
            or_dash(status.leader),
            status.applied_index.to_string(),
            status.committed_index.to_string(),
            status.last_log_index.to_string(),
            status.snapshot_index.to_string(),
            short(&status.chain),
            or_dash(node.checkpoint.as_ref().map(|at| format!("{} {}", at.index, short(&at.state)))),
        ]);
    }
    let mut text = grid.finish();
    for status in group.nodes.iter().filter_map(|node| node.status.as_ref()) {
        if let Some(found) = &status.divergence {
            let others: Vec<String> = found.others.iter().map(|other| other.node_id.to_string()).collect();
            text.push_str(&format!(
                "\nnode {}: {}: its state differs at index {} from that of node {}",
                status.node_id,
                found.verdict,
                found.index,
                others.join(", ")
            ));
        }
    }
    let newest = group.nodes.iter().filter_map(|node| node.status.as_ref()).max_by_key(|status| status.applied_index);
    if let Some(status) = newest {
        let control = &status.control;
        text.push_str(&format!(
            "\ncluster {}, control version {}: kill switch {}, quoting {}",
            status.cluster_id,
            control.control_version,
            if control.kill_switch { "ENGAGED" } else { "off" },
            on_off(control.quoting),
        ));
        for (what, off) in [
            ("symbols", control.symbols_off.iter().map(ToString::to_string).collect::<Vec<_>>()),
            ("makers", control.makers_off.iter().map(ToString::to_string).collect()),
        ] {
            if !off.is_empty() {
                text.push_str(&format!(", off for {what} {}", off.join(" ")));
            }
        }
        text.push_str(&format!(
            "\n{} fills, {} open orders, {} sessions, events kept from index {}",
            status.fills, status.open_orders, status.sessions, status.first_event_index
        ));
    }
    text
}
