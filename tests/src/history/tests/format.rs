//! The form of a history.
