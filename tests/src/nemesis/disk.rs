//! A full disk: the data of one node stands on a small filesystem of its own, and something else fills it.

use std::{
    fs,
    io::{ErrorKind, Write},
    path::{Path, PathBuf},
};

use anyhow::{Context, Result, ensure};
use serde_json::json;
use tempfile::TempDir;

use super::{
    arena::Arena,
    fault::{Fault, Happened, Kind, Step},
    network::Host,
    tools::run,
    undo::Undo,
};

/// What fills the disk.
const BALLAST: &str = "ballast";
/// What the system says where there is no space.
const NO_SPACE: &str = "No space left on device";

/// A small filesystem under one node's data.
#[derive(Debug)]
pub(super) struct SmallDisk {
    pub(super) node: u64,
    mount: TempDir,
}

impl SmallDisk {
    /// Mounts it, of so many MiB, and lets the node's data directory stand on it.
    pub(super) fn mount(node: u64, mib: u64, data: &Path, undo: &mut Undo) -> Result<Self> {
        let mount = tempfile::Builder::new().prefix("quorate-disk-").tempdir()?;
        let at = mount.path().to_str().context("a path of text")?;
        run("mount", &["-t", "tmpfs", "-o", &format!("size={mib}m"), "quorate-test", at], "")?;
        undo.later(&format!("umount -l {at}; rmdir {at}"))?;
        let place = mount.path().join("data");
        fs::create_dir(&place)?;
        std::os::unix::fs::symlink(place, data)?;
        Ok(Self { node, mount })
    }

    fn ballast(&self) -> PathBuf {
        self.mount.path().join(BALLAST)
    }

    /// Writes until there is no space left, down to the last byte that can be had.
    fn fill(&self) -> Result<u64> {
        let mut file = fs::File::create(self.ballast())?;
        let (mut total, mut chunk) = (0, vec![0_u8; 1 << 20]);
        while !chunk.is_empty() {
            match file.write(&chunk) {
                Ok(count) => total += count as u64,
                Err(error) if error.kind() == ErrorKind::StorageFull => chunk.truncate(chunk.len() / 2),
                Err(error) => return Err(error.into()),
            }
        }
        ensure!(total > 0, "the disk was full before");
        Ok(total)
    }
}

/// Fills the disk of the node that has a small one, until it says so; healing makes room, and starts the node again
/// where it has stopped.
#[derive(Debug, Default)]
pub struct FullDisk {
    node: Option<u64>,
    /// Where the node's log ended when it began.
    log_end: u64,
    said: u64,
}

impl Fault for FullDisk {
    fn kind(&self) -> Kind {
        Kind::FullDisk
    }

    fn start<'a>(&'a mut self, arena: &'a mut Arena) -> Step<'a, String> {
        Box::pin(async {
            let node = arena.small_disk.as_ref().context("no node has a small disk")?.node;
            let host = Host::Node(node);
            arena.scene().await.writes(&host)?;
            self.log_end = fs::metadata(arena.log(node))?.len();
            let filled = arena.small_disk.as_ref().context("it was there")?.fill()?;
            arena.hold(&host);
            self.node = Some(node);
            Ok(format!("node-{node}, {} MiB of ballast", filled >> 20))
        })
    }

    fn happened<'a>(&'a mut self, arena: &'a mut Arena) -> Step<'a, Happened> {
        Box::pin(async {
            if let Some(node) = self.node {
                let log = fs::read(arena.log(node))?;
                let new = log.get(usize::try_from(self.log_end)?..).unwrap_or_default();
                self.said = String::from_utf8_lossy(new).matches(NO_SPACE).count() as u64;
                if self.said == 0 {
                    // Entries may find room in pages that were written before; a snapshot needs new ones.
                    arena.ask(node, "/v1/cluster/snapshot", &json!({})).await;
                }
            }
            Ok(Happened { amount: self.said, of: "errors for want of space in the node's log" })
        })
    }

    fn heal<'a>(&'a mut self, arena: &'a mut Arena) -> Step<'a, ()> {
        Box::pin(async {
            let Some(node) = self.node else { return Ok(()) };
            self.happened(arena).await?;
            let disk = arena.small_disk.as_ref().context("it was filled")?;
            match fs::remove_file(disk.ballast()) {
                Err(error) if error.kind() != ErrorKind::NotFound => return Err(error.into()),
                _ => {}
            }
            let host = Host::Node(node);
            if !arena.process(&host).is_ok_and(crate::harness::Process::is_running) {
                // What is taken has ended already.
                drop(arena.take(&host));
                arena.start_again(&host)?;
            }
            arena.release(&host);
            self.node = None;
            Ok(())
        })
    }
}
