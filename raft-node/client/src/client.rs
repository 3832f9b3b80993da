//! The client's handle: sessions, and commands that need none.

use std::sync::{Arc, atomic::AtomicU64};

use quorate_api::{Problem, ProblemKind};
use quorate_ledger::Command;
use quorate_seams::World;
use tokio::{sync::Semaphore, time::Instant};

use crate::{
    backoff::Backoff,
    command::{Home, Item, to_json},
    config::{COMMANDS_MAX, ClientConfig, InvalidConfig},
    lane::{Lane, LaneWorld, look, too_large},
    nodes::Nodes,
    observer::Operation,
    session::Session,
    shared::{Calls, Shared},
    submission::Submission,
    wire::Wire,
};

/// A client of one group. Clones are the same client. It must be used inside a tokio runtime.
#[derive(Debug, Clone)]
pub struct Client {
    pub(crate) shared: Arc<Shared>,
}

impl Client {
    /// A client that reaches the outside through `world`. Calls nobody yet.
    ///
    /// # Errors
    /// [`InvalidConfig`] names the field that is wrong.
    pub fn new(world: World, config: ClientConfig) -> Result<Self, InvalidConfig> {
        config.check()?;
        let shared = Shared {
            nodes: Arc::new(Nodes::new(&config.endpoints, config.discover)),
            wire: Wire::new(world.http.clone(), config.cluster_id.as_deref()),
            lanes: (0..config.lanes).map(|_| Arc::default()).collect(),
            next: AtomicU64::new(0),
            room: Arc::new(Semaphore::new(COMMANDS_MAX)),
            calls: Arc::new(Calls::new(config.observer.clone())),
            world,
            config,
        };
        Ok(Self { shared: Arc::new(shared) })
    }

    /// A new session, opened at its first command.
    #[must_use]
    pub fn session(&self) -> Session {
        Session::new(self.shared.clone())
    }

    /// Submits one of the commands that need no session ([`Command::needs_session`]): those of control,
    /// whose control version keeps a repeat from doing harm.
    ///
    /// Where an attempt was in doubt and the next one is refused for the control version, the outcome is
    /// unknown and there is no ticket: read the control state.
    pub fn submit_without_session(&self, command: &Command, deadline: Instant) -> Submission {
        let shared = &self.shared;
        let call = shared.calls.invoked(&Operation::Command(command));
        let permit = shared.room.clone().try_acquire_owned().ok();
        let full = permit.is_none();
        let json = to_json(command);
        let too_large = too_large(&json);
        let (item, receiver) = Item::new(0, json, Home::None, None, false, permit);
        if let Some(problem) = too_large {
            item.refuse(problem);
        } else if command.needs_session() {
            let detail = format!("{} needs a session", command.name());
            item.refuse(Problem::new(ProblemKind::InvalidRequest, detail));
        } else if full {
            item.refuse(Problem::new(ProblemKind::Overloaded, "too many commands wait in this client"));
        } else {
            let lane = shared.next_lane();
            shared.start(&lane);
            lane.push(item.clone());
        }
        Submission::new(item, receiver, deadline, shared.calls.clone(), call)
    }

    /// How many endpoints were configured: the range of [`ReadOptions::node`](crate::ReadOptions::node).
    #[must_use]
    pub fn endpoints(&self) -> usize {
        self.shared.nodes.configured()
    }

    /// The world that it lives in.
    #[must_use]
    pub fn world(&self) -> &World {
        &self.shared.world
    }

    /// Looks at the members now, so that the first command goes to the leader.
    pub async fn find_leader(&self) {
        look(&self.shared.nodes, &self.shared.wire, self.shared.config.call_timeout).await;
    }
}

impl Shared {
    /// Starts the lane's task, the first time.
    pub(crate) fn start(&self, lane: &Arc<Lane>) {
        if lane.must_start() {
            let world = LaneWorld {
                nodes: self.nodes.clone(),
                wire: self.wire.clone(),
                tasks: self.world.tasks.clone(),
                backoff: self.backoff(),
                call_timeout: self.config.call_timeout,
            };
            self.world.tasks.spawn(lane.clone().run(world));
        }
    }

    /// The pauses of a new task.
    pub(crate) fn backoff(&self) -> Backoff {
        /// Keeps these streams of randomness apart from those of other parts of the process.
        const STREAM: u64 = 0x636c_6965_6e74_0000;
        Backoff::new(self.config.backoff_min, self.config.backoff_max, self.world.seed, STREAM + self.next())
    }
}
