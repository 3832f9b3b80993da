//! Proposals: stamped and written by the leader, forwarded as they are by everybody else.
//!
//! Invariant: a command is *not proposed*, *applied*, or *unknown*. Not proposed is said only where nothing
//! can have been written to any log; an attempt is repeated only after that.

use std::{
    sync::{Arc, atomic::Ordering},
    time::Duration,
};

use openraft::{errors::ClientWriteError, vote::leader_id_std::CommittedLeaderId};
use quorate_api::{Applied, Problem, ProblemKind};
use quorate_ledger::{
    Command, ControlChange, ControlCommand, Envelope, Input, LEDGER_VERSION, LeaderCommand, bounds::ENTRY_MAX_BYTES,
};
use tokio::{
    sync::{OwnedSemaphorePermit, Semaphore, oneshot},
    time::{Instant, error::Elapsed, timeout_at},
};

use super::{Inner, Node};
use crate::raft::{
    links::{LinkError, Target},
    types::{EntryResponse, Proposal, Reply, WriteResult},
    wire::{Forward, Outcome, paths},
};

/// Urgent commands (renewals, control, what frees exposure) in flight at most, beside the others.
const URGENT_IN_FLIGHT_MAX: usize = 4_096;
/// Pause between two attempts where nothing tells that the leader changed.
const RETRY_PAUSE: Duration = Duration::from_millis(20);
/// A forwarded call's deadline is so much before the caller's own, so that its answer still arrives.
const FORWARD_MARGIN: Duration = Duration::from_millis(20);

/// Places for commands in flight.
pub(crate) struct Places {
    common: Arc<Semaphore>,
    urgent: Arc<Semaphore>,
    max: usize,
}

impl Places {
    pub(crate) fn new(max: usize) -> Self {
        Self { common: Arc::new(Semaphore::new(max)), urgent: Arc::new(Semaphore::new(URGENT_IN_FLIGHT_MAX)), max }
    }

    /// A place for `input`, if there is one. Urgent commands have places of their own.
    fn take(&self, input: &Input) -> Option<OwnedSemaphorePermit> {
        let urgent = matches!(input, Input::Client(envelope) if envelope.command.is_urgent());
        let places = if urgent { &self.urgent } else { &self.common };
        Arc::clone(places).try_acquire_owned().ok()
    }

    pub(crate) fn taken(&self) -> usize {
        (self.max + URGENT_IN_FLIGHT_MAX)
            .saturating_sub(self.common.available_permits() + self.urgent.available_permits())
    }
}

impl Node {
    /// Proposes `batch` in its order, as the leader or through it, and answers each command, in the same order, by
    /// `deadline` at the latest. The caller has checked the size of the batch (`BATCH_MAX`, `BODY_MAX_BYTES`).
    ///
    /// A [`Problem`] with `outcome_unknown` unset means that the command was certainly not proposed.
    /// Dropping the future does not take back what was proposed.
    pub async fn propose(&self, batch: Vec<Envelope>, deadline: Instant) -> Vec<Applied> {
        let inner = &self.inner;
        inner.counters.commands.add(batch.len());
        let batch: Vec<Arc<Input>> = batch.into_iter().map(|envelope| Arc::new(Input::Client(envelope))).collect();
        let refuse = |input: &Arc<Input>| checked(input).err().map(Applied::Problem);
        let mut answers: Vec<Option<Applied>> = batch.iter().map(refuse).collect();
        let mut left: Vec<(usize, Arc<Input>)> =
            batch.into_iter().enumerate().filter(|(at, _)| answers[*at].is_none()).collect();
        while !left.is_empty() {
            let outcomes = inner.attempt(left.iter().map(|(_, input)| Arc::clone(input)).collect(), deadline).await;
            let mut again = Vec::new();
            for ((at, input), outcome) in left.into_iter().zip(outcomes) {
                match outcome {
                    Outcome::NotProposed if Instant::now() + RETRY_PAUSE < deadline => again.push((at, input)),
                    outcome => answers[at] = Some(inner.answer(outcome)),
                }
            }
            left = again;
            if !left.is_empty() {
                inner.leader_changed(RETRY_PAUSE).await;
            }
        }
        answers.into_iter().flatten().collect()
    }
}

