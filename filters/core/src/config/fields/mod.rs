//! Types for values with a grammar of their own, to be used in raw configuration structs.
//!
//! Each says in one place what it allows: the error and the schema's description quote it.

mod bounded;
mod duration;
mod header_name;
mod name;
mod proto_duration;
pub(crate) mod text;

pub use bounded::{Bounded, Count};
pub use duration::DurationText;
pub use header_name::HeaderName;
pub use name::Name;
pub use proto_duration::ProtoDuration;
