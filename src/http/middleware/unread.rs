//! Bodies that no handler reads to the end. The server would continue to read and discard a chunked body after the
//! answer, so a rejected call could keep a connection busy without end. Therefore the answer owns the rest of the
//! body, and the server closes the connection afterwards, as it does for a body of known length.

use std::cell::RefCell;
use std::pin::Pin;
use std::rc::Rc;
use std::task::{Context, Poll};

use actix_web::HttpMessage as _;
use actix_web::body::{BodySize, EitherBody, MessageBody};
use actix_web::dev::{Payload, ServiceRequest, ServiceResponse};
use actix_web::error::PayloadError;
use actix_web::http::header::TRANSFER_ENCODING;
use actix_web::web::Bytes;
use futures::Stream;

/// A body that is shared by its reader and the answer.
#[derive(Clone)]
pub struct Shared(Rc<RefCell<Payload>>);

impl Stream for Shared {
    type Item = Result<Bytes, PayloadError>;

    fn poll_next(self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Option<Self::Item>> {
        Pin::new(&mut *self.0.borrow_mut()).poll_next(context)
    }
}

/// An answer that owns its request's body until it is sent.
pub struct Holding<B> {
    body: Pin<Box<B>>,
    _unread: Shared,
}

impl<B: MessageBody> MessageBody for Holding<B> {
    type Error = B::Error;

    fn size(&self) -> BodySize {
        self.body.size()
    }

    fn poll_next(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Option<Result<Bytes, Self::Error>>> {
        self.body.as_mut().poll_next(context)
    }
}

/// The body of a request, to be held by the answer; None if its length is known.
pub fn share(request: &mut ServiceRequest) -> Option<Shared> {
    if !request.headers().contains_key(TRANSFER_ENCODING) {
        return None;
    }
    let unread = Shared(Rc::new(RefCell::new(request.take_payload())));
    request.set_payload(Payload::Stream { payload: Box::pin(unread.clone()) });
    Some(unread)
}

/// The answer with what [`share`] returned for its request.
pub fn hold<B: MessageBody + 'static>(
    response: ServiceResponse<B>,
    unread: Option<Shared>,
) -> ServiceResponse<EitherBody<B, Holding<B>>> {
    match unread {
        None => response.map_into_left_body(),
        Some(unread) => {
            let holding = |body| Holding { body: Box::pin(body), _unread: unread };
            response.map_body(|_, body| holding(body)).map_into_right_body()
        }
    }
}
