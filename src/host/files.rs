//! The limit of open files, and how many of them are left for connections.
//!
//! A process at its limit can neither open its database nor reach an upstream. So the gateway's own files are set aside, and
//! connections get the rest.

use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};

use crate::config::Config;
use crate::config::settings::Settings;

/// Enough for every sensible configuration; some systems allow a thousand million.
const WANTED: u64 = 1 << 16;

/// Database, write-ahead log and index of each of its connections, secrets, logs, the control socket and its clients.
const OWN: usize = 96;
/// An event queue and its wakers.
const PER_WORKER: usize = 8;
/// Each slot's connection to its upstream, and an idle one that is kept open for a while.
const PER_SLOT: usize = 2;
/// Connections that are accepted and closed at once because there are too many.
pub const PASSING: usize = 64;

/// The limits of open connections.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Allowance {
    pub total: usize,
    /// Connections that one address may have while no other has any.
    pub per_address: usize,
}

impl Allowance {
    /// Returns the limits of the settings, within `room`, what the limit of open files leaves for connections.
    pub fn of(settings: &Settings, room: usize) -> Allowance {
        let total = settings.connections_max.min(room);
        Allowance { total, per_address: settings.connections_per_address_max.min(total.div_ceil(2)) }
    }
}

/// Raises the limit of open files as far as this process may, and returns the current limit.
pub fn raise_limit() -> usize {
    let limit = getrlimit(Resource::Nofile);
    let reachable = limit.maximum.unwrap_or(WANTED).min(WANTED);
    if limit.current.is_some_and(|current| current < reachable) {
        // If refused, the limit stays as it was; it is read next.
        let _ = setrlimit(Resource::Nofile, Rlimit { current: Some(reachable), ..limit });
    }
    let holds = getrlimit(Resource::Nofile).current.unwrap_or(WANTED);
    usize::try_from(holds).unwrap_or(usize::MAX)
}

/// Returns how many connections may be open when the process may open `limit` files.
pub fn room_for_connections(limit: usize, config: &Config, workers: usize) -> usize {
    let slots: usize = config.upstreams.iter().map(|upstream| upstream.slots().total).sum();
    let own = OWN + PASSING + PER_WORKER * workers + PER_SLOT * slots;
    // If the limit is too low for both, each gets a part.
    (limit - own.min(limit / 2)).max(1)
}

/// How many files the process may open, and how many of them are left for connections.
#[derive(Debug, Clone, Copy)]
pub struct OpenFiles {
    pub limit: usize,
    pub room: usize,
}

impl OpenFiles {
    /// Raises the limit and returns what it allows.
    pub fn raised(config: &Config, workers: usize) -> OpenFiles {
        let limit = raise_limit();
        OpenFiles { limit, room: room_for_connections(limit, config, workers) }
    }

    /// Describes the limits, for the log and for `doctor`.
    pub fn describe(self, settings: &Settings) -> String {
        let Allowance { total, per_address } = Allowance::of(settings, self.room);
        let limit = self.limit;
        format!("{limit} may be open: up to {total} connections, of these {per_address} from one address")
    }

    /// Returns whether the limit allows less than the settings.
    pub fn are_few(self, settings: &Settings) -> bool {
        let Allowance { total, per_address } = Allowance::of(settings, self.room);
        let wanted = settings.connections_max;
        total < wanted || per_address < settings.connections_per_address_max.min(wanted / 2)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn config(slots: usize) -> Config {
        Config::resolve(&format!("[ollama]\nslots = {slots}"), []).unwrap()
    }

    #[test]
    fn the_gateway_s_own_files_are_set_aside() {
        assert_eq!(room_for_connections(1024, &config(1), 2), 1024 - 96 - 64 - 16 - 2);
        assert_eq!(room_for_connections(1024, &config(128), 2), 1024 - 96 - 64 - 16 - 256);
    }

    #[test]
    fn a_limit_that_is_too_low_for_both_is_halved() {
        assert_eq!(room_for_connections(1024, &config(1024), 2), 512);
        assert_eq!(room_for_connections(0, &config(1), 2), 1);
    }

    #[test]
    fn a_limit_that_cuts_a_setting_is_told() {
        let settings = Settings::default().with([("connections_max", 100), ("connections_per_address_max", 100)]);

        let few = |room| OpenFiles { limit: 1024, room }.are_few(&settings);
        assert!(!few(100), "half for one address is a rule, not a shortage");
        assert!(few(99));
    }

    #[test]
    fn the_limit_is_raised_as_far_as_it_may_be() {
        let holds = raise_limit();

        let limit = getrlimit(Resource::Nofile);
        let reachable = limit.maximum.unwrap_or(WANTED).min(WANTED);
        assert!(holds as u64 >= reachable, "{holds} of {limit:?}");
    }
}
