//! Typed reads, and the calls of operation. A read is repeated, at one node after the other, until it is
//! answered or its time is up.

use std::time::Duration;

use quorate_api::{
    AuditView, AuthorityView, BalancesView, BreakersView, ChangeMembers, CheckpointView, ClusterView, Consistency,
    ExposureView, Faults, FillsView, MakerView, OrderView, PnlView, PositionView, Problem, ProblemKind, QuoteView,
    Read, StatusView, SymbolView, TransferLeader, WaitingView, paths,
};
use quorate_domain::{Account, ClientOrderId, OrderId, Symbol};
use serde::{Serialize, de::DeserializeOwned};
use tokio::time::Instant;

use crate::{
    client::Client,
    nodes::Target,
    observer::{Operation, Returned},
    wire::{Failure, is_passing},
};

/// How a read is made.
#[derive(Debug, Clone)]
pub struct ReadOptions {
    /// How fresh it must be.
    pub consistency: Consistency,
    /// Wait until this index is applied where it is read.
    pub min_index: Option<u64>,
    /// Only this endpoint, by its place in the configuration; `None` takes any that answers.
    pub node: Option<usize>,
    /// How long to try.
    pub timeout: Duration,
}

impl Default for ReadOptions {
    fn default() -> Self {
        Self {
            consistency: Consistency::Linearizable,
            min_index: None,
            node: None,
            timeout: Duration::from_millis(5_000),
        }
    }
}

impl ReadOptions {
    /// Linearizable, any node, 5 s.
    #[must_use]
    pub fn linearizable() -> Self {
        Self::default()
    }

    /// What the node at this place of the configuration has applied.
    #[must_use]
    pub fn local(node: usize) -> Self {
        Self { consistency: Consistency::Local, node: Some(node), ..Self::default() }
    }

    /// The same, at or after `index`.
    #[must_use]
    pub fn at_least(self, index: u64) -> Self {
        Self { min_index: Some(index), ..self }
    }

    /// The same, for so long at most.
    #[must_use]
    pub fn within(self, timeout: Duration) -> Self {
        Self { timeout, ..self }
    }
}

/// Which orders are asked for. Every field narrows.
#[derive(Debug, Clone, Default)]
pub struct OrderQuery {
    /// Of this account.
    pub account: Option<Account>,
    /// Under this name.
    pub client_order_id: Option<ClientOrderId>,
    /// With this id.
    pub order_id: Option<OrderId>,
    /// Of this symbol.
    pub symbol: Option<Symbol>,
    /// Only those that rest.
    pub open: bool,
    /// Rows at most.
    pub limit: Option<usize>,
    /// Only ids above this one: the last of the page before.
    pub after: Option<OrderId>,
}

/// Why a call other than a command gave no answer.
#[derive(Debug, thiserror::Error)]
pub enum CallFailed {
    /// A node refused it for good: trying again changes nothing.
    #[error("{0}")]
    Refused(Problem),
    /// Nobody answered in time. `outcome_unknown` of the last problem says whether a change may have
    /// been made; a read changes nothing.
    #[error("no answer in time: {0}")]
    Unavailable(Problem),
    /// An answer that this program does not understand: its version and the node's differ.
    #[error("unreadable answer of {node}: {what}")]
    Unreadable {
        /// `http://host:port`.
        node: String,
        /// What is wrong with it.
        what: String,
    },
}

/// Builds a query of parameters whose values need no escaping: names and numbers.
struct Query(String);

impl Query {
    fn new(path: &str) -> Self {
        Self(path.to_owned())
    }

    fn with(mut self, name: &str, value: Option<impl std::fmt::Display>) -> Self {
        if let Some(value) = value {
            let mark = if self.0.contains('?') { '&' } else { '?' };
            self.0.push_str(&format!("{mark}{name}={value}"));
        }
        self
    }
}