/// Refuses what must not enter the log: it is too large, this program would not understand it, or only the leader itself
/// may propose it.
fn checked(input: &Input) -> Result<(), Problem> {
    let Input::Client(envelope) = input else {
        let detail = "only the leader itself proposes this: it is not forwarded";
        return Err(Problem::new(ProblemKind::InvalidRequest, detail));
    };
    let len = envelope.entry_len();
    if len > ENTRY_MAX_BYTES {
        let detail = format!(
            "the command takes {len} bytes in the log, and an entry has at most {ENTRY_MAX_BYTES}: split it into several, or send \
             fewer marks, symbols or fills, or a shorter text"
        );
        return Err(Problem::new(ProblemKind::TooLarge, detail));
    }
    match envelope.command {
        Command::Control(ControlCommand { change: ControlChange::LedgerVersion { version }, .. })
            if version > LEDGER_VERSION =>
        {
            let detail = format!(
                "ledger version {version}: this node's program knows up to {LEDGER_VERSION}; upgrade every node first"
            );
            Err(Problem::new(ProblemKind::InvalidRequest, detail))
        }
        _ => Ok(()),
    }
}

impl Inner {
    /// One attempt at `batch`, here or at the leader.
    async fn attempt(&self, batch: Vec<Arc<Input>>, deadline: Instant) -> Vec<Outcome> {
        if let Err(why) = self.serving() {
            return vec![Outcome::NotServing(why); batch.len()];
        }
        match self.leader() {
            Some(leader) if leader == self.links.me() => self.propose_here(batch, deadline).await,
            Some(leader) => self.forward(leader, batch, deadline).await,
            None => vec![Outcome::NotProposed; batch.len()],
        }
    }

    async fn forward(&self, leader: u64, batch: Vec<Arc<Input>>, deadline: Instant) -> Vec<Outcome> {
        let count = batch.len();
        let Some(peer) = self.peer(leader) else { return vec![Outcome::NotProposed; count] };
        let remaining = deadline.saturating_duration_since(Instant::now());
        let deadline_ms = u64::try_from(remaining.saturating_sub(FORWARD_MARGIN).as_millis()).unwrap_or(u64::MAX);

        let mut outcomes = vec![Outcome::Overloaded; count];
        let mut places = Vec::with_capacity(count);
        let mut taken = Vec::with_capacity(count);
        let mut sent = Vec::with_capacity(count);
        for (at, input) in batch.into_iter().enumerate() {
            if let Some(place) = self.places.take(&input) {
                places.push(place);
                taken.push(at);
                sent.push(input);
            }
        }
        if sent.is_empty() {
            return outcomes;
        }
        self.counters.forwarded.add(sent.len());
        let message = Forward { deadline_ms, batch: sent };
        let answer: Result<Vec<Outcome>, _> =
            self.links.call(Target::member(leader, &peer), paths::FORWARD, &message, remaining).await;
        let answered = match answer {
            // Not serving there, it hands over: somebody else will.
            Ok(answered) if answered.len() == taken.len() => answered
                .into_iter()
                .map(|outcome| if matches!(outcome, Outcome::NotServing(_)) { Outcome::NotProposed } else { outcome })
                .collect(),
            Ok(_) => vec![Outcome::Unknown("the leader's answer is malformed".to_owned()); taken.len()],
            Err(LinkError::NotReached(_) | LinkError::Refused(..)) => vec![Outcome::NotProposed; taken.len()],
            Err(error @ (LinkError::Broken(_) | LinkError::Timeout(_))) => {
                vec![Outcome::Unknown(format!("forwarded to node {leader}: {error}")); taken.len()]
            }
        };
        for (at, outcome) in taken.into_iter().zip(answered) {
            outcomes[at] = outcome;
        }
        outcomes
    }

    /// Proposes as the leader; where this node does not lead, nothing is proposed.
    pub(crate) async fn propose_here(&self, batch: Vec<Arc<Input>>, deadline: Instant) -> Vec<Outcome> {
        let count = batch.len();
        if let Err(why) = self.serving() {
            return vec![Outcome::NotServing(why); count];
        }
        let Some(term) = self.begun_term(deadline).await else { return vec![Outcome::NotProposed; count] };
        let mut waiting = Vec::with_capacity(count);
        for input in batch {
            waiting.push(match (checked(&input), self.places.take(&input)) {
                (Err(problem), _) => Err(Outcome::Invalid(problem.detail)),
                (Ok(()), None) => Err(Outcome::Overloaded),
                (Ok(()), place) => self.write(term, input, place).await,
            });
        }
        let mut outcomes = Vec::with_capacity(count);
        for written in waiting {
            outcomes.push(match written {
                Ok(reply) => outcome(timeout_at(deadline, reply).await),
                Err(outcome) => outcome,
            });
        }
        if let Err(error) = self.world.failpoints.hit("answer.before") {
            return vec![Outcome::Unknown(error.to_string()); count];
        }
        outcomes
    }

