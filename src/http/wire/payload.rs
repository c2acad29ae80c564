//! Reads the bytes of a request's body. The size limit applies to the transferred and to the decompressed bytes while
//! they arrive, so memory never holds more of a body than the limit plus one chunk.

use std::future::poll_fn;
use std::io::{self, Write as _};
use std::task::{Context, Waker};

use actix_web::HttpRequest;
use actix_web::dev::Payload;
use actix_web::error::PayloadError;
use actix_web::http::header::CONTENT_LENGTH;
use actix_web::web::{Bytes, BytesMut};
use flate2::write::GzDecoder;
use futures::StreamExt as _;

use super::header::{Header, single};
use super::problem::ApiError;

/// Initial capacity of a body's buffer.
const FIRST_BYTES: usize = 8 * 1024;

/// How a body is encoded.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Coding {
    Identity,
    Gzip,
}

/// # Errors
/// unsupported_encoding for anything but one `gzip` or `identity`.
fn coding(request: &HttpRequest) -> Result<Coding, ApiError> {
    match single(request, Header::ContentEncoding) {
        Ok(None) => Ok(Coding::Identity),
        Ok(Some(name)) if name.eq_ignore_ascii_case("identity") => Ok(Coding::Identity),
        Ok(Some(name)) if name.eq_ignore_ascii_case("gzip") => Ok(Coding::Gzip),
        Ok(Some(_)) | Err(_) => Err(ApiError::UnsupportedEncoding),
    }
}

/// The bytes of a body so far, with the size limit.
struct Bounded {
    bytes: BytesMut,
    most: usize,
    is_full: bool,
}

