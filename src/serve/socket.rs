//! The file of the control socket: who may open it, and whether somebody answers there.

use std::io::ErrorKind;
use std::os::unix::fs::PermissionsExt;
use std::os::unix::net::UnixListener;
use std::path::Path;

use anyhow::Context;
use socket2::{Domain, SockAddr, Socket, Type};

/// Where the gateway that runs on a data folder answers the command line.
pub const SOCKET: &str = "control.sock";

/// Returns whether a gateway answers at the socket of `data_dir`. One that a killed gateway left behind answers nobody.
pub fn somebody_answers(data_dir: &Path) -> anyhow::Result<bool> {
    let path = data_dir.join(SOCKET);
    // Without blocking: a gateway that hangs, and whose queue of connections is full, is one, too.
    let socket = Socket::new(Domain::UNIX, Type::STREAM.nonblocking(), None).context("can't make a socket")?;
    let connected = SockAddr::unix(&path).and_then(|address| socket.connect(&address));
    match connected.map_err(|cause| (cause.kind(), cause)) {
        Ok(()) | Err((ErrorKind::WouldBlock, _)) => Ok(true),
        Err((ErrorKind::NotFound | ErrorKind::ConnectionRefused, _)) => Ok(false),
        Err((_, cause)) => {
            Err(cause).with_context(|| format!("can't ask whether a gateway runs, at {}", path.display()))
        }
    }
}

/// Opens a socket, readable and writable by this user alone. To be called by whoever holds the lock on its folder.
pub fn listen(path: &Path) -> anyhow::Result<UnixListener> {
    // Nobody answers at one that is there: the folder's lock and the control socket itself were asked.
    match std::fs::remove_file(path) {
        Err(cause) if cause.kind() != ErrorKind::NotFound => {
            return Err(cause).with_context(|| format!("can't remove the old {}", path.display()));
        }
        _ => {}
    }
    let listener = UnixListener::bind(path).with_context(|| format!("can't open {}", path.display()))?;
    std::fs::set_permissions(path, PermissionsExt::from_mode(0o600))?;
    Ok(listener)
}
