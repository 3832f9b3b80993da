//! A node that is a group of its own, beside a cluster.

use anyhow::Result;
use serde_json::{Value, json};

use super::{
    cluster::{Cluster, free_ports},
    process::{Process, binary},
};

/// Where a foreign node lives, by the name of the site.
const SITE: &str = "publisher";

/// A node that founded a group of its own. Dropping it kills it; its files stay with the cluster's.
#[derive(Debug)]
pub struct Foreign {
    /// Its process.
    pub process: Process,
    /// How it would be listed as a member: a voter with its id and addresses.
    pub listed: Value,
    /// The base URL of its API.
    pub api: String,
}

impl Foreign {
    /// Starts it under `id`, with nobody but itself in its list, where the nodes of `cluster` can reach it.
    ///
    /// # Errors
    /// Where it cannot be started.
    pub fn start(cluster: &Cluster, id: u64) -> Result<Self> {
        let site = cluster.site(SITE);
        let ports = free_ports(2)?;
        let (peer, api) = (format!("{}:{}", site.address, ports[0]), format!("{}:{}", site.address, ports[1]));
        let data = cluster.dir().join(format!("foreign-{id}"));
        let args = [
            format!("--node-id={id}"),
            format!("--data-dir={}", data.display()),
            format!("--listen-peer={peer}"),
            format!("--listen-api={api}"),
            format!("--initial-members={id}={peer}/{api}"),
        ];
        let log = cluster.dir().join(format!("foreign-{id}.log"));
        let process = site.spawn(&format!("foreign node {id}"), &binary("raft-node")?, args, &log)?;
        let listed = json!({"node_id": id, "peer_addr": peer, "api_addr": api, "voter": true});
        Ok(Self { process, listed, api: format!("http://{api}") })
    }
}
