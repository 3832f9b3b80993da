//! An empty disk under an old id: a node is killed, its data directory is taken away, and it starts again without it.

use std::{fs, path::PathBuf};

use anyhow::{Context, Result, ensure};

use super::{
    arena::Arena,
    fault::{Fault, Happened, Kind, Pick, Step},
    network::Host,
};

/// What a node says of a store that its group does not know under its id.
const WIPED: &str = "its data directory was removed or replaced";

/// A node without its data; healing gives it its own directory back.
#[derive(Debug)]
pub struct WipedDisk {
    choice: u64,
    node: Option<u64>,
    /// Where the nodes' logs ended when it began.
    log_ends: Vec<(u64, u64)>,
    said: u64,
}

impl WipedDisk {
    /// Of a node that the leader can spare; `choice` decides between several.
    #[must_use]
    pub fn new(choice: u64) -> Self {
        Self { choice, node: None, log_ends: Vec::new(), said: 0 }
    }

    fn data(arena: &Arena, node: u64) -> PathBuf {
        arena.cluster.dir().join(format!("node-{node}"))
    }

    fn aside(arena: &Arena, node: u64) -> PathBuf {
        arena.cluster.dir().join(format!("node-{node}.aside"))
    }

    fn begin(arena: &mut Arena, node: u64) -> Result<()> {
        let host = Host::Node(node);
        arena.take(&host).with_context(|| format!("{host} does not run"))?.kill()?;
        fs::rename(Self::data(arena, node), Self::aside(arena, node))?;
        arena.start_again(&host)
    }

    fn put_back(arena: &mut Arena, node: u64) -> Result<()> {
        let host = Host::Node(node);
        if let Some(process) = arena.take(&host) {
            process.kill()?;
        }
        let (data, aside) = (Self::data(arena, node), Self::aside(arena, node));
        if aside.exists() {
            if data.exists() {
                fs::remove_dir_all(&data)?;
            }
            fs::rename(aside, data)?;
        }
        arena.start_again(&host)?;
        arena.release(&host);
        Ok(())
    }
}

impl Fault for WipedDisk {
    fn kind(&self) -> Kind {
        Kind::WipedDisk
    }

    fn start<'a>(&'a mut self, arena: &'a mut Arena) -> Step<'a, String> {
        Box::pin(async {
            let hosts = arena.pick(Pick::Spare, self.choice).await?;
            let Some(Host::Node(node)) = hosts.first() else { anyhow::bail!("no node can be spared") };
            for id in arena.cluster.ids() {
                self.log_ends.push((id, fs::metadata(arena.log(id))?.len()));
            }
            arena.hold(&Host::Node(*node));
            arena.leave_out(&Host::Node(*node));
            if let Err(error) = Self::begin(arena, *node) {
                Self::put_back(arena, *node)?;
                return Err(error);
            }
            self.node = Some(*node);
            Ok(format!("node-{node}"))
        })
    }

    /// Counts the lines with which nodes say what is wrong and what cures it. The wiped node must not lead.
    fn happened<'a>(&'a mut self, arena: &'a mut Arena) -> Step<'a, Happened> {
        Box::pin(async {
            if let Some(node) = self.node {
                self.said = 0;
                for (id, end) in &self.log_ends {
                    let log = fs::read(arena.log(*id))?;
                    let new = String::from_utf8_lossy(log.get(usize::try_from(*end)?..).unwrap_or_default());
                    let told =
                        new.lines().filter(|line| line.contains(WIPED) && line.contains(&format!("node {node} ")));
                    self.said += told.filter(|line| line.contains("WARN")).count() as u64;
                }
                ensure!(arena.leader_now().await != Some(node), "node {node} leads, though its disk was wiped");
            }
            Ok(Happened { amount: self.said, of: "warnings of a wiped disk" })
        })
    }

    fn heal<'a>(&'a mut self, arena: &'a mut Arena) -> Step<'a, ()> {
        Box::pin(async {
            if let Some(node) = self.node {
                Self::put_back(arena, node)?;
                self.node = None;
            }
            Ok(())
        })
    }
}
