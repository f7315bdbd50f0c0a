//! What the gateway needs of a connection, whatever carries it: its two addresses, and how to close it.
//!
//! To serve another kind of stream, such as TLS over TCP, implement `Transport` for it and name it in `known`. A stream that is
//! not named there has no address, so its requests are refused at the entrance.

use std::any::Any;
use std::net::{IpAddr, Shutdown};
use std::sync::Arc;

use actix_web::dev::Extensions;
use actix_web::rt::net::TcpStream;
use socket2::SockRef;
use tracing::error;

use crate::http::connections::Connections;

/// A stream that carries requests.
trait Transport {
    /// Returns the client's address.
    fn peer(&self) -> Option<IpAddr>;
    /// Returns the address of this machine that the client connected to.
    fn local(&self) -> Option<IpAddr>;
    /// Closes the connection in both directions.
    fn close(&self);
}

impl Transport for TcpStream {
    fn peer(&self) -> Option<IpAddr> {
        self.peer_addr().ok().map(|address| address.ip())
    }

    fn local(&self) -> Option<IpAddr> {
        self.local_addr().ok().map(|address| address.ip())
    }

    fn close(&self) {
        // The peer sees a closed connection either way.
        let _ = SockRef::from(self).shutdown(Shutdown::Both);
    }
}

/// The addresses of a connection, IPv4-mapped ones as IPv4. Kept with the connection for each request on it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Ends {
    pub peer: IpAddr,
    /// With DHCP this can't be known at the start.
    pub local: Option<IpAddr>,
}

/// Counts a new connection and keeps its addresses, or closes it.
pub fn on_connect(connections: &Connections, connection: &dyn Any, data: &mut Extensions) {
    match known(connection) {
        Some(transport) => admit(connections, transport, data),
        None => error!("a connection of an unknown kind; its requests are refused"),
    }
}

fn known(connection: &dyn Any) -> Option<&dyn Transport> {
    connection.downcast_ref::<TcpStream>().map(|stream| stream as &dyn Transport)
}

fn admit(connections: &Connections, transport: &dyn Transport, data: &mut Extensions) {
    let Some(peer) = transport.peer() else { return };
    match connections.enter(peer) {
        Some(connected) => {
            let local = transport.local().map(|address| address.to_canonical());
            data.insert(Ends { peer: peer.to_canonical(), local });
            data.insert(Arc::new(connected));
        }
        None => transport.close(),
    }
}

#[cfg(test)]
mod tests {
    use std::cell::Cell;

    use super::*;
    use crate::config::settings::{Live, Settings};

    /// A stream that is not a TCP socket, like one of TLS.
    struct Sealed {
        peer: &'static str,
        is_closed: Cell<bool>,
    }

    impl Sealed {
        fn from(peer: &'static str) -> Self {
            Sealed { peer, is_closed: Cell::new(false) }
        }
    }

    impl Transport for Sealed {
        fn peer(&self) -> Option<IpAddr> {
            self.peer.parse().ok()
        }

        fn local(&self) -> Option<IpAddr> {
            "::ffff:10.0.0.1".parse().ok()
        }

        fn close(&self) {
            self.is_closed.set(true);
        }
    }

    fn one_per_address() -> Connections {
        let settings = Settings::default().with([("connections_max", 9), ("connections_per_address_max", 1)]);
        Connections::new(Live::new(settings), 9)
    }

    #[test]
    fn a_stream_of_another_kind_is_counted_by_its_address() {
        let connections = one_per_address();
        let (first, second, other) =
            (Sealed::from("::ffff:10.0.0.7"), Sealed::from("10.0.0.7"), Sealed::from("10.0.0.8"));
        let mut data = [Extensions::new(), Extensions::new(), Extensions::new()];

        for (stream, data) in [&first, &second, &other].into_iter().zip(&mut data) {
            admit(&connections, stream, data);
        }

        assert_eq!([&first, &second, &other].map(|stream| stream.is_closed.get()), [false, true, false]);
        let ends = Ends { peer: "10.0.0.7".parse().unwrap(), local: "10.0.0.1".parse().ok() };
        assert_eq!(data[0].get::<Ends>(), Some(&ends));
        assert_eq!(data[1].get::<Ends>(), None);
    }

    #[test]
    fn a_connection_that_ends_makes_room_for_the_next() {
        let connections = one_per_address();
        let mut data = Extensions::new();
        admit(&connections, &Sealed::from("10.0.0.7"), &mut data);
        drop(data);

        let next = Sealed::from("10.0.0.7");
        admit(&connections, &next, &mut Extensions::new());

        assert!(!next.is_closed.get());
    }

    #[test]
    fn a_stream_that_is_not_named_has_no_address() {
        let mut data = Extensions::new();

        on_connect(&one_per_address(), &"a stream", &mut data);

        assert_eq!(data.get::<Ends>(), None);
    }
}
