//! The listening sockets of this machine, by the kernel's table.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

/// Returns addresses and ports of every program that listens for TCP, as far as the kernel shows them.
pub fn listening() -> Vec<(IpAddr, u16)> {
    // Not `/proc/net`, which a service with `ProcSubset=pid` doesn't have.
    ["/proc/self/net/tcp", "/proc/self/net/tcp6"]
        .iter()
        .filter_map(|table| std::fs::read_to_string(table).ok())
        .flat_map(|table| listeners(&table))
        .collect()
}

/// Parses addresses and ports of listening sockets from `/proc/net/tcp` or `tcp6` (proc(5)).
fn listeners(table: &str) -> Vec<(IpAddr, u16)> {
    const LISTEN: &str = "0A";
    let parse = |line: &str| {
        let mut fields = line.split_ascii_whitespace();
        let local = fields.nth(1)?;
        (fields.nth(1)? == LISTEN).then_some(())?;
        let (address, port) = local.split_once(':')?;
        Some((parse_address(address)?, u16::from_str_radix(port, 16).ok()?))
    };
    table.lines().skip(1).filter_map(parse).collect()
}

/// Parses words of 32 bits in the host's byte order, in hexadecimal.
fn parse_address(hex: &str) -> Option<IpAddr> {
    let word = |at: usize| u32::from_str_radix(hex.get(at * 8..at * 8 + 8)?, 16).ok().map(u32::to_ne_bytes);
    match hex.len() {
        8 => Some(Ipv4Addr::from(word(0)?).into()),
        32 => {
            let mut bytes = [0; 16];
            for at in 0..4 {
                bytes[at * 4..at * 4 + 4].copy_from_slice(&word(at)?);
            }
            Some(Ipv6Addr::from(bytes).into())
        }
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn listening_sockets_are_read_from_the_kernels_table() {
        let table = "  sl  local_address rem_address   st\n\
            0: 0100007F:2CAA 00000000:0000 0A 00000000:00000000\n\
            1: 00000000:1B58 00000000:0000 0A 00000000:00000000\n\
            2: 0100007F:2CAA 0100007F:9999 01 00000000:00000000\n";
        let table6 = "head\n0: 00000000000000000000000001000000:2CAA 0:0 0A 0\n";

        assert_eq!(listeners(table), [("127.0.0.1".parse().unwrap(), 11434), ("0.0.0.0".parse().unwrap(), 7000)]);
        assert_eq!(listeners(table6), [("::1".parse().unwrap(), 11434)]);
    }
}
