//! The command line, documented flag by flag.

use std::path::PathBuf;

use clap::{Parser, Subcommand, ValueEnum};
use quorate_domain::{Account, ActorName, Asset, ClientOrderId, Decimal, Exposure, MakerName, Money, Symbol};

const EXIT_CODES: &str = "\
Exit codes:
  0  done
  1  refused: by the ledger, or by a node for good
  2  usage: the command line or a file is wrong; nothing was sent
  3  unavailable: no answer in time; nothing was changed
  4  unknown: no answer in time, and the change may have been made: look before you repeat it
  5  check failed: an audit found something wrong, or a bench could not measure";

/// Looks at a Quorate group and changes what may be changed by hand.
#[derive(Debug, Parser)]
#[command(name = "ledgerctl", version, after_help = EXIT_CODES)]
pub(crate) struct Args {
    /// Where the nodes serve clients, separated by commas; in the order of their ids
    #[arg(
        long,
        global = true,
        env = "QUORATE_ENDPOINTS",
        value_delimiter = ',',
        value_name = "URLS",
        default_value = "http://127.0.0.1:7101,http://127.0.0.1:7102,http://127.0.0.1:7103"
    )]
    pub(crate) endpoints: Vec<String>,
    /// Name of the cluster that is meant: a node of another refuses every call
    #[arg(long, global = true, env = "QUORATE_CLUSTER_ID", value_name = "NAME")]
    pub(crate) cluster_id: Option<String>,
    /// Print JSON for programs rather than tables for people
    #[arg(long, global = true, env = "QUORATE_JSON")]
    pub(crate) json: bool,
    /// How fresh reads must be
    #[arg(long, global = true, env = "QUORATE_CONSISTENCY", value_enum, default_value_t = Freshness::Linearizable)]
    pub(crate) consistency: Freshness,
    /// How long to try before giving up
    #[arg(
        long,
        global = true,
        env = "QUORATE_TIMEOUT_MS",
        value_name = "MS",
        default_value_t = 5_000,
        value_parser = clap::value_parser!(u64).range(1..=600_000)
    )]
    pub(crate) timeout_ms: u64,
    #[command(subcommand)]
    pub(crate) task: Task,
}

/// How fresh reads must be.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub(crate) enum Freshness {
    /// At or after every write acknowledged before the call
    Linearizable,
    /// Whatever the node that answers has applied
    Local,
}

impl From<Freshness> for quorate_api::Consistency {
    fn from(freshness: Freshness) -> Self {
        match freshness {
            Freshness::Linearizable => Self::Linearizable,
            Freshness::Local => Self::Local,
        }
    }
}

