//! Faults that a test asks for: panics at places of the gateway, and a disk that fails or is slow.

use std::path::PathBuf;
use std::process::{Child, Command, Stdio};

use super::eventually::until;

/// The file that `LGW_DEBUG_PANIC` names.
pub struct Panics {
    folder: tempfile::TempDir,
}

impl Panics {
    pub fn none() -> Self {
        Panics { folder: tempfile::tempdir().unwrap() }
    }

    fn file(&self) -> PathBuf {
        self.folder.path().join("panic")
    }

    /// For the environment of a gateway.
    pub fn setting(&self) -> (&'static str, String) {
        ("DEBUG_PANIC", self.file().to_str().unwrap().to_owned())
    }

    /// From now on the gateway panics there; nowhere, if nothing is said.
    pub fn at(&self, place: &str) {
        std::fs::write(self.file(), place).unwrap();
    }
}

/// Syncs or writes that strace tampers with, until it is dropped.
pub struct Syncs(Child);

impl Syncs {
    /// `how`, as in `error=EIO` or `delay_exit=1000000`: from now on, in all threads that `pid` has.
    pub async fn tampered(pid: u32, how: &str) -> Syncs {
        Syncs::of("fdatasync,fsync", pid, how).await
    }

    /// From now on, the database of `pid` finds its disk full.
    pub async fn without_room(pid: u32) -> Syncs {
        Syncs::of("pwrite64", pid, "error=ENOSPC").await
    }

    async fn of(calls: &str, pid: u32, how: &str) -> Syncs {
        let strace = Command::new("strace")
            .args(["-f", "-q", "-o", "/dev/null", "-e", &format!("trace={calls}")])
            .args(["-e", &format!("inject={calls}:{how}"), "-p", &pid.to_string()])
            .stderr(Stdio::null())
            .spawn()
            .expect("this test needs strace");
        let syncs = Syncs(strace);
        let traced = |task: std::fs::DirEntry| {
            let status = std::fs::read_to_string(task.path().join("status")).unwrap_or_default();
            // With a sync that fails it may have ended already.
            !status.contains("TracerPid:\t0\n") || status.contains("State:\tZ")
        };
        let all_are =
            async || std::fs::read_dir(format!("/proc/{pid}/task")).unwrap().all(|task| traced(task.unwrap()));
        until("strace holds the gateway", all_are).await;
        syncs
    }
}

impl Drop for Syncs {
    fn drop(&mut self) {
        // It lets go of what it traces when it is asked to end, and not when it is killed.
        let _ = Command::new("kill").args(["-TERM", &self.0.id().to_string()]).status();
        let _ = self.0.wait();
    }
}
