//! What is read from this machine: its disk, who listens, how its Ollama was started. Reading blocks.

use std::net::IpAddr;
use std::path::{Path, PathBuf};

use crate::config::Config;
use crate::host::exposed::{ConfigFile, OpenConfig, exposed};
use crate::host::listeners::listening;
use crate::host::parallel::parallel_of_ollama;

/// What was read.
#[derive(Debug, Clone, Default)]
pub struct Machine {
    /// The disk of the data folder. `None`: it can't be read.
    pub disk: Option<Disk>,
    pub listening: Vec<(IpAddr, u16)>,
    /// Requests that this host's Ollama runs at once; see `parallel_of_ollama`.
    pub parallel: Option<usize>,
    /// What others on this host can read or change in the data folder.
    pub exposed: Vec<PathBuf>,
    /// The configuration file, if others on this host can read its secrets or change it.
    pub open_config: Option<OpenConfig>,
}

/// Where a machine is looked at.
#[derive(Debug, Clone)]
pub struct HostPlaces {
    pub data_dir: PathBuf,
    pub config: Option<ConfigFile>,
}

impl HostPlaces {
    pub fn of(config: &Config) -> HostPlaces {
        HostPlaces { data_dir: config.data_dir.clone(), config: ConfigFile::of(config) }
    }
}

/// The file system of a folder.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Disk {
    /// Bytes that this user may still write.
    pub free: u64,
    pub total: u64,
}

impl Machine {
    pub fn look(places: &HostPlaces) -> Machine {
        let HostPlaces { data_dir, config } = places;
        Machine {
            disk: Disk::of(data_dir),
            listening: listening(),
            parallel: parallel_of_ollama(Path::new("/proc")),
            exposed: exposed(data_dir),
            open_config: config.as_ref().and_then(|config| config.exposure(data_dir)),
        }
    }

    /// Returns where a program listens on `port` such that others on the network reach it.
    pub fn open_listener(&self, port: u16) -> Option<IpAddr> {
        let open = |(address, on): &&(IpAddr, u16)| *on == port && !address.to_canonical().is_loopback();
        self.listening.iter().find(open).map(|(address, _)| *address)
    }
}

impl Disk {
    /// Returns the disk of a folder. It blocks for as long as the disk hangs.
    pub fn of(folder: &Path) -> Option<Disk> {
        let disk = rustix::fs::statvfs(folder).ok()?;
        let bytes = |blocks: u64| blocks.saturating_mul(disk.f_frsize);
        Some(Disk { free: bytes(disk.f_bavail), total: bytes(disk.f_blocks) })
    }
}

/// Returns the name of this host.
pub fn host_name() -> String {
    rustix::system::uname().nodename().to_string_lossy().into_owned()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_disk_has_a_size_and_a_folder_that_is_missing_has_none() {
        let folder = tempfile::tempdir().unwrap();

        let disk = Machine::look(&HostPlaces { data_dir: folder.path().to_owned(), config: None }).disk.unwrap();

        assert!(disk.total > 0 && disk.free <= disk.total, "{disk:?}");
        assert_eq!(Disk::of(&folder.path().join("missing")), None);
    }

    #[test]
    fn a_listener_is_open_unless_it_listens_on_loopback_alone() {
        let on = |address: &str| Machine { listening: vec![(address.parse().unwrap(), 11434)], ..Machine::default() };

        for address in ["0.0.0.0", "::", "192.168.1.5", "::ffff:10.0.0.1"] {
            assert!(on(address).open_listener(11434).is_some(), "{address}");
            assert!(on(address).open_listener(11435).is_none(), "{address}");
        }
        for address in ["127.0.0.1", "127.0.0.2", "::1", "::ffff:127.0.0.1"] {
            assert!(on(address).open_listener(11434).is_none(), "{address}");
        }
    }
}
