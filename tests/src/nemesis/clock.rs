//! A wrong wall clock: a node is killed and starts again with its clock ahead or behind, then gets the leadership, so
//! that it is its clock which stamps the log.

use anyhow::{Context, Result};
use serde_json::json;

use super::{
    arena::Arena,
    fault::{Fault, Happened, Kind, Pick, Step},
    network::Host,
};

/// Offsets that are tried, in milliseconds: a little and much, ahead and behind.
const OFFSETS_MS: [i64; 6] = [2_000, -2_000, 5_000, -60_000, 8_000, -3_600_000];

/// One node's clock is wrong; healing kills it again and starts it with the right one.
#[derive(Debug)]
pub struct WrongClock {
    offset_ms: i64,
    choice: u64,
    node: Option<u64>,
    terms: u64,
}

impl WrongClock {
    /// By one of a few offsets.
    #[must_use]
    pub fn new(choice: u64) -> Self {
        let nth = usize::try_from(choice % OFFSETS_MS.len() as u64).unwrap_or(0);
        Self::by(OFFSETS_MS[nth], choice)
    }

    /// By this many milliseconds; ahead where positive.
    #[must_use]
    pub fn by(offset_ms: i64, choice: u64) -> Self {
        Self { offset_ms, choice, node: None, terms: 0 }
    }

    fn restart(arena: &mut Arena, node: u64, offset_ms: i64) -> Result<()> {
        let host = Host::Node(node);
        if let Some(process) = arena.take(&host) {
            process.kill()?;
        }
        arena.set_clock(node, offset_ms);
        arena.start_again(&host)
    }
}

impl Fault for WrongClock {
    fn kind(&self) -> Kind {
        Kind::WrongClock
    }

    fn start<'a>(&'a mut self, arena: &'a mut Arena) -> Step<'a, String> {
        Box::pin(async {
            let hosts = arena.pick(Pick::Candidate, self.choice).await?;
            let Some(Host::Node(node)) = hosts.first() else { anyhow::bail!("no node is free") };
            arena.hold(&Host::Node(*node));
            self.node = Some(*node);
            Self::restart(arena, *node, self.offset_ms)?;
            Ok(format!("node-{node} by {} ms", self.offset_ms))
        })
    }

    /// Counts terms that the node began with its wrong clock; asks for the leadership while it has begun none.
    fn happened<'a>(&'a mut self, arena: &'a mut Arena) -> Step<'a, Happened> {
        Box::pin(async {
            if let Some(node) = self.node {
                // It is asked again at the next look where it does not answer yet.
                if let Some(terms) = arena.metric(node, "terms_begun_total").await {
                    self.terms = self.terms.max(terms);
                }
                if self.terms == 0 && arena.leader_now().await.is_some_and(|leader| leader != node) {
                    arena.ask(node, "/v1/cluster/transfer-leader", &json!({"to": node})).await;
                }
            }
            Ok(Happened { amount: self.terms, of: "terms begun by the wrong clock" })
        })
    }

    fn heal<'a>(&'a mut self, arena: &'a mut Arena) -> Step<'a, ()> {
        Box::pin(async {
            let node = self.node.context("it was started")?;
            self.happened(arena).await?;
            Self::restart(arena, node, 0)?;
            arena.release(&Host::Node(node));
            self.node = None;
            Ok(())
        })
    }
}