impl io::Write for Bounded {
    fn write(&mut self, piece: &[u8]) -> io::Result<usize> {
        if piece.len() > self.most - self.bytes.len() {
            self.is_full = true;
            return Err(io::Error::other("the body is too large"));
        }
        self.bytes.extend_from_slice(piece);
        Ok(piece.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

/// Where the chunks of a body are written.
enum Reader {
    Plain(Bounded),
    /// It decompresses at most 32 KiB at a time, and stops when these exceed the limit.
    Gzip(Box<GzDecoder<Bounded>>),
}

impl Reader {
    fn new(coding: Coding, most: usize) -> Self {
        let bounded = Bounded { bytes: BytesMut::new(), most, is_full: false };
        match coding {
            Coding::Identity => Self::Plain(bounded),
            Coding::Gzip => Self::Gzip(Box::new(GzDecoder::new(bounded))),
        }
    }

    fn bounded(&mut self) -> &mut Bounded {
        match self {
            Self::Plain(bounded) => bounded,
            Self::Gzip(decoder) => decoder.get_mut(),
        }
    }

    fn write(&mut self, piece: &[u8]) -> Result<(), ApiError> {
        let written = match self {
            Self::Plain(bounded) => bounded.write_all(piece),
            Self::Gzip(decoder) => decoder.write_all(piece),
        };
        written.map_err(|_| self.fault())
    }

    fn finish(mut self) -> Result<Bytes, ApiError> {
        if let Self::Gzip(decoder) = &mut self
            && decoder.try_finish().is_err()
        {
            return Err(self.fault());
        }
        Ok(std::mem::take(&mut self.bounded().bytes).freeze())
    }

    fn fault(&mut self) -> ApiError {
        let bounded = self.bounded();
        match bounded.is_full {
            true => ApiError::PayloadTooLarge { most_bytes: bounded.most },
            false => ApiError::invalid("body", "must be one complete gzip stream, as `Content-Encoding` says"),
        }
    }
}

/// The next piece of a body, without a waker: actix-http hands pieces over while it polls a connection, and polls the
/// handler right after that. With a waker, each request would poll its connection once more for nothing.
async fn next_piece(payload: &mut Payload) -> Option<Result<Bytes, PayloadError>> {
    poll_fn(|_| payload.poll_next_unpin(&mut Context::from_waker(Waker::noop()))).await
}

/// The whole body, decompressed if needed.
///
/// # Errors
/// payload_too_large, unsupported_encoding, invalid_request
pub async fn read(request: &HttpRequest, mut payload: Payload, most: usize) -> Result<Bytes, ApiError> {
    let coding = coding(request)?;
    let too_large = || ApiError::PayloadTooLarge { most_bytes: most };
    // The server has already rejected a length that is repeated or not a number.
    let announced = request.headers().get(CONTENT_LENGTH).and_then(|value| value.to_str().ok()?.parse::<usize>().ok());
    if announced.is_some_and(|announced| announced > most) {
        return Err(too_large());
    }
    let mut reader = Reader::new(coding, most);
    let mut sent = 0;
    while let Some(piece) = next_piece(&mut payload).await {
        let piece = piece.map_err(|_| ApiError::invalid("body", "is incomplete"))?;
        if sent == 0 {
            reader.bounded().bytes.reserve(announced.unwrap_or(FIRST_BYTES).min(FIRST_BYTES));
        }
        // Also counts input that decompresses to nothing.
        sent += piece.len();
        if sent > most {
            return Err(too_large());
        }
        reader.write(&piece)?;
    }
    if sent == 0 {
        return Ok(Bytes::new());
    }
    reader.finish()
}

#[cfg(test)]
mod tests {
    use super::*;
    use flate2::Compression;
    use flate2::write::GzEncoder;

    fn gzip(bytes: &[u8]) -> Vec<u8> {
        let mut encoder = GzEncoder::new(Vec::new(), Compression::best());
        encoder.write_all(bytes).unwrap();
        encoder.finish().unwrap()
    }

    /// What a gzip body inflates to when it comes in pieces of that size, or the code of its refusal.
    fn inflate(bytes: &[u8], piece: usize, most: usize) -> Result<Vec<u8>, &'static str> {
        let mut reader = Reader::new(Coding::Gzip, most);
        for piece in bytes.chunks(piece) {
            reader.write(piece).map_err(|error| error.code())?;
        }
        reader.finish().map(|bytes| bytes.to_vec()).map_err(|error| error.code())
    }

    #[test]
    fn a_gzip_body_is_read_to_its_bound_and_no_further() {
        for piece in [1, 7, 1 << 20] {
            for size in [0, 1, 1000, 65_536] {
                let plain = vec![b'x'; size];
                assert_eq!(inflate(&gzip(&plain), piece, 65_536).as_ref(), Ok(&plain), "{size} in {piece}");
            }
            assert_eq!(inflate(&gzip(&vec![b'x'; 65_537]), piece, 65_536), Err("payload_too_large"));
        }
    }

    #[test]
    fn a_bomb_stops_at_the_bound() {
        let bomb = gzip(&vec![0; 64 << 20]);
        let mut reader = Reader::new(Coding::Gzip, 65_536);
        assert_eq!(reader.write(&bomb).unwrap_err().code(), "payload_too_large");
        assert!(reader.bounded().bytes.capacity() <= 2 * 65_536, "{}", reader.bounded().bytes.capacity());
    }

    #[test]
    fn what_is_not_one_complete_gzip_stream_is_refused() {
        let good = gzip(b"{\"userId\":\"u\"}");
        let mut wrong_sum = good.clone();
        let sum = wrong_sum.len() - 8;
        wrong_sum[sum] ^= 1;
        let twice = [good.clone(), good.clone()].concat();
        let trailing = [good.clone(), b"x".to_vec()].concat();
        for bytes in [&b"{}"[..], &good[..5], &good[..good.len() - 1], &wrong_sum, &twice, &trailing] {
            for piece in [1, 1 << 20] {
                assert_eq!(inflate(bytes, piece, 65_536), Err("invalid_request"), "{bytes:?} in {piece}");
            }
        }
    }
}