/// What is to be done.
#[derive(Debug, Subcommand)]
pub(crate) enum Task {
    /// All nodes side by side: role, term, leader, indexes, digests; and the control state
    Status,
    /// Committed positions, their marks and their profit
    Positions {
        /// Only this symbol
        #[arg(long)]
        symbol: Option<Symbol>,
        /// As they were after this log index, from the history that is kept: position and cash
        #[arg(long, value_name = "INDEX")]
        at: Option<u64>,
    },
    /// Equity and profit by quote asset
    Pnl,
    /// What accounts, the house and the fees have of each asset
    Balances {
        /// Only this account
        #[arg(long)]
        account: Option<Account>,
    },
    /// The breakers on equity, and the protections of symbols
    Breakers,
    /// The exposure ledger: the limit, and what is reserved on each side
    Exposure,
    /// Who waits for exposure, in which order, and whose turn it is
    Waiting,
    /// Active quotes
    Quotes {
        /// Only this symbol
        #[arg(long)]
        symbol: Option<Symbol>,
    },
    /// Which maker holds which symbol, under which epoch
    Authority,
    /// Registered makers and their leases
    Makers,
    /// Defined symbols
    Symbols,
    /// Orders, open or remembered
    Orders(OrdersArgs),
    /// Fills that are still kept
    Fills {
        /// First log index
        #[arg(long, default_value_t = 0)]
        from: u64,
        /// Log indexes to look through at most
        #[arg(long)]
        limit: Option<usize>,
        /// Only this symbol
        #[arg(long)]
        symbol: Option<Symbol>,
    },
    /// Events as they are committed, in words, until interrupted; with --json whole frames
    Watch {
        /// First log index [default: what is committed from now on]
        #[arg(long)]
        from: Option<u64>,
        /// Also the renewals of makers' leases and the marks, which are most of all events
        #[arg(long)]
        all: bool,
    },
    /// Every frame that is kept up to now, as JSON lines: first the opening balances, then one frame a line
    Export,
    /// Add a symbol
    DefineSymbol(DefineSymbolArgs),
    /// Turn quoting on or off: for all, one symbol, or one maker
    Quoting(QuotingArgs),
    /// End all quotes and open orders, and refuse further ones until it is turned off
    KillSwitch {
        /// What to do
        #[arg(value_enum)]
        action: KillSwitchAction,
        #[command(flatten)]
        decision: Decision,
    },
    /// Set the global exposure limit, each side
    Limit {
        /// Exposure units, from 0 to the hard limit
        limit: Exposure,
        #[command(flatten)]
        decision: Decision,
    },
    /// Set the largest position of a symbol, long or short
    PositionLimit {
        /// The symbol
        symbol: Symbol,
        /// Lots; left out, there is no limit from now on
        #[arg(long, value_name = "LOTS")]
        max: Option<i64>,
        #[command(flatten)]
        decision: Decision,
    },
    /// Choose how exposure is counted, before any symbol is defined
    ExposureBasis {
        /// What a fill could cost at most is counted in this asset; left out, exposure is counted in units
        #[arg(long, value_name = "ASSET")]
        worst_loss: Option<Asset>,
        /// The limit, each side: units, or an amount of the asset
        #[arg(long, value_name = "AMOUNT")]
        limit: String,
        #[command(flatten)]
        decision: Decision,
    },
    /// Change fees, tick, price range, least notional or weight of a symbol that has no quote, order or move
    Revise(ReviseArgs),
    /// Pause quoting of a symbol when too much of it is filled in a short time
    Protection {
        /// The symbol
        symbol: Symbol,
        /// Lots filled that trip it; left out, there is no protection from now on
        #[arg(long, requires = "window_ms", requires = "pause_ms")]
        lots: Option<i64>,
        /// Within this time, counted from the first fill
        #[arg(long, value_name = "MS")]
        window_ms: Option<u64>,
        /// For how long it is not quoted then
        #[arg(long, value_name = "MS")]
        pause_ms: Option<u64>,
        #[command(flatten)]
        decision: Decision,
    },
    /// Pull all quotes in an asset when its equity falls too far below its high-water mark
    DrawdownLimit {
        /// The quote asset
        asset: Asset,
        /// How far it may fall; left out, there is no limit from now on
        #[arg(long, value_name = "AMOUNT")]
        limit: Option<Money>,
        #[command(flatten)]
        decision: Decision,
    },
    /// Arm a breaker that has tripped: the present equity is its high-water mark
    Rearm {
        /// The quote asset
        asset: Asset,
        #[command(flatten)]
        decision: Decision,
    },
    /// Let an account go below 0 in no asset from now on
    LimitAccount {
        /// The account
        account: Account,
        #[command(flatten)]
        decision: Decision,
    },
    /// Put an amount of an asset into an account, or take it out
    Deposit {
        /// The account
        account: Account,
        /// The asset
        asset: Asset,
        /// How much; below 0 it is taken out
        #[arg(allow_negative_numbers = true)]
        amount: Money,
        #[command(flatten)]
        decision: Decision,
    },
    /// End an event contract: its positions become cash
    Settle {
        /// The symbol
        symbol: Symbol,
        /// The price in ticks: 0, or what the contract pays
        price: i64,
        #[command(flatten)]
        decision: Decision,
    },
    /// End a spot symbol: its positions stay what they are
    CloseSymbol {
        /// The symbol
        symbol: Symbol,
        #[command(flatten)]
        decision: Decision,
    },
    /// Hand leadership to another voter
    TransferLeader {
        /// Its node id
        to: u64,
    },
    /// Build a snapshot now
    Snapshot {
        /// At this endpoint, counted from 1 [default: any]
        #[arg(long)]
        node: Option<usize>,
    },
    /// Show the members, or change them
    Members {
        /// JSON file: {"membership_index":0,"members":[{"node_id":1,"peer_addr":"host:port","api_addr":"host:port","voter":true},..]}; those not listed leave; a new node takes an id that no member ever had; membership_index is the one that `members` showed
        #[arg(long, value_name = "FILE")]
        change: Option<PathBuf>,
    },
    /// Audit every node, and compare their state at one common index
    Audit,
    /// The fault switch of the peer traffic; only where nodes run with --fault-injection
    Faults {
        #[command(subcommand)]
        action: FaultsAction,
    },
    /// Measure committed commands in a closed loop. Needs a group without other makers
    Bench(BenchArgs),
}

