//! Requests that a group must refuse, sent to its leader: leadership for a dead node, a member at an address where nobody
//! listens, a member that belongs to another group.

use std::{os::unix::process::ExitStatusExt, time::Duration};

use anyhow::{Context, Result, ensure};
use serde_json::{Value, json};

use super::{
    arena::Arena,
    fault::{Fault, Happened, Kind, Pick, Step},
    kill::SIGKILL,
    network::Host,
};
use crate::harness::Foreign;

/// What the leader has for one request, and how much longer an answer is waited for.
const ANSWER_MS: u64 = 1_500;
const ALLOWANCE: Duration = Duration::from_secs(1);
/// The ids of strangers: ids of this run that no member has.
const DEAD_ID: u64 = 70;
const FOREIGN_IDS: std::ops::Range<u64> = 71..99;
/// A port on which nobody listens.
const NOBODY: &str = "127.0.0.1:1";

/// What is asked for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Wish {
    /// Leadership for a node that was killed.
    TransferToDead,
    /// A member at an address where nobody listens.
    DeadAddress,
    /// A member that founded a group of its own.
    ForeignNode,
}

impl Wish {
    /// What a leader says that refuses it for what is wrong with it, and for nothing else.
    fn is_refused_by(self, answer: &Value) -> bool {
        let why = match self {
            Self::TransferToDead => "is not made the leader",
            Self::DeadAddress => "is not added: it does not answer",
            Self::ForeignNode => "is not added: it is a member of another group",
        };
        answer["type"] == "urn:quorate:conflict" && answer["detail"].as_str().is_some_and(|text| text.contains(why))
    }
}

/// One such request, sent until it was refused once. An answer that says it was done is an error.
#[derive(Debug)]
pub struct MustRefuse {
    kind: Kind,
    wish: Wish,
    choice: u64,
    killed: Option<Host>,
    foreign: Option<Foreign>,
    refused: u64,
}

impl MustRefuse {
    /// For this wish; `choice` decides what is left open.
    #[must_use]
    pub fn new(kind: Kind, wish: Wish, choice: u64) -> Self {
        Self { kind, wish, choice, killed: None, foreign: None, refused: 0 }
    }

    async fn begin(&mut self, arena: &mut Arena) -> Result<String> {
        match self.wish {
            Wish::TransferToDead => {
                let host = arena.pick(Pick::Spare, self.choice).await?.remove(0);
                let process = arena.take(&host).with_context(|| format!("{host} does not run"))?;
                arena.hold(&host);
                self.killed = Some(host.clone());
                let status = process.kill()?;
                ensure!(status.signal() == Some(SIGKILL), "{host} ended before it was killed: {status}");
                Ok(host.to_string())
            }
            Wish::DeadAddress => {
                arena.scene().await.serves()?;
                Ok(format!("node-{DEAD_ID} at {NOBODY}"))
            }
            Wish::ForeignNode => {
                arena.scene().await.serves()?;
                let taken = |id: &u64| arena.cluster.dir().join(format!("foreign-{id}")).exists();
                let id = FOREIGN_IDS.into_iter().find(|id| !taken(id)).context("an id that is free")?;
                self.foreign = Some(Foreign::start(&arena.cluster, id)?);
                Ok(format!("node-{id}"))
            }
        }
    }

    /// The request: where to, and what. None while there is nothing to ask yet.
    async fn request(&mut self, arena: &Arena, group: &Value) -> Option<(&'static str, Value)> {
        let with = |member: Value| {
            let members = [listed(group), vec![member]].concat();
            json!({"membership_index": group["membership_index"], "members": members})
        };
        match (self.wish, &self.killed, &self.foreign) {
            (Wish::TransferToDead, Some(Host::Node(id)), _) => Some(("/v1/cluster/transfer-leader", json!({"to": id}))),
            (Wish::DeadAddress, ..) => {
                let member = json!({"node_id": DEAD_ID, "peer_addr": NOBODY, "api_addr": NOBODY, "voter": true});
                Some(("/v1/cluster/members", with(member)))
            }
            (Wish::ForeignNode, _, Some(foreign)) => {
                // It leads its own group before it is asked for.
                let founded = arena.group_at(&foreign.api).await.is_some_and(|group| group["leader"].is_u64());
                founded.then(|| ("/v1/cluster/members", with(foreign.listed.clone())))
            }
            _ => None,
        }
    }

    /// Asks the leader, and sees that it refuses, and that neither the members nor the term change by it.
    async fn ask(&mut self, arena: &Arena) -> Result<()> {
        let Some(leader) = arena.leader_now().await else { return Ok(()) };
        let api = arena.cluster.api(leader);
        let Some(before) = arena.group_at(&api).await else { return Ok(()) };
        let members = listed(&before);
        let Some((path, body)) = self.request(arena, &before).await else { return Ok(()) };
        // No answer is none yet: the leader may just have been killed.
        let Some((status, answer)) = arena.answer_to(leader, path, &body, ANSWER_MS, ALLOWANCE).await else {
            return Ok(());
        };
        ensure!(status != 200, "{}: node {leader} did what it was asked for: {answer}", self.kind);
        // Others say that the leader was not asked at all, or not in time, or that other faults keep it from deciding.
        let Some(after) = arena.group_at(&api).await.filter(|_| self.wish.is_refused_by(&answer)) else {
            return Ok(());
        };
        ensure!(listed(&after) == members, "{}: the members changed: {before} {after}", self.kind);
        // A leader that lost its term over it did not refuse it.
        if after["term"] == before["term"] && after["leader"] == before["leader"] {
            self.refused += 1;
        }
        Ok(())
    }
}

/// The members of a group, as a request lists them.
fn listed(group: &Value) -> Vec<Value> {
    let member = |member: &Value| {
        json!({
            "node_id": member["node_id"], "peer_addr": member["peer_addr"], "api_addr": member["api_addr"],
            "voter": member["voter"],
        })
    };
    group["members"].as_array().into_iter().flatten().map(member).collect()
}

impl Fault for MustRefuse {
    fn kind(&self) -> Kind {
        self.kind
    }

    fn start<'a>(&'a mut self, arena: &'a mut Arena) -> Step<'a, String> {
        Box::pin(async {
            let begun = self.begin(arena).await;
            if begun.is_err() {
                self.heal(arena).await?;
            }
            begun
        })
    }

    fn happened<'a>(&'a mut self, arena: &'a mut Arena) -> Step<'a, Happened> {
        Box::pin(async {
            if self.refused == 0 {
                self.ask(arena).await?;
            }
            Ok(Happened { amount: self.refused, of: "requests refused" })
        })
    }

    fn heal<'a>(&'a mut self, arena: &'a mut Arena) -> Step<'a, ()> {
        Box::pin(async {
            // Dropping a process kills it.
            self.foreign = None;
            if let Some(host) = &self.killed {
                arena.start_again(host)?;
                arena.release(host);
                self.killed = None;
            }
            Ok(())
        })
    }
}