impl Client {
    /// Positions, of one symbol or all.
    ///
    /// # Errors
    /// [`CallFailed`], as for every read.
    pub async fn positions(
        &self,
        symbol: Option<&Symbol>,
        options: &ReadOptions,
    ) -> Result<Read<Vec<PositionView>>, CallFailed> {
        self.read(Query::new(paths::POSITIONS).with("symbol", symbol), options).await
    }

    /// The exposure ledger.
    ///
    /// # Errors
    /// [`CallFailed`], as for every read.
    pub async fn exposure(&self, options: &ReadOptions) -> Result<Read<ExposureView>, CallFailed> {
        self.read(Query::new(paths::EXPOSURE), options).await
    }

    /// Whose turn it is, and who waits for one lot of exposure, in the order in which they are served.
    ///
    /// # Errors
    /// [`CallFailed`], as for every read.
    pub async fn waiting(&self, options: &ReadOptions) -> Result<Read<Vec<WaitingView>>, CallFailed> {
        self.read(Query::new(paths::WAITING), options).await
    }

    /// Profit by quote asset.
    ///
    /// # Errors
    /// [`CallFailed`], as for every read.
    pub async fn pnl(&self, options: &ReadOptions) -> Result<Read<Vec<PnlView>>, CallFailed> {
        self.read(Query::new(paths::PNL), options).await
    }

    /// The breakers on equity, and the protections of symbols.
    ///
    /// # Errors
    /// [`CallFailed`], as for every read.
    pub async fn breakers(&self, options: &ReadOptions) -> Result<Read<BreakersView>, CallFailed> {
        self.read(Query::new(paths::BREAKERS), options).await
    }

    /// What one account has, or a page of all accounts: those that sort after `after`.
    ///
    /// # Errors
    /// [`CallFailed`], as for every read.
    pub async fn balances(
        &self,
        account: Option<&Account>,
        after: Option<&Account>,
        options: &ReadOptions,
    ) -> Result<Read<BalancesView>, CallFailed> {
        self.read(Query::new(paths::BALANCES).with("account", account).with("after", after), options).await
    }

    /// Active quotes, of one symbol or all.
    ///
    /// # Errors
    /// [`CallFailed`], as for every read.
    pub async fn quotes(
        &self,
        symbol: Option<&Symbol>,
        options: &ReadOptions,
    ) -> Result<Read<Vec<QuoteView>>, CallFailed> {
        self.read(Query::new(paths::QUOTES).with("symbol", symbol), options).await
    }

    /// Who holds what.
    ///
    /// # Errors
    /// [`CallFailed`], as for every read.
    pub async fn authority(&self, options: &ReadOptions) -> Result<Read<Vec<AuthorityView>>, CallFailed> {
        self.read(Query::new(paths::AUTHORITY), options).await
    }

    /// Registered makers.
    ///
    /// # Errors
    /// [`CallFailed`], as for every read.
    pub async fn makers(&self, options: &ReadOptions) -> Result<Read<Vec<MakerView>>, CallFailed> {
        self.read(Query::new(paths::MAKERS), options).await
    }

    /// Defined symbols.
    ///
    /// # Errors
    /// [`CallFailed`], as for every read.
    pub async fn symbols(&self, options: &ReadOptions) -> Result<Read<Vec<SymbolView>>, CallFailed> {
        self.read(Query::new(paths::SYMBOLS), options).await
    }

    /// One page of orders, by id.
    ///
    /// # Errors
    /// [`CallFailed`], as for every read.
    pub async fn orders(&self, query: &OrderQuery, options: &ReadOptions) -> Result<Read<Vec<OrderView>>, CallFailed> {
        let path = Query::new(paths::ORDERS)
            .with("account", query.account.as_ref())
            .with("client_order_id", query.client_order_id.as_ref())
            .with("order_id", query.order_id)
            .with("symbol", query.symbol.as_ref())
            .with("open", query.open.then_some(true))
            .with("limit", query.limit)
            .with("after", query.after);
        self.read(path, options).await
    }

