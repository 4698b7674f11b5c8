//! Addresses of clients, read out of what hosts and proxies write about them.
//!
//! The same client must always come out as the same bytes, whatever the notation: with or without
//! port, brackets and zone, IPv4 or IPv4 mapped into IPv6 (RFC 4291, 2.5.5.2), and with the low bits
//! of the address cut off, because one IPv6 client commands a whole /64.

use std::net::{IpAddr, Ipv6Addr};

/// Reads `ip`, `ip:port`, `[ip]`, `[ip]:port`, each with an optional `%zone` on IPv6.
///
/// Nothing else is an address: no names, no padding but spaces, no octal or shortened IPv4.
pub fn parse(text: &[u8]) -> Option<IpAddr> {
    let text = std::str::from_utf8(text).ok()?.trim_ascii();
    let bare = match text.strip_prefix('[') {
        Some(bracketed) => {
            let (inner, after) = bracketed.split_once(']')?;
            if !after.is_empty() && !is_port(after.strip_prefix(':')?) {
                return None;
            }
            return Some(IpAddr::V6(parse_v6(inner)?).to_canonical());
        }
        None => match text.split_once(':') {
            // One colon alone parts IPv4 and port; more of them are an IPv6 address.
            Some((ip, port)) if !port.contains(':') => {
                if !is_port(port) {
                    return None;
                }
                ip
            }
            _ => text,
        },
    };
    if bare.contains(':') {
        return Some(IpAddr::V6(parse_v6(bare)?).to_canonical());
    }
    bare.parse().ok().map(IpAddr::V4)
}

/// Returns the address with all but the leading bits cleared.
///
/// A prefix longer than the address keeps all of it.
pub fn masked(address: IpAddr, v4_prefix: u8, v6_prefix: u8) -> IpAddr {
    match address {
        IpAddr::V4(v4) => {
            let cut = 32_u32.saturating_sub(u32::from(v4_prefix));
            let mask = u32::MAX.checked_shl(cut).unwrap_or(0);
            IpAddr::V4((v4.to_bits() & mask).into())
        }
        IpAddr::V6(v6) => {
            let cut = 128_u32.saturating_sub(u32::from(v6_prefix));
            let mask = u128::MAX.checked_shl(cut).unwrap_or(0);
            IpAddr::V6((v6.to_bits() & mask).into())
        }
    }
}

/// Returns the `n`th address from the right of `X-Forwarded-For`, the last one being the first.
///
/// `lines` are the header's values in order; they count as one list. Whatever stands further left
/// was written by whom nobody vouches for, and isn't looked at.
pub fn forwarded(lines: &[&[u8]], n: usize) -> Option<IpAddr> {
    lines
        .iter()
        .rev()
        .flat_map(|line| line.rsplit(|&byte| byte == b','))
        .nth(n.checked_sub(1)?)
        .and_then(parse)
}

/// Returns the first address that is none of ours, going from the gateway's `peer` to the left of
/// `X-Forwarded-For`.
///
/// What an address of ours wrote is believed, and what anyone else wrote is not: so a forged entry
/// is never reached. Where an address of ours wrote no address, or stands at the very left, it is
/// the client.
pub fn beyond(peer: IpAddr, lines: &[&[u8]], is_ours: impl Fn(IpAddr) -> bool) -> IpAddr {
    let entries = lines.iter().rev();
    let mut entries = entries.flat_map(|line| line.rsplit(|&byte| byte == b','));
    let mut client = peer;
    while is_ours(client) {
        match entries.next().and_then(parse) {
            Some(address) => client = address,
            None => break,
        }
    }
    client
}

fn parse_v6(text: &str) -> Option<Ipv6Addr> {
    let address = match text.split_once('%') {
        Some((address, zone)) if !zone.is_empty() => address,
        Some(_) => return None,
        None => text,
    };
    address.parse().ok()
}

