//! The hosts behind the demo's gateway: small HTTP/1.1 servers that say who they are and who asks.

use std::io::{BufReader, Write as _};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::thread;

use anyhow::{Context, Result};

use crate::http::Message;

/// Starts a server that answers every request with its name and the request line, for as long as
/// this process lives. Returns where it listens, which is `address` unless its port is 0.
pub(crate) fn start(name: &'static str, address: SocketAddr) -> Result<SocketAddr> {
    let listener = TcpListener::bind(address)
        .with_context(|| format!("can't start upstream {name} on {address}"))?;
    let address = listener.local_addr()?;
    thread::spawn(move || {
        for stream in listener.incoming().flatten() {
            thread::spawn(move || {
                // A gateway that drops a connection is nothing to report.
                let _ = serve(name, stream);
            });
        }
    });
    Ok(address)
}

fn serve(name: &str, mut stream: TcpStream) -> Result<()> {
    stream.set_nodelay(true)?;
    let mut reader = BufReader::new(stream.try_clone()?);
    while let Some(request) = Message::read(&mut reader)? {
        stream.write_all(&answer(name, &request))?;
    }
    Ok(())
}

fn answer(name: &str, request: &Message) -> Vec<u8> {
    let mut words = request.start.split(' ');
    let (method, path) = (
        words.next().unwrap_or_default(),
        words.next().unwrap_or_default(),
    );
    let user = request.header("x-user");
    let user = user.map_or_else(String::new, |user| format!(" for {user}"));
    let body = format!("{name} answers {method} {path}{user}\n");
    // What may be kept, says who made it.
    let cache = match path {
        "/catalogue" => "max-age=60",
        _ => "no-store",
    };
    let length = body.len();
    // A body after a HEAD would be read as the start of the next answer.
    let body = if method == "HEAD" { "" } else { &body };
    format!(
        "HTTP/1.1 200 OK\r\ncontent-type: text/plain\r\nx-upstream: {name}\r\n\
         cache-control: {cache}\r\ncontent-length: {length}\r\n\r\n{body}"
    )
    .into_bytes()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::http::Connection;

    #[test]
    fn an_upstream_says_its_name_on_a_kept_connection() {
        let address = start("books", SocketAddr::from(([127, 0, 0, 1], 0))).expect("it starts");
        let mut connection = Connection::open(address).expect("it listens");
        for path in ["/a", "/b"] {
            let response = connection.get(path, &[]).expect("it answers");
            assert_eq!(response.text(), format!("books answers GET {path}\n"));
            assert_eq!(response.header("x-upstream"), Some("books"));
        }
    }
}
