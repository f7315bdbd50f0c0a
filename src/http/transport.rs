//! What is known of a connection: its two addresses, and whether it is encrypted.

use std::net::IpAddr;

use actix_web::rt::net::TcpStream;

/// The addresses of a connection, IPv4-mapped ones as IPv4. Kept with the connection for each request on it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Ends {
    pub peer: IpAddr,
    /// The address of this machine that the client connected to. With DHCP it can't be known at the start.
    pub local: Option<IpAddr>,
    /// Whether TLS ends at the gateway.
    pub is_tls: bool,
}

impl Ends {
    /// Returns the ends of a connection that is open. `None`: the client has closed it already.
    pub fn of(stream: &TcpStream, is_tls: bool) -> Option<Ends> {
        let peer = stream.peer_addr().ok()?.ip().to_canonical();
        let local = stream.local_addr().ok().map(|address| address.ip().to_canonical());
        Some(Ends { peer, local, is_tls })
    }
}