/// See [`Task::Orders`].
#[derive(Debug, clap::Args)]
pub(crate) struct OrdersArgs {
    /// Only of this account
    #[arg(long)]
    pub(crate) account: Option<Account>,
    /// Only with this client order id (needs --account)
    #[arg(long, value_name = "ID", requires = "account")]
    pub(crate) client_order_id: Option<ClientOrderId>,
    /// Only with this order id
    #[arg(long, value_name = "ID")]
    pub(crate) order_id: Option<u64>,
    /// Only of this symbol
    #[arg(long)]
    pub(crate) symbol: Option<Symbol>,
    /// Only those that rest
    #[arg(long)]
    pub(crate) open: bool,
    /// Rows at most
    #[arg(long)]
    pub(crate) limit: Option<usize>,
    /// Only ids above this one
    #[arg(long, value_name = "ID")]
    pub(crate) after: Option<u64>,
}

/// See [`Task::DefineSymbol`].
#[derive(Debug, clap::Args)]
pub(crate) struct DefineSymbolArgs {
    /// Its name
    pub(crate) symbol: Symbol,
    /// What is bought and sold
    #[arg(long, value_name = "ASSET")]
    pub(crate) base: Asset,
    /// What it is paid in
    #[arg(long, value_name = "ASSET")]
    pub(crate) quote: Asset,
    /// Price of one tick
    #[arg(long, default_value = "0.01")]
    pub(crate) tick_size: Decimal,
    /// Quantity of one lot
    #[arg(long, default_value = "0.001")]
    pub(crate) lot_size: Decimal,
    /// Exposure units of one lot
    #[arg(long, default_value_t = 1)]
    pub(crate) exposure_per_lot: i64,
    /// Lowest price, in ticks
    #[arg(long, value_name = "TICKS", default_value_t = 1)]
    pub(crate) min_price: i64,
    /// Highest price, in ticks [default: the highest that there is; with --pays one tick less than that]
    #[arg(long, value_name = "TICKS")]
    pub(crate) max_price: Option<i64>,
    /// Least price x quantity of an order, in the quote asset
    #[arg(long, value_name = "MONEY", default_value = "0")]
    pub(crate) min_notional: Money,
    /// Fee of the resting side in parts per million, negative for a rebate
    #[arg(long, value_name = "PPM", default_value_t = 0, allow_negative_numbers = true)]
    pub(crate) maker_fee_ppm: i32,
    /// Fee of the taker in parts per million
    #[arg(long, value_name = "PPM", default_value_t = 0, allow_negative_numbers = true)]
    pub(crate) taker_fee_ppm: i32,
    /// An event contract, that pays so many ticks or nothing
    #[arg(long, value_name = "TICKS")]
    pub(crate) pays: Option<i64>,
}

