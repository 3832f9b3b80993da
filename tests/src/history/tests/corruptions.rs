//! One corruption a test, and who must find it.
