//! The file of the control socket: its rights, and whether a gateway answers there.

use std::io::ErrorKind;
use std::os::unix::fs::PermissionsExt;
use std::os::unix::net::UnixListener;
use std::path::Path;

use anyhow::Context;
use socket2::{Domain, SockAddr, Socket, Type};

/// The control socket of a running gateway, in its data folder.
pub const SOCKET: &str = "control.sock";

/// Returns whether a gateway answers at the socket of `data_dir`. The socket of a killed gateway doesn't answer.
pub fn is_answered(data_dir: &Path) -> anyhow::Result<bool> {
    let path = data_dir.join(SOCKET);
    // Non-blocking: a gateway that hangs, with a full queue of connections, counts as running, too.
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

/// Opens a socket, readable and writable by this user alone. The caller must hold the lock on its folder.
pub fn listen(path: &Path) -> anyhow::Result<UnixListener> {
    // A socket that exists is stale: the folder's lock and the control socket were checked before.
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
