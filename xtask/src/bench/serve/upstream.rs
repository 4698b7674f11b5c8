//! The services behind the gateway: one answer, whatever is asked.

use std::io::{Read, Write};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::thread;

use anyhow::{Context, Result};

const ANSWER: &[u8] = b"HTTP/1.1 200 OK\r\ncontent-length: 2\r\ncontent-type: text/plain\r\n\r\nok";

/// Starts a service on a port of its own; it ends with the process.
pub(crate) fn start() -> Result<SocketAddr> {
    let listener = TcpListener::bind("127.0.0.1:0").context("no port is free")?;
    let address = listener.local_addr()?;
    thread::spawn(move || {
        for stream in listener.incoming().flatten() {
            thread::spawn(move || serve(stream));
        }
    });
    Ok(address)
}

/// Answers requests without a body until the gateway closes the connection.
fn serve(mut stream: TcpStream) {
    // Without it each answer waits for an acknowledgement.
    let _ = stream.set_nodelay(true);
    let mut bytes = [0; 16 * 1024];
    let mut filled = 0;
    while let Some(room) = bytes.get_mut(filled..).filter(|room| !room.is_empty()) {
        match stream.read(room) {
            Ok(0) | Err(_) => return,
            Ok(read) => filled += read,
        }
        if bytes
            .get(..filled)
            .is_some_and(|head| head.ends_with(b"\r\n\r\n"))
        {
            filled = 0;
            if stream.write_all(ANSWER).is_err() {
                return;
            }
        }
    }
}