    /// One page of the fills that are kept: of the log indexes from `from` on, `limit` of them at most.
    ///
    /// # Errors
    /// [`CallFailed`], as for every read.
    pub async fn fills(
        &self,
        from: u64,
        limit: Option<usize>,
        symbol: Option<&Symbol>,
        options: &ReadOptions,
    ) -> Result<Read<FillsView>, CallFailed> {
        let path = Query::new(paths::FILLS).with("from", Some(from)).with("limit", limit).with("symbol", symbol);
        self.read(path, options).await
    }

    /// A node and its ledger in figures.
    ///
    /// # Errors
    /// [`CallFailed`], as for every read.
    pub async fn status(&self, options: &ReadOptions) -> Result<Read<StatusView>, CallFailed> {
        self.read(Query::new(paths::STATUS), options).await
    }

    /// The group's members.
    ///
    /// # Errors
    /// [`CallFailed`], as for every read.
    pub async fn cluster(&self, options: &ReadOptions) -> Result<Read<ClusterView>, CallFailed> {
        self.read(Query::new(paths::CLUSTER), options).await
    }

    /// An audit of the ledger where it is read.
    ///
    /// # Errors
    /// [`CallFailed`], as for every read.
    pub async fn audit(&self, options: &ReadOptions) -> Result<Read<AuditView>, CallFailed> {
        self.read(Query::new(paths::AUDIT), options).await
    }

    /// Digests at recent checkpoints, oldest first.
    ///
    /// # Errors
    /// [`CallFailed`], as for every read.
    pub async fn digests(&self, options: &ReadOptions) -> Result<Read<Vec<CheckpointView>>, CallFailed> {
        self.read(Query::new(paths::DIGESTS), options).await
    }

    /// Makes `change` the members of the group.
    ///
    /// # Errors
    /// [`CallFailed`]; sent again, to another node, only while no attempt may have been processed. Each node is asked
    /// first whether it answers.
    pub async fn change_members(&self, change: &ChangeMembers, timeout: Duration) -> Result<(), CallFailed> {
        self.operate(paths::MEMBERS, Some(change), None, timeout).await
    }

    /// Hands leadership to the voter `to`.
    ///
    /// # Errors
    /// As [`Client::change_members`].
    pub async fn transfer_leader(&self, to: u64, timeout: Duration) -> Result<(), CallFailed> {
        self.operate(paths::TRANSFER_LEADER, Some(&TransferLeader { to }), None, timeout).await
    }

    /// Builds a snapshot now, at the endpoint `node` or any.
    ///
    /// # Errors
    /// As [`Client::change_members`].
    pub async fn snapshot(&self, node: Option<usize>, timeout: Duration) -> Result<(), CallFailed> {
        self.operate(paths::SNAPSHOT, None::<&()>, node, timeout).await
    }

    /// Sets the fault switch of the endpoint `node`.
    ///
    /// # Errors
    /// As [`Client::change_members`]; `NotFound` where the node runs without fault injection.
    pub async fn set_faults(&self, node: usize, faults: &Faults, timeout: Duration) -> Result<(), CallFailed> {
        self.operate(paths::FAULTS, Some(faults), Some(node), timeout).await
    }

    /// The endpoint asked for, or the one to call first.
    pub(crate) fn target(&self, node: Option<usize>) -> Target {
        match node {
            Some(at) => self.shared.nodes.configured_at(at),
            None => self.shared.nodes.preferred(),
        }
    }

    /// Notes a failure, and sleeps until the next attempt. `false` where the time is up.
    async fn pause(&self, target: &Target, failure: &Failure, pause: Duration, deadline: Instant) -> bool {
        self.shared.nodes.failed(target, failure.problem.leader, Instant::now());
        let asked = failure.retry_after.unwrap_or(Duration::ZERO).min(self.shared.config.call_timeout);
        let until = Instant::now() + pause.max(asked);
        if until >= deadline {
            return false;
        }
        tokio::time::sleep_until(until).await;
        true
    }

