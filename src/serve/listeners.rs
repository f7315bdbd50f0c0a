//! The listeners: their sockets, and how a connection on each is served, plain or over TLS.

use std::fmt;
use std::io;
use std::marker::PhantomData;
use std::net::{IpAddr, SocketAddr, TcpListener};
use std::time::Duration;

use actix_http::body::{BoxBody, MessageBody};
use actix_http::error::DispatchError;
use actix_http::{Extensions, HttpServiceBuilder, Request, Response};
use actix_server::{GracefulShutdownSignal, ServerBuilder};
use actix_service::{IntoServiceFactory, Service, ServiceFactory, ServiceFactoryExt, apply_fn_factory, map_config};
use actix_tls::accept::rustls_0_23::{Acceptor, TlsStream};
use actix_tls::accept::{TlsError, max_concurrent_tls_connect};
use actix_web::HttpResponse;
use actix_web::dev::AppConfig;
use actix_web::rt::net::TcpStream;
use anyhow::Context;
use rustls::ServerConfig;
use socket2::{Domain, Protocol, Socket, Type};
use tracing::{debug, info};

use crate::base::error::chain;
use crate::http::connections::Connections;
use crate::http::stranger_lines;
use crate::http::transport::Ends;

/// How long the kernel keeps a connection whose peer acknowledges nothing. Without it, a client that never reads would never be
/// noticed.
const USER_TIMEOUT: Duration = Duration::from_secs(30);

const BACKLOG: i32 = 1024;

/// How long the head of a request may take to arrive.
const HEAD_MAX: Duration = Duration::from_secs(5);

/// How long a handshake may take. Its connection counts from the beginning.
const HANDSHAKE_MAX: Duration = Duration::from_secs(5);

/// How long a client may take to close a connection that the gateway has ended.
const DISCONNECT_MAX: Duration = Duration::from_secs(1);

/// Opens the socket of the key `key`.
pub fn listen(key: &str, address: SocketAddr) -> anyhow::Result<TcpListener> {
    let open = || -> io::Result<TcpListener> {
        let socket = Socket::new(Domain::for_address(address), Type::STREAM.nonblocking(), Some(Protocol::TCP))?;
        socket.set_reuse_address(true)?;
        // Accepted connections inherit both.
        socket.set_tcp_user_timeout(Some(USER_TIMEOUT))?;
        socket.set_tcp_nodelay(true)?;
        socket.bind(&address.into())?;
        socket.listen(BACKLOG)?;
        Ok(socket.into())
    };
    open().with_context(|| format!("can't listen on {address}; is another program there? `{key}` chooses the address"))
}

/// Serves one application on any number of listeners, which count their connections together.
pub struct ServedApp<F, I, S, B> {
    /// Makes the application of one worker.
    factory: F,
    connections: Connections,
    stopping: GracefulShutdownSignal,
    made: PhantomData<(I, S, B)>,
}

impl<F, I, S, B> ServedApp<F, I, S, B>
where
    F: Fn() -> I + Send + Clone + 'static,
    I: IntoServiceFactory<S, Request> + 'static,
    S: ServiceFactory<Request, Config = AppConfig> + 'static,
    S::Error: Into<actix_web::Error> + 'static,
    S::InitError: fmt::Debug,
    S::Response: Into<Response<B>> + 'static,
    <S::Service as Service<Request>>::Future: 'static,
    S::Service: 'static,
    B: MessageBody + 'static,
{
    pub fn new(factory: F, connections: Connections, stopping: GracefulShutdownSignal) -> Self {
        ServedApp { factory, connections, stopping, made: PhantomData }
    }

    /// Adds a listener for plain HTTP.
    pub fn plain(&self, builder: ServerBuilder, listener: TcpListener) -> io::Result<ServerBuilder> {
        let (factory, connections, stopping) = (self.factory.clone(), self.connections.clone(), self.stopping.clone());
        let address = listener.local_addr()?;
        builder.listen("plain", listener, move || {
            let http = http(&stopping, address, |stream: &TcpStream| Ends::of(stream, false));
            counted(connections.clone(), http.h1(configured(factory())).tcp())
        })
    }

    /// Adds a listener for HTTP over TLS.
    pub fn tls(&self, builder: ServerBuilder, listener: TcpListener, tls: ServerConfig) -> io::Result<ServerBuilder> {
        // The connections are limited; a limit of handshakes beside it would let slow clients stop all listeners.
        max_concurrent_tls_connect(usize::MAX);
        let (factory, connections, stopping) = (self.factory.clone(), self.connections.clone(), self.stopping.clone());
        let address = listener.local_addr()?;
        builder.listen("tls", listener, move || {
            let http = http(&stopping, address, |stream: &TlsStream<TcpStream>| Ends::of(stream.get_ref().0, true));
            let mut acceptor = Acceptor::new(tls.clone());
            acceptor.set_handshake_timeout(HANDSHAKE_MAX);
            let encrypted = acceptor.map_err(TlsError::into_service_error).map(|stream: TlsStream<TcpStream>| {
                let peer = stream.get_ref().0.peer_addr().ok();
                (stream, peer)
            });
            let served = http.h1(configured(factory())).map_err(TlsError::Service).map_init_err(|_| ());
            counted(connections.clone(), encrypted.and_then(served))
        })
    }
}

