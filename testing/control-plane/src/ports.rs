use std::hash::{BuildHasher, Hasher, RandomState};
use std::net::{Ipv4Addr, TcpListener};

use crate::{Error, Result};

/// The first port that is tried.
const FIRST: u16 = 10_000;
/// How many ports are tried before the kernel chooses any port.
const TRIES: usize = 200;

/// Returns a free loopback port.
///
/// It is below the kernel's range for outgoing connections. A server that is killed and started again must find its port free, and a client
/// that keeps connecting meanwhile could otherwise be given that very port as its source.
pub fn free_port() -> Result<u16> {
    let width = first_outgoing_port().saturating_sub(FIRST);
    if width > 1000 {
        for _ in 0..TRIES {
            let random = RandomState::new().build_hasher().finish();
            let port = u16::try_from(random % u64::from(width)).unwrap_or(0) + FIRST;
            if TcpListener::bind((Ipv4Addr::LOCALHOST, port)).is_ok() {
                return Ok(port);
            }
        }
    }
    TcpListener::bind((Ipv4Addr::LOCALHOST, 0))
        .and_then(|listener| listener.local_addr())
        .map(|address| address.port())
        .map_err(Error::io("no free port on 127.0.0.1"))
}

/// Returns the first port of the kernel's range for outgoing connections.
fn first_outgoing_port() -> u16 {
    std::fs::read_to_string("/proc/sys/net/ipv4/ip_local_port_range")
        .ok()
        .and_then(|range| range.split_whitespace().next()?.parse().ok())
        .unwrap_or(32_768)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn two_ports_can_be_listened_on_at_once() {
        let first = free_port().unwrap();
        let _held = TcpListener::bind((Ipv4Addr::LOCALHOST, first)).unwrap();
        let second = free_port().unwrap();
        assert_ne!(first, second);
        TcpListener::bind((Ipv4Addr::LOCALHOST, second)).unwrap();
    }
}
