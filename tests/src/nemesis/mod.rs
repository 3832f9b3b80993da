//! What hurts a cluster of real processes: kills, pauses, broken links, full and wiped disks, wrong
//! clocks, requests that must be refused, and feeds of prices that die or say what cannot be.
//!
//! Invariant: each fault *measures* that it happened (packets that nftables dropped, the state of a process as the
//! kernel tells it, what the node itself said of its disk). A run whose fault measured nothing proves nothing, and
//! fails. Whatever is set up here (namespaces, mounts) is taken down also when this process dies of a signal.
//!
//! Links are spoilt by one of three [`Means`], and a run says by which: network namespaces with nftables (and netem
//! where the kernel has it) for root; a small proxy in front of each node's peer port for anybody; the nodes' own
//! fault switch for the rest.

mod arena;
mod asked;
mod clock;
mod disk;
mod fault;
mod feeder;
mod feeds;
mod kill;
mod links;
mod namespaces;
mod network;
mod pause;
mod proxy;
mod scene;
mod schedule;
mod switch;
mod tools;
mod undo;
mod wiped;

pub use arena::{Arena, Plan};
pub use asked::{MustRefuse, Wish};
pub use clock::WrongClock;
pub use disk::FullDisk;
pub use fault::{Fault, Happened, Kind, Pick, Step};
pub use feeder::{Ailment, far_from_meant};
pub use feeds::{BadFeed, DeadFeed};
pub use kill::Kill;
pub use links::{BadLinks, Shape};
pub use network::{Host, Link, Means, Network, Spoil};
pub use pause::Pause;
pub use scene::Nobody;
pub use schedule::{Planned, UnderWay, next, schedule};
pub use tools::{can_have_namespaces, can_have_small_disks, skipped};
pub use wiped::WipedDisk;
