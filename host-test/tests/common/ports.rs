//! Ports for what can't be told to bind port 0 and say which one it got.

use std::net::{Ipv4Addr, SocketAddr, TcpStream};
use std::sync::atomic::{AtomicU16, Ordering};

/// A port of the loopback that nothing listens on and no other call of this process returns.
///
/// It lies below the range that the system takes ports from for port 0 and for outgoing
/// connections, so that none of those takes it meanwhile. It is tried by connecting: a listener of
/// ours, even closed at once, may live on for a moment in a child that another thread just forked.
pub(crate) fn unused_address() -> SocketAddr {
    const FIRST: u16 = 20_000;
    const COUNT: u16 = 12_000;
    static NEXT: AtomicU16 = AtomicU16::new(0);
    // Test programs that run side by side begin at different places.
    let offset = std::process::id().wrapping_mul(97) % u32::from(COUNT);
    let offset = u16::try_from(offset).expect("below COUNT");
    loop {
        let step = NEXT.fetch_add(1, Ordering::Relaxed);
        assert!(step < COUNT, "no port is unused");
        let port = FIRST + (offset + step) % COUNT;
        let address = SocketAddr::from((Ipv4Addr::LOCALHOST, port));
        if TcpStream::connect(address).is_err() {
            return address;
        }
    }
}
