//! Frames an answer for its request: HTTP/1.0, HEAD, upgrades that are not offered, bodies that were not read.
//!
//! Handlers know nothing of these. Each rule names its section of RFC 9110 or 9112.

use std::cell::RefCell;
use std::pin::Pin;
use std::rc::Rc;
use std::task::{Context, Poll};

use actix_web::HttpMessage;
use actix_web::body::{BodySize, BoxBody, MessageBody};
use actix_web::dev::{Payload, ServiceRequest, ServiceResponse};
use actix_web::error::PayloadError;
use actix_web::http::{ConnectionType, Method, Version, header};
use bytes::Bytes;
use futures_util::{Stream, StreamExt};

/// What must be known of a request when its answer is ready.
pub struct Framing {
    is_head: bool,
    is_http_10: bool,
    asks_for_upgrade: bool,
    chunked: Option<SharedPayload>,
}

impl Framing {
    /// Reads the head of `request`, and keeps a handle on a chunked body.
    pub fn of(request: &mut ServiceRequest) -> Framing {
        let head = request.head();
        let framing = Framing {
            is_head: head.method == Method::HEAD,
            is_http_10: head.version < Version::HTTP_11,
            asks_for_upgrade: head.upgrade(),
            chunked: None,
        };
        if !request.headers().contains_key(header::TRANSFER_ENCODING) {
            return framing;
        }
        let payload = SharedPayload::new(request.take_payload());
        request.set_payload(Payload::from(payload.clone().boxed_local()));
        Framing { chunked: Some(payload), ..framing }
    }

    pub fn apply(self, mut response: ServiceResponse<BoxBody>) -> ServiceResponse<BoxBody> {
        let is_stream = response.response().body().size() == BodySize::Stream;
        let head = response.response_mut().head_mut();
        if self.is_http_10 && is_stream {
            // HTTP/1.0 has no chunks (RFC 9112, 6.1): the end of the connection is the end of the body.
            head.no_chunking(true);
            head.set_connection_type(ConnectionType::Close);
        }
        if self.asks_for_upgrade {
            // Otherwise actix would repeat the client's `Connection: upgrade` without an upgrade.
            head.set_connection_type(ConnectionType::Close);
        }
        if self.is_head {
            // Streams, such as exports, must not run for HEAD (RFC 9110, 9.3.2).
            response = response.map_body(|_, body| BoxBody::new(NoContent(body.size())));
        }
        match self.chunked {
            Some(payload) if !payload.has_ended() => {
                response.map_body(|_, body| BoxBody::new(KeepsPayload { body, _payload: payload }))
            }
            _ => response,
        }
    }
}

/// A body without content that reports the length of the content.
struct NoContent(BodySize);

impl MessageBody for NoContent {
    type Error = std::convert::Infallible;

    fn size(&self) -> BodySize {
        self.0
    }

    fn poll_next(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<Option<Result<Bytes, Self::Error>>> {
        Poll::Ready(None)
    }
}

/// Keeps a request body that the handler did not read to its end.
///
/// actix reads a dropped chunked body to its end, for ever if the client never ends it. While the answer holds the body, actix
/// closes the connection after the answer instead.
struct KeepsPayload {
    body: BoxBody,
    _payload: SharedPayload,
}

impl MessageBody for KeepsPayload {
    type Error = Box<dyn std::error::Error>;

    fn size(&self) -> BodySize {
        self.body.size()
    }

    fn poll_next(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Option<Result<Bytes, Self::Error>>> {
        Pin::new(&mut self.body).poll_next(context)
    }
}

/// A request body that the handler reads and the framing may keep.
#[derive(Clone)]
struct SharedPayload(Rc<RefCell<Chunks>>);

struct Chunks {
    payload: Payload,
    has_ended: bool,
}

impl SharedPayload {
    fn new(payload: Payload) -> Self {
        SharedPayload(Rc::new(RefCell::new(Chunks { payload, has_ended: false })))
    }

    fn has_ended(&self) -> bool {
        self.0.borrow().has_ended
    }
}

impl Stream for SharedPayload {
    type Item = Result<Bytes, PayloadError>;

    fn poll_next(self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Option<Self::Item>> {
        let mut chunks = self.0.borrow_mut();
        let polled = chunks.payload.poll_next_unpin(context);
        chunks.has_ended |= matches!(polled, Poll::Ready(None));
        polled
    }
}
