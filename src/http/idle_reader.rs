//! The time limit for readers of an export on the control socket.
//!
//! Over TCP the kernel closes a connection whose peer takes nothing (`TCP_USER_TIMEOUT`); a Unix socket has no such limit, and
//! actix doesn't poll a body while its buffer is full. So a timer starts with each piece, and the next piece stops it.

use crate::base::error::chain;
use std::any::Any;
use std::cell::RefCell;
use std::net::Shutdown;
use std::os::fd::{AsFd, OwnedFd};
use std::rc::Rc;
use std::sync::Arc;
use std::time::Duration;

use actix_web::HttpRequest;
use actix_web::dev::Extensions;
use actix_web::rt::net::UnixStream;
use socket2::SockRef;
use tokio_util::task::AbortOnDropHandle;
use tracing::warn;

/// The reader of one connection on the control socket. Kept with the connection, so that its last piece has the limit, too.
#[derive(Clone)]
pub struct IdleReader {
    /// A handle of its own on the connection.
    socket: Arc<OwnedFd>,
    timer: Rc<RefCell<Option<AbortOnDropHandle<()>>>>,
}

impl IdleReader {
    /// Returns the reader of this request's answer, if the request came over the control socket.
    pub fn of(request: &HttpRequest) -> Option<IdleReader> {
        request.conn_data::<IdleReader>().cloned()
    }

    /// Stops the timer: the reader has taken the piece before.
    pub fn took(&self) {
        self.timer.replace(None);
    }

    /// Starts the timer: the reader has `limit` for the piece that it gets now.
    pub fn waits(&self, limit: Duration) {
        let socket = self.socket.clone();
        let timer = actix_web::rt::spawn(async move {
            tokio::time::sleep(limit).await;
            warn!("a command read nothing of its export for {} s; its connection is closed", limit.as_secs());
            // The reader may be gone by now.
            let _ = SockRef::from(&socket).shutdown(Shutdown::Both);
        });
        self.timer.replace(Some(AbortOnDropHandle::new(timer)));
    }
}

/// Keeps a handle on a new connection of the control socket.
pub fn on_connect(connection: &dyn Any, data: &mut Extensions) {
    let Some(stream) = connection.downcast_ref::<UnixStream>() else { return };
    match stream.as_fd().try_clone_to_owned() {
        Ok(socket) => {
            data.insert(IdleReader { socket: Arc::new(socket), timer: Rc::default() });
        }
        Err(cause) => warn!(cause = chain(&cause), "a command on the control socket has no time limit for its exports"),
    }
}
