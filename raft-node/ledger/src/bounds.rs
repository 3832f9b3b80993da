//! Every bound of the replicated state, in one place. Times are milliseconds of log time.

/// Exposure that no limit may pass, each side, in exposure units; also the limit at genesis.
pub const HARD_EXPOSURE_LIMIT: i128 = 100;
/// The most that the limit may be where exposure is the worst loss, in 10^-12 of its asset.
pub const WORST_LOSS_LIMIT_MAX: i128 = 1_000_000_000_000_000_000_000_000_000_000;
/// Longest life of a quote from its commit.
pub const QUOTE_TTL_MAX_MS: u64 = 30_000;
/// Shortest life that may be asked for a quote.
pub const QUOTE_TTL_MIN_MS: u64 = 100;
/// Shortest maker lease. Production uses 9 s, three times the worst failover (`docs/guarantees.md`).
pub const LEASE_TTL_MIN_MS: u64 = 500;
/// Longest maker lease.
pub const LEASE_TTL_MAX_MS: u64 = 60_000;
/// How long a refused or reduced demand for exposure is remembered, so that others leave room for it.
pub const DEMAND_MEMORY_MS: u64 = 10_000;
/// How long a turn lasts from its first grant.
pub const TURN_MS: u64 = 5_000;
/// How long one lot stays offered to a symbol whose turn has come.
pub const OFFER_MS: u64 = 1_000;
/// Accounts that have a record at most.
pub const ACCOUNTS_MAX: usize = 10_000;
/// The largest notional of one fill, in 10^-12 of the quote asset, and its largest quantity in 10^-12 of the base asset: no sum of
/// fills comes near the range of `i128`.
pub const NOTIONAL_MAX: i128 = 1_000_000_000_000_000_000_000_000_000;
/// What a position may be worth at most, either way, in 10^-12 of its quote asset: over all symbols the sum fits `i128`.
pub const POSITION_VALUE_MAX: i128 = 1_000_000_000_000_000_000_000_000_000_000_000;
/// The largest deposit or withdrawal, in 10^-12 of the asset: a million of them do not come near the range of `i128`.
pub const DEPOSIT_MAX: i128 = 1_000_000_000_000_000_000_000_000_000_000;
/// How far a mark may lie from the one that counts and count at once, in parts per million of it.
pub const MARK_BAND_PPM: u32 = 100_000;
/// A mark so far behind log time is too old: equity is unmarked.
pub const MARK_AGE_MAX_MS: u64 = 15_000;
/// The longest window and the longest pause of a protection.
pub const PROTECTION_MS_MAX: u64 = 3_600_000;
/// An answer ([`Response`](crate::Response)) at most, in the bytes in which it is kept and chained.
pub const ANSWER_MAX_BYTES: usize = 4_096;
/// The same as JSON.
pub const ANSWER_JSON_MAX_BYTES: usize = 16 << 10;
/// An entry of the log ([`Input`](crate::Input)) at most, in the bytes in which it is written. The ledger applies whatever comes;
/// whoever proposes refuses what is larger.
pub const ENTRY_MAX_BYTES: usize = 1 << 20;
/// The longest text in a refusal, in bytes.
pub const REFUSAL_TEXT_MAX: usize = 256;
/// The longest reason of a control command, in bytes.
pub const REASON_MAX: usize = 256;
/// The longest parameters of a strategy, in bytes.
pub const PARAMETERS_MAX: usize = 1_024;
/// The longest state of a strategy that travels with a quote, in bytes.
pub const STRATEGY_STATE_MAX: usize = 256;
/// Farthest ahead of log time that an order's own deadline may lie.
pub const ORDER_DEADLINE_MAX_MS: u64 = 60_000;
/// Farthest ahead of log time that an order's timestamp may lie.
pub const ORDER_TIMESTAMP_AHEAD_MS: u64 = 10_000;
/// The largest `recvWindow` that an exchange may grant: so long after its timestamp it takes an order.
pub const RECV_WINDOW_MAX_MS: u64 = 60_000;
/// How long an order's name is known after the order closed: as long as a repeat of one request can be on its way.
pub const NAME_MEMORY_MS: u64 = ORDER_DEADLINE_MAX_MS + ORDER_TIMESTAMP_AHEAD_MS + RECV_WINDOW_MAX_MS;
/// Names of orders at most, of open ones and of closed ones, over all accounts.
pub const NAMES_MAX: usize = 2_000_000;
/// A session idle this long is evicted.
pub const SESSION_IDLE_MS: u64 = 600_000;
/// A session idle for less than this is never evicted to make room for another.
pub const SESSION_IDLE_MIN_MS: u64 = 60_000;
/// Sessions at most.
pub const SESSIONS_MAX: usize = 1_024;
/// Answers kept for each session: a `seq` more than this below the highest one seen is too old.
pub const SESSION_WINDOW: u64 = 128;
/// Symbols at most that have not ended.
pub const SYMBOLS_MAX: usize = 1_024;
/// Symbols that have ended and are remembered: with so many beside `SYMBOLS_MAX`, no further one is defined.
pub const ENDED_SYMBOLS_MAX: usize = 16_384;
/// Registered makers at most.
pub const MAKERS_MAX: usize = 64;
/// Maker names for which quoting is turned off at most, registered or not.
pub const QUOTING_OFF_MAKERS_MAX: usize = 1_024;
/// Open orders at most, over all accounts and symbols.
pub const OPEN_ORDERS_MAX: usize = 10_000;
/// Fills planned for one order at most.
pub const FILLS_PER_ORDER_MAX: usize = 128;
/// Answers to executions kept for repeats at most, over all symbols.
pub const EXEC_WINDOW: usize = 1_024;
/// Things cleaned at most at the start of one apply. Makers come first, so that none is left standing
/// past its deadline, and no symbol is granted to one.
pub const SWEEP_MAX: usize = 64;
const _: () = assert!(SWEEP_MAX >= MAKERS_MAX);
