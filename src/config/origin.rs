//! Where the configuration comes from: the file that is read when none is named, and what was read in the end.

use std::fmt;
use std::path::{Path, PathBuf};

use crate::config::DEFAULT_FILE;

/// Where a configuration came from.
#[derive(Debug, Clone)]
pub struct Origin {
    /// `None`: there was none.
    pub file: Option<PathBuf>,
    /// Names of variables of the environment.
    pub variables: Vec<String>,
    /// Flags of the command line.
    pub flags: Vec<&'static str>,
}

/// Returns the file that is read when none is named: that of the installation that this program belongs to, or the one in this
/// folder. So commands work in any folder.
pub fn default_file() -> Option<PathBuf> {
    // Linux resolves the links by which the program was called.
    let installed = std::env::current_exe().ok().and_then(|program| installed_file(&program));
    installed.or_else(|| Some(PathBuf::from(DEFAULT_FILE)).filter(|file| may_exist(file)))
}

/// Returns the configuration of an installed program: it lies beside the folder `bin` that the program is in.
fn installed_file(program: &Path) -> Option<PathBuf> {
    let folder = program.parent().filter(|folder| folder.file_name().is_some_and(|name| name == "bin"))?;
    Some(folder.parent()?.join(DEFAULT_FILE)).filter(|file| may_exist(file))
}

/// A file whose existence can't be checked is read, so that the error of reading it is reported.
fn may_exist(file: &Path) -> bool {
    file.try_exists().unwrap_or(true)
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
        if !self.variables.is_empty() {
            write!(f, "; over it the environment: {}", self.variables.join(", "))?;
        }
        if !self.flags.is_empty() {
            write!(f, "; over all {}", self.flags.join(", "))?;
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_program_in_a_folder_bin_has_its_configuration_beside_that_folder() {
        let root = tempfile::tempdir().unwrap();
        let file = root.path().join(DEFAULT_FILE);
        let of = |program: &str| installed_file(&root.path().join(program));

        assert_eq!(of("bin/lan-gateway"), None);
        std::fs::write(&file, "").unwrap();
        assert_eq!(of("bin/lan-gateway"), Some(file));
        assert_eq!(of("release/lan-gateway"), None);
        assert_eq!(of("lan-gateway"), None);
    }
}