    async fn read<T: DeserializeOwned>(&self, query: Query, options: &ReadOptions) -> Result<Read<T>, CallFailed> {
        let local = (options.consistency == Consistency::Local).then_some("local");
        let path = query.with("consistency", local).with("min_index", options.min_index).0;
        let calls = &self.shared.calls;
        let call = calls.invoked(&Operation::Read(&path));
        let deadline = Instant::now() + options.timeout;
        let mut backoff = self.shared.backoff();
        loop {
            self.shared.look_at_topology();
            let target = self.target(options.node);
            let attempt = self.shared.config.call_timeout.min(deadline.saturating_duration_since(Instant::now()));
            let failure = match self.shared.wire.get(&target.base, &path, attempt).await {
                Ok(body) => {
                    self.shared.nodes.answered(&target);
                    calls.returned(call, &Returned::Read { node: &target.base, body: &body });
                    return serde_json::from_slice(&body)
                        .map_err(|error| CallFailed::Unreadable { node: target.base, what: error.to_string() });
                }
                Err(failure) => failure,
            };
            let passing = failure.problem.outcome_unknown || is_passing(failure.problem.kind);
            if !passing {
                calls.returned(call, &Returned::ReadFailed(&failure.problem));
                return Err(CallFailed::Refused(failure.problem));
            }
            if !self.pause(&target, &failure, backoff.next(), deadline).await {
                calls.returned(call, &Returned::ReadFailed(&failure.problem));
                return Err(CallFailed::Unavailable(failure.problem));
            }
        }
    }

    /// Whether `target` answers at all: a node that hangs is not sent what it could do later. After a failure nothing was
    /// sent that changes anything.
    async fn knock(&self, target: &Target, deadline: Instant) -> Result<(), Failure> {
        let left = deadline.saturating_duration_since(Instant::now());
        let path = Query::new(paths::CLUSTER).with("consistency", Some("local")).0;
        match self.shared.wire.get(&target.base, &path, self.shared.config.call_timeout.min(left)).await {
            Ok(_) => Ok(()),
            Err(failure) if failure.problem.outcome_unknown => {
                Err(Problem::new(ProblemKind::NotReady, failure.problem.detail).into())
            }
            Err(failure) => Err(failure),
        }
    }

    async fn operate<B: Serialize>(
        &self,
        path: &str,
        body: Option<&B>,
        node: Option<usize>,
        timeout: Duration,
    ) -> Result<(), CallFailed> {
        let json = match body.map(serde_json::to_vec).transpose() {
            Ok(json) => bytes::Bytes::from(json.unwrap_or_else(|| b"{}".to_vec())),
            Err(error) => {
                let problem = Problem::new(ProblemKind::InvalidRequest, error.to_string());
                return Err(CallFailed::Refused(problem));
            }
        };
        let deadline = Instant::now() + timeout;
        let mut backoff = self.shared.backoff();
        loop {
            self.shared.look_at_topology();
            let target = self.target(node);
            let failure = match self.knock(&target, deadline).await {
                Ok(()) => {
                    let left = deadline.saturating_duration_since(Instant::now());
                    match self.shared.wire.post(&target.base, path, json.clone(), left).await {
                        Ok(_) => return Ok(()),
                        Err(failure) => failure,
                    }
                }
                Err(failure) => failure,
            };
            if failure.problem.outcome_unknown {
                return Err(CallFailed::Unavailable(failure.problem));
            }
            if !is_passing(failure.problem.kind) {
                return Err(CallFailed::Refused(failure.problem));
            }
            if !self.pause(&target, &failure, backoff.next(), deadline).await {
                return Err(CallFailed::Unavailable(failure.problem));
            }
        }
    }
}
