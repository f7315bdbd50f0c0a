//! What flags of the command line set: they override the environment, as that overrides the file.

use std::path::PathBuf;

use crate::config::reader::Reader;
use crate::config::{Config, PlainHttp};

#[derive(Debug, Clone, Default)]
pub struct ConfigFlags {
    pub data_dir: Option<PathBuf>,
    /// The port of `listen`; its address stays.
    pub port: Option<u16>,
}

const DATA_DIR: &str = "--data-dir";
const PORT: &str = "--port";

impl ConfigFlags {
    /// Returns the flags that are given.
    pub fn names(&self) -> Vec<&'static str> {
        let given = [(DATA_DIR, self.data_dir.is_some()), (PORT, self.port.is_some())];
        given.into_iter().filter(|(_, is_given)| *is_given).map(|(name, _)| name).collect()
    }

    /// Puts the flags in place of what was read.
    pub(super) fn apply(&self, reader: &mut Reader, config: &mut Config) {
        if let Some(folder) = &self.data_dir {
            config.data_dir = folder.clone();
            reader.set_by_flag("data_dir", DATA_DIR, folder.display().to_string());
        }
        if let Some(port) = self.port {
            config.listen.set_port(port);
            reader.set_by_flag("listen", PORT, config.listen.to_string());
            if config.plain_http == PlainHttp::Off {
                reader.problem(
                    PORT,
                    "is the port of `listen`, which `plain_http = \"off\"` doesn't open; set `tls.listen`",
                );
            }
        }
    }
}
