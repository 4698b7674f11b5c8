//! The client side: one connection per request, its bytes written and read as they are.

use std::io::{self, BufReader, Write};
use std::net::{IpAddr, Ipv4Addr, SocketAddr, TcpStream};
use std::time::Duration;

use tokio::net::TcpSocket;

use crate::headers::Headers;
use crate::scenario::{Answered, Broken, DEFAULT_AUTHORITY, RequestFields};

use super::http1::Head;

/// How long an answer may take before it counts as never coming. Real time: the host's own stands
/// still, so an answer takes as long as the work on it.
const PATIENCE: Duration = Duration::from_secs(5);

/// A request that was sent and whose answer wasn't read yet. Dropping it closes the connection.
pub(super) struct Sent {
    stream: TcpStream,
    method: String,
    /// The client's address.
    pub(super) address: SocketAddr,
}

impl Sent {
    /// Reads the answer; `None` if the connection closes without one, or nothing comes.
    pub(super) fn answer(self) -> Option<Answered> {
        read(self.stream, &self.method).unwrap_or_default()
    }

    /// The same if nothing moves any more: what hasn't come by now never will.
    pub(super) fn answer_at_once(self) -> Option<Answered> {
        self.stream.set_nonblocking(true).ok()?;
        self.answer()
    }
}

/// Sends a request.
pub(super) fn send(to: SocketAddr, request: &RequestFields) -> Result<Sent, Broken> {
    let broken = |error: io::Error| Broken(format!("can't talk to Envoy's listener: {error}"));
    let stream = connect(to, request.from)?;
    let address = stream.local_addr().map_err(broken)?;
    stream.set_read_timeout(Some(PATIENCE)).map_err(broken)?;
    stream.set_nodelay(true).map_err(broken)?;
    (&stream).write_all(&bytes(request)).map_err(broken)?;
    Ok(Sent {
        stream,
        method: request.method.clone(),
        address,
    })
}

fn connect(to: SocketAddr, from: Option<IpAddr>) -> Result<TcpStream, Broken> {
    let from = from.unwrap_or(IpAddr::V4(Ipv4Addr::LOCALHOST));
    if !matches!(from, IpAddr::V4(address) if address.is_loopback()) {
        return Err(Broken(format!(
            "Envoy can't be reached from {from}: clients have addresses in 127.0.0.0/8"
        )));
    }
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_io()
        .build();
    let stream = runtime.and_then(|runtime| {
        runtime.block_on(async {
            let socket = TcpSocket::new_v4()?;
            socket.bind(SocketAddr::new(from, 0))?;
            socket.connect(to).await?.into_std()
        })
    });
    let stream = stream.and_then(|stream| {
        stream.set_nonblocking(false)?;
        Ok(stream)
    });
    stream.map_err(|error| Broken(format!("can't connect to Envoy from {from}: {error}")))
}

/// The request on the wire: `host` first unless it is given, and a length if there is a body.
fn bytes(request: &RequestFields) -> Vec<u8> {
    let mut out = format!("{} {} HTTP/1.1\r\n", request.method, request.path).into_bytes();
    let mut put = |name: &str, value: &str| {
        out.extend(format!("{name}: {value}\r\n").into_bytes());
    };
    if request.header("host").is_none() {
        put("host", DEFAULT_AUTHORITY);
    }
    for (name, value) in &request.headers.0 {
        put(name, value);
    }
    if !request.body.is_empty() && request.header("content-length").is_none() {
        put("content-length", &request.body.len().to_string());
    }
    out.extend(b"\r\n");
    out.extend(request.body.as_bytes());
    out
}

/// Reads an answer; an error if it is cut off or too late.
fn read(stream: TcpStream, method: &str) -> io::Result<Option<Answered>> {
    let mut stream = BufReader::new(stream);
    loop {
        let Some(head) = Head::read(&mut stream)? else {
            return Ok(None);
        };
        let status = head.status().unwrap_or_default();
        if status == 100 {
            continue;
        }
        let bodyless = method == "HEAD" || matches!(status, 204 | 304);
        let body = if bodyless {
            Vec::new()
        } else {
            head.read_body(&mut stream)?
        };
        let headers: Headers = head.headers.into_iter().collect();
        return Ok(Some(Answered {
            status,
            headers,
            body,
        }));
    }
}
