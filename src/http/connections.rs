//! Limits open connections, for each client address and in total.
//!
//! An address may have as many connections as are still free: a single address gets half of all at most, two get a third each,
//! so there is always room for another. A trusted proxy is many people, so only the total bounds it.

use std::collections::HashMap;
use std::net::IpAddr;
use std::sync::{Arc, Mutex, MutexGuard};

use ipnet::IpNet;

use crate::config::settings::Live;
use crate::host::files::Allowance;
use crate::http::client::is_trusted;
use crate::metrics::OpenConnections;

#[derive(Clone)]
pub struct Connections {
    open: Arc<Mutex<Open>>,
    settings: Live,
    room: usize,
    trusted_proxies: Vec<IpNet>,
    meter: Option<OpenConnections>,
}

#[derive(Default)]
struct Open {
    total: usize,
    by_address: HashMap<IpAddr, usize>,
}

/// Counts one open connection; kept with it and dropped with it.
pub struct Connected {
    connections: Connections,
    address: IpAddr,
}

impl Connections {
    /// `room` is the number of connections that the limit of open files allows.
    pub fn new(settings: Live, room: usize) -> Self {
        Connections { open: Arc::default(), settings, room, trusted_proxies: Vec::new(), meter: None }
    }

    /// Lets each of these addresses have all connections.
    pub fn trusting(self, proxies: &[IpNet]) -> Self {
        Connections { trusted_proxies: proxies.to_vec(), ..self }
    }

    /// Counts open connections in `meter`, too.
    pub fn metered(self, meter: OpenConnections) -> Self {
        Connections { meter: Some(meter), ..self }
    }

    /// Counts a connection, or returns `None` when there are too many from this address, or in total.
    pub fn enter(&self, address: IpAddr) -> Option<Connected> {
        let address = address.to_canonical();
        let Allowance { total, per_address } = Allowance::of(&self.settings.now(), self.room);
        let mut open = self.lock();
        let free = total.saturating_sub(open.total);
        let count = open.by_address.get(&address).copied().unwrap_or(0);
        let per_address = if is_trusted(address, &self.trusted_proxies) { usize::MAX } else { per_address.min(free) };
        if free == 0 || count >= per_address {
            return None;
        }
        open.total += 1;
        open.by_address.insert(address, count + 1);
        self.meter.iter().for_each(OpenConnections::opened);
        Some(Connected { connections: self.clone(), address })
    }

    fn lock(&self) -> MutexGuard<'_, Open> {
        self.open.lock().unwrap_or_else(|poisoned| poisoned.into_inner())
    }
}

impl Drop for Connected {
    fn drop(&mut self) {
        self.connections.meter.iter().for_each(OpenConnections::closed);
        let mut open = self.connections.lock();
        open.total -= 1;
        if let Some(count) = open.by_address.get_mut(&self.address) {
            *count -= 1;
            if *count == 0 {
                open.by_address.remove(&self.address);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::settings::Settings;

    fn connections(total: u64, per_address: u64, room: usize) -> Connections {
        let names = [("connections_max", total), ("connections_per_address_max", per_address)];
        Connections::new(Live::new(Settings::default().with(names)), room)
    }

    fn enter_all(connections: &Connections, address: &str) -> Vec<Connected> {
        std::iter::from_fn(|| connections.enter(address.parse().unwrap())).collect()
    }

    #[test]
    fn an_address_has_so_many_connections_and_gets_them_back() {
        let connections = connections(100, 2, 100);
        let one: IpAddr = "127.0.0.1".parse().unwrap();
        let first = connections.enter(one);
        let _second = connections.enter("::ffff:127.0.0.1".parse().unwrap()).unwrap();

        assert!(connections.enter(one).is_none());
        assert!(connections.enter("127.0.0.2".parse().unwrap()).is_some());
        drop(first);
        assert!(connections.enter(one).is_some());
    }

    #[test]
    fn an_address_never_has_more_connections_than_are_left_for_others() {
        let connections = connections(10, 1000, 1000);

        let first = enter_all(&connections, "10.0.0.1");
        let second = enter_all(&connections, "10.0.0.2");
        let third = enter_all(&connections, "10.0.0.3");

        assert_eq!((first.len(), second.len(), third.len()), (5, 3, 1));
        drop(first);
        assert_eq!(enter_all(&connections, "10.0.0.3").len(), 3, "four in all, and three are left");
    }

    #[test]
    fn a_trusted_proxy_may_have_all_connections_and_no_more() {
        let connections = connections(4, 1, 1000).trusting(&["10.0.0.1/32".parse().unwrap()]);

        let of_proxy = enter_all(&connections, "::ffff:10.0.0.1");

        assert_eq!(of_proxy.len(), 4);
        assert_eq!(enter_all(&connections, "10.0.0.2").len(), 0);
        drop(of_proxy);
        assert_eq!(enter_all(&connections, "10.0.0.2").len(), 1);
    }

    #[test]
    fn there_are_never_more_than_the_limit_of_open_files_allows() {
        let connections = connections(1000, 1000, 3);
        let all: Vec<_> = (1..=9).filter_map(|host| connections.enter(IpAddr::from([10, 0, 0, host]))).collect();

        assert_eq!(all.len(), 3);
        assert!(connections.enter("10.0.0.99".parse().unwrap()).is_none());
    }

    #[test]
    fn the_only_connection_there_is_may_be_anybody_s() {
        let connections = connections(1, 1, 1000);
        let only = enter_all(&connections, "10.0.0.1");

        assert_eq!(only.len(), 1);
        drop(only);
        assert_eq!(enter_all(&connections, "10.0.0.2").len(), 1);
    }
}
