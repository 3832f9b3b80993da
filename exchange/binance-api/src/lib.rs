//! Wire types of the Binance Spot API (<https://developers.binance.com/docs/binance-spot-api-docs>), as far as
//! this project speaks it: used by the exchange, by the publisher and by what reads recorded captures.
//!
//! Invariants: decimals are exact on their way between text and ticks or lots; parsing never panics, and what
//! cannot be read is an [`ApiError`] with Binance's own code. What is absent: sockets, clocks, state.

pub mod capture;
pub mod endpoints;
pub mod error;
pub mod filters;
pub mod model;
pub mod params;
pub mod reference;
pub mod signing;
pub mod streams;

pub use error::ApiError;
pub use filters::{PriceBand, SymbolFilters};
pub use params::Params;