    /// Proposes a command of the leader's own in `term`, and waits until it is applied.
    pub(crate) async fn propose_as_leader(&self, term: u64, command: LeaderCommand) -> Outcome {
        match self.write(term, Arc::new(Input::Leader(command)), None).await {
            Ok(reply) => outcome::<Elapsed>(Ok(reply.await)),
            Err(outcome) => outcome,
        }
    }

    /// Stamps `input` and hands it to openraft, to be written in `term` or not at all.
    async fn write(
        &self,
        term: u64,
        input: Arc<Input>,
        place: Option<OwnedSemaphorePermit>,
    ) -> Result<oneshot::Receiver<WriteResult>, Outcome> {
        if let Err(error) = self.world.failpoints.hit("propose.before") {
            return Err(Outcome::NotServing(error.to_string()));
        }
        if self.writes_held.load(Ordering::SeqCst) {
            return Err(Outcome::NotProposed);
        }
        let stamp = self.clock.stamp(term).ok_or(Outcome::NotProposed)?;
        let (reply, answer) = Reply::new(place);
        let write = self.raft.write(Proposal { stamp, input });
        match write.with_leader(CommittedLeaderId::new(term)).responder(reply).await {
            Ok(()) => Ok(answer),
            Err(fatal) => Err(Outcome::NotServing(fatal.to_string())),
        }
    }

    fn answer(&self, outcome: Outcome) -> Applied {
        let problem = match outcome {
            Outcome::Applied(response) => return Applied::Response(response),
            Outcome::NotProposed => {
                self.counters.not_proposed.add(1);
                let detail = "no leader took the command within its deadline: send it again";
                Problem { leader: self.leader(), ..Problem::new(ProblemKind::NoLeader, detail) }
            }
            Outcome::Overloaded => {
                self.counters.overloaded.add(1);
                let detail = "too many commands are in flight: wait, then send it again";
                Problem::new(ProblemKind::Overloaded, detail)
            }
            Outcome::Invalid(what) => Problem::new(ProblemKind::InvalidRequest, what),
            Outcome::NotServing(why) => {
                self.counters.not_proposed.add(1);
                Problem::new(ProblemKind::NotReady, format!("{why}: try another node"))
            }
            Outcome::Unknown(why) => {
                self.counters.unknown.add(1);
                Problem::unknown(format!("{why}: it may have been applied; send the same command again"))
            }
        };
        Applied::Problem(problem)
    }
}

/// What became of a write: refused by openraft before it was appended, applied, or unknown.
fn outcome<E>(answer: Result<Result<WriteResult, oneshot::error::RecvError>, E>) -> Outcome {
    match answer {
        Ok(Ok(Ok(written))) => match written.data {
            EntryResponse::Ledger(response) => Outcome::Applied(response),
            EntryResponse::None => Outcome::Unknown("the entry was answered without the ledger".to_owned()),
        },
        Ok(Ok(Err(ClientWriteError::ForwardToLeader(_)))) => Outcome::NotProposed,
        Ok(Ok(Err(ClientWriteError::LogEntryDiscarded(_)))) => {
            Outcome::Unknown("the leader changed after the command was accepted".to_owned())
        }
        Ok(Ok(Err(error @ (ClientWriteError::ChangeMembershipError(_) | ClientWriteError::PreconditionFailed(_))))) => {
            Outcome::Unknown(error.to_string())
        }
        Ok(Err(_)) => Outcome::Unknown("this node is stopping".to_owned()),
        Err(_) => Outcome::Unknown("no answer within the deadline".to_owned()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_command_of_the_leaders_own_is_not_taken_from_anybody() {
        let own = checked(&Input::Leader(LeaderCommand::Tick)).unwrap_err();
        assert!(own.to_string().contains("only the leader itself proposes this"), "{own:?}");
        let client = Envelope { session: 0, seq: 0, command: Command::OpenSession };
        assert!(checked(&Input::Client(client)).is_ok());
    }
}
