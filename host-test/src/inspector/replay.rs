//! Sends a recorded request again, as it came from the client.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};
use std::time::Duration;

use bytes::Bytes;
use http::{Request, StatusCode};
use http_body_util::{BodyExt, Full};
use hyper::client::conn::http1;
use hyper_util::rt::TokioIo;
use serde_json::{Value as Json, json};
use tokio::net::TcpStream;
use tokio::task::spawn_local;

use super::ring::Original;
use super::{Inspector, lock};

/// As long as the answer may take.
const LIMIT: Duration = Duration::from_secs(30);

/// What concerns the old connection alone.
pub(super) const OF_THE_CONNECTION: [&str; 6] = [
    "connection",
    "content-length",
    "expect",
    "keep-alive",
    "transfer-encoding",
    "upgrade",
];

type Refusal = (StatusCode, String);

/// Sends the request with that number to its listener, and tells the status and the address it came
/// from, by which its own record is known.
pub(super) async fn replay(inspector: &Inspector, id: u64) -> Result<Json, Refusal> {
    let original = lock(&inspector.ring)
        .get(id)
        .map(|kept| kept.original.clone());
    let gone = || {
        (
            StatusCode::NOT_FOUND,
            "this request isn't kept any more\n".to_owned(),
        )
    };
    let original = original.flatten().ok_or_else(gone)?;
    let address = lock(&inspector.addresses).get(original.listener).copied();
    let address = address.map(reachable).ok_or_else(gone)?;
    let request = request(original)?;
    let sent = tokio::time::timeout(LIMIT, send(address, request)).await;
    let failed = |sentence| (StatusCode::BAD_GATEWAY, sentence);
    match sent {
        Ok(Ok(answer)) => Ok(answer),
        Ok(Err(cause)) => Err(failed(format!("no answer came: {cause}\n"))),
        Err(_) => Err(failed(format!("no answer came within {LIMIT:?}\n"))),
    }
}

fn request(original: Original) -> Result<Request<Full<Bytes>>, Refusal> {
    let refused = |sentence: String| (StatusCode::UNPROCESSABLE_ENTITY, sentence);
    let Some(body) = original.body else {
        let sentence = "its body was longer than what is kept (64 KiB)\n";
        return Err(refused(sentence.to_owned()));
    };
    let mut request = Request::builder()
        .method(original.method.as_str())
        .uri(original.target.as_str());
    for (name, value) in &original.headers {
        if !OF_THE_CONNECTION.contains(&name.as_str()) {
            request = request.header(name.as_str(), value.as_slice());
        }
    }
    let built = request.body(Full::new(Bytes::from(body)));
    built.map_err(|error| refused(format!("it can't be written: {error}\n")))
}

async fn send(
    address: SocketAddr,
    request: Request<Full<Bytes>>,
) -> Result<Json, Box<dyn std::error::Error>> {
    let stream = TcpStream::connect(address).await?;
    let client = stream.local_addr()?;
    let (mut sender, connection) = http1::handshake(TokioIo::new(stream)).await?;
    spawn_local(async move {
        // Its errors are those of the request.
        let _ = connection.await;
    });
    let response = sender.send_request(request).await?;
    let status = response.status().as_u16();
    let mut body = response.into_body();
    while let Some(frame) = body.frame().await {
        frame?;
    }
    Ok(json!({"status": status, "client": client.to_string()}))
}

/// Where a listener of all addresses can be reached.
fn reachable(address: SocketAddr) -> SocketAddr {
    let ip = match address.ip() {
        IpAddr::V4(ip) if ip.is_unspecified() => IpAddr::V4(Ipv4Addr::LOCALHOST),
        IpAddr::V6(ip) if ip.is_unspecified() => IpAddr::V6(Ipv6Addr::LOCALHOST),
        ip => ip,
    };
    SocketAddr::new(ip, address.port())
}