/// Returns how HTTP is spoken on a listener.
fn http<T: 'static, S>(
    stopping: &GracefulShutdownSignal,
    address: SocketAddr,
    ends: impl Fn(&T) -> Option<Ends> + 'static,
) -> HttpServiceBuilder<T, S>
where
    S: ServiceFactory<Request, Config = ()>,
    S::Error: Into<Response<BoxBody>> + 'static,
    S::InitError: fmt::Debug,
    <S::Service as Service<Request>>::Future: 'static,
{
    let stopping = stopping.clone();
    HttpServiceBuilder::default()
        .graceful_shutdown_signal(move || {
            let stopping = stopping.clone();
            async move { stopping.notified().await }
        })
        .client_request_timeout(HEAD_MAX)
        .client_disconnect_timeout(DISCONNECT_MAX)
        // A client that hangs up ends its request, at any await.
        .h1_allow_half_closed(false)
        .local_addr(address)
        .on_connect_ext(move |stream: &T, data: &mut Extensions| {
            // Without its ends, the requests of a connection are refused at the entrance.
            if let Some(ends) = ends(stream) {
                data.insert(ends);
            }
        })
}

/// Returns an application as the service of one worker.
fn configured<I, S, B>(
    app: I,
) -> impl ServiceFactory<
    Request,
    Config = (),
    Response = S::Response,
    Error = HttpResponse,
    InitError = S::InitError,
    Service = impl Service<Request, Response = S::Response, Error = HttpResponse, Future: 'static>,
>
where
    I: IntoServiceFactory<S, Request>,
    S: ServiceFactory<Request, Config = AppConfig> + 'static,
    S::Error: Into<actix_web::Error> + 'static,
    S::Response: Into<Response<B>> + 'static,
    <S::Service as Service<Request>>::Future: 'static,
{
    let app = app.into_factory().map_err(|error| error.into().error_response());
    map_config(app, |()| AppConfig::default())
}

/// Counts each connection from its first moment to its last, and closes it at once where there are too many.
fn counted<S>(
    connections: Connections,
    service: S,
) -> impl ServiceFactory<TcpStream, Config = (), Response = (), Error = S::Error, InitError = S::InitError>
where
    S: ServiceFactory<TcpStream, Config = (), Response = ()>,
    S::Error: ConnectionEnd,
{
    apply_fn_factory(service, move |stream: TcpStream, service: &S::Service| {
        let peer = stream.peer_addr().ok();
        let connected = peer.and_then(|peer| connections.enter(peer.ip()));
        let serving = connected.map(|connected| (service.call(stream), connected));
        async move {
            let Some((serving, _connected)) = serving else { return Ok(()) };
            serving.await.inspect_err(|cause| tell_end(cause, peer.map(|peer| peer.ip().to_canonical())))
        }
    })
}

/// Why a connection ended before its client closed it.
trait ConnectionEnd: fmt::Debug {
    /// Returns the error of the layer that speaks HTTP.
    fn of_http(&self) -> Option<&DispatchError>;

    /// Returns why there is no encryption.
    fn of_tls(&self) -> Option<&io::Error> {
        None
    }
}

impl ConnectionEnd for DispatchError {
    fn of_http(&self) -> Option<&DispatchError> {
        Some(self)
    }
}

impl ConnectionEnd for TlsError<io::Error, DispatchError> {
    fn of_http(&self) -> Option<&DispatchError> {
        match self {
            TlsError::Service(cause) => Some(cause),
            TlsError::Tls(_) | TlsError::Timeout => None,
        }
    }

    fn of_tls(&self) -> Option<&io::Error> {
        match self {
            // Who only looks whether a port is open leaves without a word.
            TlsError::Tls(cause) if cause.kind() != io::ErrorKind::UnexpectedEof => Some(cause),
            _ => None,
        }
    }
}

/// Logs what was no HTTP request: it has no handler, no id and no row. The causes are words of the parser, none of the client.
fn tell_end(end: &impl ConnectionEnd, peer: Option<IpAddr>) {
    let address = peer.map(tracing::field::display);
    if let Some(cause) = end.of_tls().filter(|_| stranger_lines::admits(peer)) {
        info!(
            client.address = address,
            reason = "tls_handshake",
            cause = chain(cause),
            "a connection was closed: it could not be encrypted; a client that speaks http to `tls.listen`, or does not trust \
             the certificate, looks like this"
        );
        return;
    }
    match end.of_http() {
        Some(DispatchError::Parse(cause)) if stranger_lines::admits(peer) => info!(
            client.address = address,
            reason = "malformed_request",
            cause = chain(cause),
            "a connection was closed: it sent no valid HTTP request; a client that speaks https to `listen` looks like this"
        ),
        Some(DispatchError::SlowRequestTimeout) if stranger_lines::admits(peer) => info!(
            client.address = address,
            reason = "slow_request",
            "a connection was closed: the head of its request took too long"
        ),
        _ => debug!(client.address = address, cause = ?end, "a connection ended"),
    }
}