fn is_port(text: &str) -> bool {
    !text.starts_with('+') && text.parse::<u16>().is_ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parsed(text: &str) -> Option<String> {
        parse(text.as_bytes()).map(|address| address.to_string())
    }

    #[test]
    fn one_client_has_one_address_in_every_notation() {
        for text in [
            "192.0.2.7",
            "192.0.2.7:443",
            " 192.0.2.7 ",
            "::ffff:192.0.2.7",
            "[::ffff:c000:207]:80",
        ] {
            assert_eq!(parsed(text).as_deref(), Some("192.0.2.7"), "{text}");
        }
        for text in [
            "2001:db8::1",
            "[2001:db8::1]",
            "[2001:db8::1]:443",
            "2001:DB8:0::1",
            "2001:db8::1%eth0",
            "[2001:db8::1%25eth0]:1",
        ] {
            assert_eq!(parsed(text).as_deref(), Some("2001:db8::1"), "{text}");
        }
    }

    #[test]
    fn what_is_not_an_address_is_refused() {
        for text in [
            "",
            " ",
            "unknown",
            "_hidden",
            "localhost",
            "192.0.2",
            "192.0.2.256",
            "192.0.2.07",
            "192.0.2.7:",
            "192.0.2.7:http",
            "192.0.2.7:65536",
            "192.0.2.7:+1",
            "192.0.2.7%eth0",
            "[192.0.2.7]",
            "[2001:db8::1",
            "2001:db8::1]",
            "[2001:db8::1]443",
            "2001:db8::1%",
            "2001:db8",
            ":",
            "::1::",
            "[]",
            "[]:1",
            "/var/run/envoy.sock",
        ] {
            assert_eq!(parsed(text), None, "{text}");
        }
        assert_eq!(parse(b"\xff\xfe"), None);
    }

    #[test]
    fn a_prefix_makes_one_client_of_many_addresses() {
        let mask = |text: &str, v4, v6| masked(parse(text.as_bytes()).unwrap(), v4, v6).to_string();
        assert_eq!(mask("192.0.2.7", 32, 64), "192.0.2.7");
        assert_eq!(mask("192.0.2.7", 24, 64), "192.0.2.0");
        assert_eq!(mask("192.0.2.7", 0, 64), "0.0.0.0");
        assert_eq!(mask("2001:db8:1:2:3:4:5:6", 32, 64), "2001:db8:1:2::");
        assert_eq!(mask("2001:db8:1:2:3:4:5:6", 32, 56), "2001:db8:1::");
        assert_eq!(mask("2001:db8:1:2:3:4:5:6", 32, 0), "::");
        assert_eq!(mask("2001:db8::1", 32, 200), "2001:db8::1");
    }

    #[test]
    fn forwarded_addresses_count_from_the_right_over_all_lines() {
        let lines: [&[u8]; 2] = [b"6.6.6.6, 203.0.113.9", b"198.51.100.1 ,10.0.0.1"];
        let nth = |n| forwarded(&lines, n).map(|address| address.to_string());
        assert_eq!(nth(0), None);
        assert_eq!(nth(1).as_deref(), Some("10.0.0.1"));
        assert_eq!(nth(2).as_deref(), Some("198.51.100.1"));
        assert_eq!(nth(3).as_deref(), Some("203.0.113.9"));
        assert_eq!(nth(5), None);
    }

    #[test]
    fn the_client_is_the_first_address_beyond_ours() {
        let ours = |address: IpAddr| address.to_string().starts_with("10.");
        let client =
            |peer: &[u8], line: &[u8]| beyond(parse(peer).unwrap(), &[line], ours).to_string();
        assert_eq!(client(b"203.0.113.9", b"1.1.1.1"), "203.0.113.9");
        assert_eq!(client(b"10.0.0.1", b"1.1.1.1, 203.0.113.9"), "203.0.113.9");
        assert_eq!(
            client(b"10.0.0.1", b"1.1.1.1, 203.0.113.9, 10.0.0.2"),
            "203.0.113.9"
        );
        assert_eq!(client(b"10.0.0.1", b"10.0.0.3, 10.0.0.2"), "10.0.0.3");
        assert_eq!(client(b"10.0.0.1", b"1.1.1.1, junk, 10.0.0.2"), "10.0.0.2");
        assert_eq!(client(b"10.0.0.1", b""), "10.0.0.1");
    }

    #[test]
    fn a_forged_start_of_the_list_does_not_move_the_trusted_end() {
        let honest: [&[u8]; 1] = [b"203.0.113.9, 10.0.0.1"];
        let forged: [&[u8]; 1] = [b"1.1.1.1, junk,, 2.2.2.2, 203.0.113.9, 10.0.0.1"];
        assert_eq!(forwarded(&honest, 2), forwarded(&forged, 2));
    }
}
