//! What ends Envoy's process, held against Envoy itself: if one of these is served one day, our
//! report of it is out of date. What our host says of each is in `../guards/crashes.rs`.

use std::io::{Read, Write};
use std::os::unix::process::ExitStatusExt;

use crate::guest::{close, module, on, reply, resume};
use crate::wire::{Envoy, upstream};

/// The signal of a process that reads what isn't there.
const SEGMENTATION_FAULT: i32 = 11;

/// Sends a request to an Envoy with a guest, and another to see whether it is still there.
#[track_caller]
fn assert_crashes(guest: &str) {
    let wasm = wat::parse_str(guest).unwrap();
    let answer = b"HTTP/1.1 200 OK\r\ncontent-length: 2\r\n\r\nhi";
    let upstream = upstream(b"\r\n\r\n", answer, false);
    let Some(mut envoy) = Envoy::start(&wasm, upstream, false) else {
        return;
    };
    for _ in 0..2 {
        let Ok(mut client) = envoy.try_connect() else {
            break;
        };
        let request = b"GET / HTTP/1.1\r\nhost: a\r\nconnection: close\r\n\r\n";
        let _ = client.write_all(request);
        let _ = client.read_to_end(&mut Vec::new());
    }
    let Ok(status) = envoy.ended() else {
        panic!("Envoy lives: {guest}");
    };
    assert_eq!(
        status.signal(),
        Some(SEGMENTATION_FAULT),
        "{status}: {guest}"
    );
}

#[test]
fn calls_at_the_end_of_a_stream_crash_envoy() {
    for callback in ["log", "done", "delete"] {
        assert_crashes(&module(&[on(callback, &[reply(418, "late")], 1)]));
    }
    assert_crashes(&module(&[on("log", &[close(0)], 0)]));
    assert_crashes(&module(&[on("log", &[close(1)], 0)]));
    assert_crashes(&module(&[on("done", &[close(0)], 1)]));
}

#[test]
fn a_resume_of_a_response_that_is_not_there_crashes_envoy() {
    assert_crashes(&module(&[on("request_headers", &[resume(1)], 0)]));
}

#[test]
fn two_local_replies_to_a_response_crash_envoy() {
    let twice = [reply(418, "one"), reply(418, "two")];
    assert_crashes(&module(&[on("response_headers", &twice, 0)]));
}
