//! The host's ABI, seen by guests written by hand in WAT.

mod body;
mod callouts;
mod faults;
mod foreign;
#[path = "../common/frame.rs"]
mod frame;
mod guest;
mod headers;
mod injected;
mod instructions;
mod lifecycle;
mod local_reply;
mod modules;
mod parallel;
mod properties;
mod queues;
mod shared;
mod strict;
mod trace;
