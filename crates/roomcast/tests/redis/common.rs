//! What these tests share with those of the library, where that looks for it.

pub use super::DEADLINE;
