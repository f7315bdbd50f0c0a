//! Connections to mail servers: bounded in what is read from them, and encrypted from the first byte where that is wanted.
//!
//! They are read a line at a time. The mail library keeps what it has read beyond a line, also when TLS begins: an attacker on the way
//! could send answers in plain text behind the one to STARTTLS, which would then pass for those of the server. So they stay on the
//! connection, where TLS refuses them.

use std::io::{self, ErrorKind};
use std::net::SocketAddr;
use std::pin::Pin;
use std::task::{Context, Poll, ready};

use futures_util::io::{AsyncRead as FuturesRead, AsyncWrite as FuturesWrite};
use lettre::transport::smtp::Error as SmtpError;
#[allow(deprecated, reason = "the only way to encrypt a connection of one's own from its first byte")]
use lettre::transport::smtp::client::AsyncNetworkStream;
use lettre::transport::smtp::client::{AsyncTokioStream, TlsParameters};
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::net::TcpStream;

/// More than any server says in a conversation, its certificates included. The mail library reads a line until it ends.
const READ_BYTES_MAX: usize = 256 * 1024;

/// How far the end of a line is looked for.
const LOOK_BYTES: usize = 1024;

/// A connection that ends with an error when the server says too much.
#[derive(Debug)]
pub struct BoundedStream {
    stream: TcpStream,
    left: usize,
}

impl BoundedStream {
    pub fn new(stream: TcpStream) -> BoundedStream {
        BoundedStream { stream, left: READ_BYTES_MAX }
    }
}

impl AsyncTokioStream for BoundedStream {
    fn peer_addr(&self) -> io::Result<SocketAddr> {
        self.stream.peer_addr()
    }
}

impl AsyncRead for BoundedStream {
    fn poll_read(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        let mut seen = [0; LOOK_BYTES];
        let mut seen = ReadBuf::new(&mut seen);
        let count = ready!(self.stream.poll_peek(context, &mut seen))?;
        let line = seen.filled().iter().position(|byte| *byte == b'\n').map_or(count, |end| end + 1);
        let mut part = ReadBuf::new(buffer.initialize_unfilled_to(line.min(buffer.remaining())));
        ready!(Pin::new(&mut self.stream).poll_read(context, &mut part))?;
        let read = part.filled().len();
        match self.left.checked_sub(read) {
            Some(left) => {
                self.left = left;
                buffer.advance(read);
                Poll::Ready(Ok(()))
            }
            None => Poll::Ready(Err(io::Error::new(ErrorKind::InvalidData, "it said too much"))),
        }
    }
}

impl AsyncWrite for BoundedStream {
    fn poll_write(mut self: Pin<&mut Self>, context: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.stream).poll_write(context, bytes)
    }

    fn poll_flush(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_flush(context)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_shutdown(context)
    }
}

/// A connection that is encrypted from its first byte.
#[derive(Debug)]
#[allow(deprecated, reason = "see its import")]
pub struct EncryptedStream(AsyncNetworkStream);

#[allow(deprecated, reason = "see its import")]
impl EncryptedStream {
    pub async fn open(stream: BoundedStream, parameters: TlsParameters) -> Result<EncryptedStream, SmtpError> {
        let mut stream = AsyncNetworkStream::use_existing_tokio1(Box::new(stream));
        stream.upgrade_tls(parameters).await?;
        Ok(EncryptedStream(stream))
    }
}

#[allow(deprecated, reason = "see its import")]
impl AsyncTokioStream for EncryptedStream {
    fn peer_addr(&self) -> io::Result<SocketAddr> {
        self.0.peer_addr()
    }
}

impl AsyncRead for EncryptedStream {
    fn poll_read(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        let read = ready!(FuturesRead::poll_read(Pin::new(&mut self.0), context, buffer.initialize_unfilled()))?;
        buffer.advance(read);
        Poll::Ready(Ok(()))
    }
}

impl AsyncWrite for EncryptedStream {
    fn poll_write(mut self: Pin<&mut Self>, context: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        FuturesWrite::poll_write(Pin::new(&mut self.0), context, bytes)
    }

    fn poll_flush(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        FuturesWrite::poll_flush(Pin::new(&mut self.0), context)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        FuturesWrite::poll_close(Pin::new(&mut self.0), context)
    }
}
