//! SIGSTOP, and SIGCONT: a process that sleeps through its deadlines, and then goes on as if nothing had been.

use anyhow::{Context, Result, ensure};

use super::{
    arena::Arena,
    fault::{Fault, Happened, Kind, Pick, Step},
    network::Host,
};
use crate::harness::within;

/// How long the kernel may take to stop a process that is in the middle of a call.
const STOP_MAX: std::time::Duration = std::time::Duration::from_secs(2);

/// SIGSTOP of one process; healing is SIGCONT.
#[derive(Debug)]
pub struct Pause {
    kind: Kind,
    pick: Pick,
    choice: u64,
    paused: Option<Host>,
    stopped: u64,
}

impl Pause {
    /// Of whom `pick` says; `choice` decides between several.
    #[must_use]
    pub fn new(kind: Kind, pick: Pick, choice: u64) -> Self {
        Self { kind, pick, choice, paused: None, stopped: 0 }
    }

    async fn begin(&mut self, arena: &mut Arena) -> Result<String> {
        let hosts = arena.pick(self.pick, self.choice).await?;
        let host = hosts.into_iter().next().context("somebody to pause")?;
        let process = arena.process(&host)?;
        process.pause()?;
        let id = process.id();
        let look = || std::future::ready(state(id).map(|state| (state == 'T').then_some(())));
        let seen = within(STOP_MAX, "state T", look).await;
        if seen.is_err() {
            arena.process(&host)?.resume()?;
        }
        seen?;
        arena.hold(&host);
        self.stopped += 1;
        let name = host.to_string();
        self.paused = Some(host);
        Ok(name)
    }
}

/// The state of a process, as /proc tells it: the letter after the name, which is in brackets.
pub(super) fn state(id: u32) -> Result<char> {
    let stat = std::fs::read_to_string(format!("/proc/{id}/stat"))?;
    let after = stat.rsplit_once(") ").context("a name in brackets")?.1;
    after.chars().next().context("a state")
}

impl Fault for Pause {
    fn kind(&self) -> Kind {
        self.kind
    }

    fn start<'a>(&'a mut self, arena: &'a mut Arena) -> Step<'a, String> {
        Box::pin(self.begin(arena))
    }

    fn happened<'a>(&'a mut self, arena: &'a mut Arena) -> Step<'a, Happened> {
        Box::pin(async {
            if let Some(host) = &self.paused {
                let id = arena.process(host)?.id();
                ensure!(state(id)? == 'T', "{host} was woken by somebody else");
            }
            Ok(Happened { amount: self.stopped, of: "processes in state T" })
        })
    }

    fn heal<'a>(&'a mut self, arena: &'a mut Arena) -> Step<'a, ()> {
        Box::pin(async {
            if let Some(host) = &self.paused {
                arena.process(host)?.resume()?;
                arena.release(host);
                self.paused = None;
            }
            Ok(())
        })
    }
}
