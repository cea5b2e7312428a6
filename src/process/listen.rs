//! Listening sockets. One default address must work in clusters with IPv4, IPv6 or both.

use std::{
    io,
    net::{Ipv4Addr, SocketAddr, TcpListener},
};

use socket2::{Domain, Protocol, Socket, Type};

/// Length of the queue of connections to accept; the kernel lowers it to its own limit.
const BACKLOG: i32 = 1024;

/// Listens on an address. `[::]` means all addresses of the machine, IPv4 and IPv6. On a machine without IPv6 it means `0.0.0.0`.
///
/// # Errors
///
/// The address cannot be listened on, for example because another process uses it.
pub fn listen(address: SocketAddr) -> io::Result<TcpListener> {
    either(address, bind)
}

fn either<T>(address: SocketAddr, bind: impl Fn(SocketAddr) -> io::Result<T>) -> io::Result<T> {
    match bind(address) {
        Err(error) if is_any_v6(address) && error.kind() != io::ErrorKind::AddrInUse => {
            bind((Ipv4Addr::UNSPECIFIED, address.port()).into()).map_err(|_| error)
        }
        bound => bound,
    }
}

fn is_any_v6(address: SocketAddr) -> bool {
    address.is_ipv6() && address.ip().is_unspecified()
}

fn bind(address: SocketAddr) -> io::Result<TcpListener> {
    let socket = Socket::new(Domain::for_address(address), Type::STREAM, Some(Protocol::TCP))?;
    if is_any_v6(address) {
        // The default of the machine may differ (net.ipv6.bindv6only).
        socket.set_only_v6(false)?;
    }
    // A restarted process must not wait for the connections of the previous one.
    #[cfg(unix)]
    socket.set_reuse_address(true)?;
    socket.bind(&address.into())?;
    socket.listen(BACKLOG)?;
    Ok(socket.into())
}

#[cfg(test)]
mod tests {
    use std::{
        cell::RefCell,
        net::{Ipv6Addr, TcpStream},
    };

    use super::*;

    const ANY: SocketAddr = SocketAddr::new(std::net::IpAddr::V6(Ipv6Addr::UNSPECIFIED), 0);

    #[test]
    fn f46_one_address_is_reached_by_both_families() {
        let listener = listen(ANY).unwrap();
        let port = listener.local_addr().unwrap().port();
        TcpStream::connect((Ipv4Addr::LOCALHOST, port)).expect("IPv4");
        if TcpListener::bind((Ipv6Addr::LOCALHOST, 0)).is_ok() {
            TcpStream::connect((Ipv6Addr::LOCALHOST, port)).expect("IPv6");
        }
        let again = listen((Ipv6Addr::UNSPECIFIED, port).into()).unwrap_err();
        assert_eq!(again.kind(), io::ErrorKind::AddrInUse, "a port in use is an error");
    }

    #[test]
    fn f46_without_ipv6_the_other_family_is_listened_on() {
        let tried = RefCell::new(Vec::new());
        let without = |address: SocketAddr| {
            tried.borrow_mut().push(address.to_string());
            if address.is_ipv6() { Err(io::Error::from(io::ErrorKind::Unsupported)) } else { Ok(()) }
        };
        assert!(either("[::]:9443".parse().unwrap(), without).is_ok());
        assert_eq!(tried.take(), ["[::]:9443", "0.0.0.0:9443"]);
        assert!(either("[::1]:9443".parse().unwrap(), without).is_err(), "a configured address is not replaced");
        let none = |_: SocketAddr| Err::<(), _>(io::Error::from(io::ErrorKind::PermissionDenied));
        assert_eq!(either("[::]:443".parse().unwrap(), none).unwrap_err().kind(), io::ErrorKind::PermissionDenied);
    }
}
