//! Where the processes of a cluster live: all on the loopback address, or each in a network of its own.

use std::{
    collections::BTreeMap,
    ffi::{OsStr, OsString},
    net::{IpAddr, Ipv4Addr},
    path::Path,
};

use anyhow::Result;

use super::process::Process;

/// Where one process lives.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Site {
    /// Where it takes clients.
    pub address: IpAddr,
    /// Where a node takes its peers.
    pub peer_listen: IpAddr,
    /// Where a node's peers are told to look for it: another address where something stands between.
    pub peer_told: IpAddr,
    /// The network namespace it runs in, if not in this process's own.
    pub netns: Option<String>,
}

impl Default for Site {
    fn default() -> Self {
        let here = IpAddr::V4(Ipv4Addr::LOCALHOST);
        Self { address: here, peer_listen: here, peer_told: here, netns: None }
    }
}

impl Site {
    /// Starts a process here; see [`Process::spawn`]. Its id is the program's own also in a namespace.
    ///
    /// # Errors
    /// Where it cannot be started.
    pub fn spawn<I, S>(&self, name: &str, program: &Path, args: I, log: &Path) -> Result<Process>
    where
        I: IntoIterator<Item = S>,
        S: AsRef<OsStr>,
    {
        let Some(netns) = &self.netns else { return Process::spawn(name, program, args, log) };
        let mut all: Vec<OsString> = ["netns", "exec", netns].map(OsString::from).to_vec();
        all.push(program.into());
        all.extend(args.into_iter().map(|arg| arg.as_ref().to_owned()));
        Process::spawn(name, Path::new("ip"), all, log)
    }
}

/// The sites of a cluster's processes; what is not named lives on the loopback address.
#[derive(Debug, Clone, Default)]
pub struct Sites {
    /// Those of the nodes.
    pub nodes: BTreeMap<u64, Site>,
    /// Those of the others: `exchange`, `maker-NAME`, `publisher`.
    pub others: BTreeMap<String, Site>,
}

impl Sites {
    /// The site of a node.
    #[must_use]
    pub fn node(&self, id: u64) -> Site {
        self.nodes.get(&id).cloned().unwrap_or_default()
    }

    /// The site of another process.
    #[must_use]
    pub fn named(&self, name: &str) -> Site {
        self.others.get(name).cloned().unwrap_or_default()
    }
}
