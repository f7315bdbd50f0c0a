//! Where the configuration came from: the file and the variables of the environment.

use std::fmt;
use std::path::PathBuf;

use crate::config::DEFAULT_FILE;

/// Where a configuration came from.
#[derive(Debug, Clone)]
pub struct Origin {
    /// `None`: there was none.
    pub file: Option<PathBuf>,
    /// Names of variables of the environment.
    pub variables: Vec<String>,
}

impl fmt::Display for Origin {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.file {
            Some(file) => write!(f, "read from {}", file.display())?,
            None => {
                let looked_at = std::path::absolute(DEFAULT_FILE).unwrap_or_else(|_| DEFAULT_FILE.into());
                write!(f, "no file was read: {} does not exist, and --config names none", looked_at.display())?;
            }
        }
        match self.variables.as_slice() {
            [] => Ok(()),
            variables => write!(f, "; over it the environment: {}", variables.join(", ")),
        }
    }
}
