//! The body of a response: whole, or a stream.

use std::convert::Infallible;
use std::pin::Pin;

use bytes::Bytes;
use futures_util::{Stream, StreamExt as _};
use http_body_util::{Either, Full, StreamBody};
use hyper::body::Frame;

type Frames = Pin<Box<dyn Stream<Item = Result<Frame<Bytes>, Infallible>> + Send>>;

/// The body of a response.
pub(super) type Body = Either<Full<Bytes>, StreamBody<Frames>>;

/// A body that is complete.
pub(super) fn whole(bytes: Bytes) -> Body {
    Either::Left(Full::new(bytes))
}

/// A body that is sent as it is made.
pub(super) fn streamed(parts: impl Stream<Item = Bytes> + Send + 'static) -> Body {
    Either::Right(StreamBody::new(Box::pin(parts.map(|part| Ok(Frame::data(part))))))
}
