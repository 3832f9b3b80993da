//! The whole group in one process: real nodes, clients, makers and exchange, under a simulated network, clock and disk.
//! One seed derives everything that happens, and a seed happens the same way every time.
//!
//! # Code map
//! [`plan`] is what a seed means; [`run`](mod@run) is one run; [`sim`] is its state, with [`node`], [`maker`] and [`exchange`] for
//! the machines, [`process`] for what runs on one, [`flow`], [`operator`], [`reader`] and [`feed`] for the clients. The world is
//! simulated by [`net`], [`clock`] and the store's own simulated disk. [`faults`] break it, [`heal`] ends that.
//! [`watch`] takes what nodes show, step by step, [`tap`] what clients are told, and [`checks`] holds both against
//! [`invariants`]; [`recorded`] keeps what clients lived through as a history, which is checked at the end. [`trace`] is the record of a run, [`report`] and [`shrink`] are for people.
//!
//! # What is real, and what is not
//! Everything above the transport, the clock and the device is the product's own code: openraft, redb, the ledger, the
//! request handlers, the client, the matching engine, the quoter. Not simulated: sockets and HTTP framing, threads (the
//! store's writer runs inline), and timers that drift apart from the clock.

#[cfg(not(tokio_unstable))]
compile_error!(
    "the simulation needs `--cfg tokio_unstable`, from its own .cargo/config.toml: build it in tests/simulation, and \
     without a RUSTFLAGS variable, which would override that file"
);

pub mod checks;
pub mod clock;
pub mod exchange;
pub mod faults;
pub mod feed;
pub mod flow;
pub mod heal;
pub mod invariants;
pub mod maker;
pub mod net;
pub mod node;
pub mod operator;
pub mod panics;
pub mod plan;
pub mod process;
pub mod reader;
pub mod recorded;
pub mod regressions;
pub mod report;
pub mod run;
pub mod shrink;
pub mod sim;
pub mod tap;
pub mod trace;
pub mod view;
pub mod watch;
