//! Why an upstream gave no answer.

use anyhow::anyhow;
use awc::error::{ConnectError, SendRequestError};

use crate::base::error::{Error, chain};
use crate::config::UpstreamLimits;
use crate::upstream::tls;

#[derive(Debug)]
pub struct Failure {
    pub error: Error,
    /// The connection ended before the answer did: the upstream may have died of the request.
    pub broke_off: bool,
}

impl Failure {
    /// Translates an error of the HTTP client before the head of an answer.
    pub fn of(cause: SendRequestError, limits: &UpstreamLimits) -> Self {
        let error = match cause {
            SendRequestError::Timeout => Error::Timeout {
                message: format!(
                    "the model server sent nothing for {} s; it may be loading a model: try again",
                    limits.first_byte_timeout.as_secs()
                ),
            },
            SendRequestError::Connect(ConnectError::Timeout) => {
                Error::UpstreamDown { cause: anyhow!("connecting took too long") }
            }
            // awc's name for an established connection that ends before the head of an answer.
            SendRequestError::Connect(ConnectError::Disconnected) => return closed_early("it was closed".into()),
            SendRequestError::Connect(ConnectError::Io(cause)) => {
                let cause = tls::failure(&cause).map_or_else(|| anyhow!(chain(&cause)), anyhow::Error::msg);
                Error::UpstreamDown { cause }
            }
            SendRequestError::Connect(cause) => Error::UpstreamDown { cause: anyhow!(chain(&cause)) },
            other => return closed_early(chain(&other)),
        };
        error.into()
    }

    /// Returns whether no connection was made, so that the upstream has seen nothing of the request.
    pub fn is_unconnected(&self) -> bool {
        matches!(self.error, Error::UpstreamDown { .. })
    }
}

fn closed_early(cause: String) -> Failure {
    tracing::warn!(cause, "the upstream closed the connection before its answer");
    let message = "the model server closed the connection before its answer".into();
    Failure { error: Error::UpstreamRefused { message }, broke_off: true }
}

impl From<Error> for Failure {
    fn from(error: Error) -> Self {
        Failure { error, broke_off: false }
    }
}
