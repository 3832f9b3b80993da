//! A simulated process: its world, its tasks, and its end.
//!
//! Invariant: from the moment of its end a process sends nothing, answers nothing and writes nothing; what it sent
//! before is still on its way.

use std::{
    fmt,
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
};

use quorate_seams::{Failpoints, Tasks, World};

use crate::{
    clock::Machine,
    net::{Net, SimHttp},
};

/// Who takes part.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Who {
    /// A member of the group, by its id.
    Node(u64),
    /// The exchange's machine.
    Exchange,
    /// A maker, by its number.
    Maker(u64),
    /// The one who sends orders.
    Flow,
    /// The one who operates the group.
    Operator,
    /// The one who reads and follows.
    Reader,
    /// The one who tells the exchange a reference price.
    Feed,
}

impl fmt::Display for Who {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Node(id) => write!(f, "n{id}"),
            Self::Exchange => f.write_str("x"),
            Self::Maker(number) => write!(f, "m{number}"),
            Self::Flow => f.write_str("flow"),
            Self::Operator => f.write_str("op"),
            Self::Reader => f.write_str("rd"),
            Self::Feed => f.write_str("feed"),
        }
    }
}

/// What others hold of a process: enough to serve in its name and to end it.
#[derive(Clone, Debug)]
pub struct Party {
    /// Who it is.
    pub who: Who,
    /// Counts the lives of one `who`, from 1.
    pub life: u64,
    /// Its tasks.
    pub tasks: Tasks,
    alive: Arc<AtomicBool>,
}

impl Party {
    /// Whether it runs (a paused one does).
    #[must_use]
    pub fn is_alive(&self) -> bool {
        self.alive.load(Ordering::Relaxed)
    }

    /// Ends it at once, as kill -9: true for the first caller.
    pub fn end(&self) -> bool {
        let first = self.alive.swap(false, Ordering::Relaxed);
        self.tasks.abort_all();
        first
    }
}

/// A running process.
#[derive(Clone, Debug)]
pub struct Process {
    /// What others hold of it.
    pub party: Party,
    /// Its world.
    pub world: World,
}

impl Process {
    /// A process of `who` on `machine`. `ended` is called where a failpoint ends it, after the end.
    #[must_use]
    pub fn start(
        who: Who,
        life: u64,
        seed: u64,
        machine: &Arc<Machine>,
        net: &Net,
        ended: impl Fn(&str) + Send + Sync + 'static,
    ) -> Self {
        let party = Party { who, life, tasks: Tasks::pausable(), alive: Arc::new(AtomicBool::new(true)) };
        let crashed = party.clone();
        let failpoints = Failpoints::armed(Arc::new(move |name: &str| {
            if crashed.end() {
                ended(name);
            }
        }));
        let world = World {
            clocks: machine.process(),
            http: Arc::new(SimHttp::new(net.clone(), party.clone())),
            tasks: party.tasks.clone(),
            seed,
            failpoints,
        };
        Self { party, world }
    }
}
