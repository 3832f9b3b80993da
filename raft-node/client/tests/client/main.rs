//! The client against a group in memory, whose calls fail as the test says. Time is tokio's and paused.

#![allow(clippy::unwrap_used, reason = "a test that cannot go on ends there")]

mod commands;
mod events;
mod faults;
mod group;
mod reads;