/// See [`Task::Revise`]: what is left out stays as it is.
#[derive(Debug, clap::Args)]
pub(crate) struct ReviseArgs {
    /// The symbol
    pub(crate) symbol: Symbol,
    /// Price of one tick
    #[arg(long)]
    pub(crate) tick_size: Option<Decimal>,
    /// The lowest price, in ticks
    #[arg(long)]
    pub(crate) min_price: Option<i64>,
    /// The highest price, in ticks
    #[arg(long)]
    pub(crate) max_price: Option<i64>,
    /// The least price x quantity of an order
    #[arg(long)]
    pub(crate) min_notional: Option<Money>,
    /// The resting side's fee, in parts per million; a rebate is below 0
    #[arg(long, allow_negative_numbers = true)]
    pub(crate) maker_fee_ppm: Option<i32>,
    /// The taker's fee, in parts per million
    #[arg(long, allow_negative_numbers = true)]
    pub(crate) taker_fee_ppm: Option<i32>,
    /// Exposure units of one lot
    #[arg(long)]
    pub(crate) exposure_per_lot: Option<i64>,
    #[command(flatten)]
    pub(crate) decision: Decision,
}

/// See [`Task::Quoting`].
#[derive(Debug, clap::Args)]
pub(crate) struct QuotingArgs {
    /// On or off
    #[arg(value_enum)]
    pub(crate) state: OnOff,
    /// Only for this symbol
    #[arg(long, conflicts_with = "maker")]
    pub(crate) symbol: Option<Symbol>,
    /// Only for this maker
    #[arg(long)]
    pub(crate) maker: Option<MakerName>,
    #[command(flatten)]
    pub(crate) decision: Decision,
}

/// Who decides something, why, and on which state.
#[derive(Debug, clap::Args)]
pub(crate) struct Decision {
    /// Who decides this: it stands in the event
    #[arg(long, env = "QUORATE_ACTOR", value_name = "NAME", default_value = "operator")]
    pub(crate) actor: ActorName,
    /// Why: it stands in the event
    #[arg(long, value_name = "TEXT", default_value = "no reason given")]
    pub(crate) reason: String,
    /// Only if the control version is still this one [default: the present one]
    #[arg(long, value_name = "VERSION")]
    pub(crate) control_version: Option<u64>,
}

/// On or off.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub(crate) enum OnOff {
    /// Quotes may be placed
    On,
    /// Quotes end and are refused
    Off,
}

/// What the kill switch is to do.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub(crate) enum KillSwitchAction {
    /// End all quotes and open orders, and refuse further ones
    Engage,
    /// Allow them again
    #[value(alias = "rearm")]
    Off,
}

/// See [`Task::Faults`].
#[derive(Debug, Subcommand)]
pub(crate) enum FaultsAction {
    /// Cut one node's peer traffic
    Set {
        /// The endpoint, counted from 1
        #[arg(long)]
        node: usize,
        /// Peers, by node id, to which it sends nothing
        #[arg(long, value_delimiter = ',', value_name = "IDS")]
        drop_to: Vec<u64>,
        /// Peers, by node id, from which it takes nothing
        #[arg(long, value_delimiter = ',', value_name = "IDS")]
        drop_from: Vec<u64>,
    },
    /// Let everything through again
    Clear {
        /// The endpoint, counted from 1 [default: every one]
        #[arg(long)]
        node: Option<usize>,
    },
}

/// See [`Task::Bench`].
#[derive(Debug, clap::Args)]
pub(crate) struct BenchArgs {
    /// Numbers of simulated clients, one run each; a client has at most one command in flight
    #[arg(
        long,
        value_delimiter = ',',
        default_value = "1,8,64,256",
        value_parser = clap::value_parser!(u16).range(1..=512)
    )]
    pub(crate) clients: Vec<u16>,
    /// Seconds that each run is measured
    #[arg(long, default_value_t = 10, value_parser = clap::value_parser!(u64).range(1..=3_600))]
    pub(crate) seconds: u64,
    /// Seconds before that which are not
    #[arg(long, default_value_t = 2, value_parser = clap::value_parser!(u64).range(0..=600))]
    pub(crate) warmup: u64,
    /// Connections over which the clients' commands go, batched
    #[arg(long, default_value_t = 2, value_parser = lanes)]
    pub(crate) lanes: usize,
}

fn lanes(text: &str) -> Result<usize, String> {
    let max = quorate_client::config::LANES_MAX;
    text.parse().ok().filter(|lanes| (1..=max).contains(lanes)).ok_or_else(|| format!("must be between 1 and {max}"))
}
