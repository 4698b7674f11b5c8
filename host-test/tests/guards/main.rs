//! What guests may do wrong without harm: whatever it is, the host names it and goes on.
//!
//! Time limits are short here, and nothing looks at the wall clock.

mod bodies;
mod bytes;
mod crashes;
#[path = "../common/frame.rs"]
mod frame;
mod guest;
mod hostcalls;
mod limits;
mod malloc;
