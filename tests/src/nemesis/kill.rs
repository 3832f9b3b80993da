//! kill -9, and a restart on the same data.

use std::os::unix::process::ExitStatusExt;

use anyhow::{Context, Result, ensure};

use super::{
    arena::Arena,
    fault::{Fault, Happened, Kind, Pick, Step},
    network::Host,
};

/// The number of SIGKILL.
pub(super) const SIGKILL: i32 = 9;

/// kill -9 of one process or several at once; healing starts them again.
#[derive(Debug)]
pub struct Kill {
    kind: Kind,
    pick: Pick,
    choice: u64,
    killed: Vec<Host>,
    count: u64,
}

impl Kill {
    /// Of whom `pick` says; `choice` decides between several.
    #[must_use]
    pub fn new(kind: Kind, pick: Pick, choice: u64) -> Self {
        Self { kind, pick, choice, killed: Vec::new(), count: 0 }
    }

    async fn begin(&mut self, arena: &mut Arena) -> Result<String> {
        let hosts = arena.pick(self.pick, self.choice).await?;
        let names: Vec<String> = hosts.iter().map(Host::to_string).collect();
        for host in hosts {
            // Its process may have ended by itself; then there is nothing to kill, and it is told as that.
            let process = arena.take(&host).with_context(|| format!("{host} does not run"))?;
            arena.hold(&host);
            self.killed.push(host.clone());
            let status = process.kill()?;
            ensure!(status.signal() == Some(SIGKILL), "{host} ended before it was killed: {status}");
            self.count += 1;
        }
        Ok(names.join(", "))
    }
}

impl Fault for Kill {
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

    fn happened<'a>(&'a mut self, _: &'a mut Arena) -> Step<'a, Happened> {
        Box::pin(async { Ok(Happened { amount: self.count, of: "processes ended by signal 9" }) })
    }

    fn heal<'a>(&'a mut self, arena: &'a mut Arena) -> Step<'a, ()> {
        Box::pin(async {
            while let Some(host) = self.killed.last() {
                arena.start_again(host)?;
                arena.release(host);
                self.killed.pop();
            }
            Ok(())
        })
    }
}
