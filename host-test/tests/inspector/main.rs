//! The inspector as its users have it: `host-test serve --inspect` as a process, and its page in a
//! real Chromium, driven by Playwright.
//!
//! What the browser does is in `browser/*.mjs`, one function for each test of that name here.

mod admin;
mod browser;
#[path = "../common/client.rs"]
#[allow(dead_code, reason = "other tests use more of it")]
mod client;
#[allow(dead_code, reason = "the ABI tests use more of it")]
#[path = "../common/frame.rs"]
mod frame;
#[allow(dead_code, reason = "the gateway's own tests use more of it")]
#[path = "../serve/gateway.rs"]
mod gateway;
mod page;
mod report;
mod scene;
#[allow(dead_code, reason = "the gateway's own tests use more of it")]
#[path = "../common/upstream.rs"]
mod upstream;
