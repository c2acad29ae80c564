//! Serves the files of the dashboard and of the API reference (`/`, `/docs`, `/assets/…`), which are built into the
//! binary. They contain no data; their scripts fetch it from the API.

use actix_web::http::header::{CACHE_CONTROL, ETAG, HeaderName, HeaderValue, IF_NONE_MATCH};
use actix_web::middleware::{Compress, DefaultHeaders};
use actix_web::{HttpRequest, HttpResponse, web};
use rust_embed::{EmbeddedFile, RustEmbed};

use super::wire::problem::ApiError;
use crate::service::error::ServiceError;

#[derive(RustEmbed)]
#[folder = "dashboard/"]
struct Files;

/// Files of the folder that no page loads.
const NOT_SERVED: [&str; 3] = [".md", ".d.ts", "tsconfig.json"];

/// Only files of this node: no inline script or style, no other origin, no frames.
const CONTENT_SECURITY_POLICY: &str = "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self'; \
    connect-src 'self'; base-uri 'none'; form-action 'none'; frame-ancestors 'none'; require-trusted-types-for 'script'";

const HEADERS: [(HeaderName, HeaderValue); 4] = [
    (HeaderName::from_static("content-security-policy"), HeaderValue::from_static(CONTENT_SECURITY_POLICY)),
    (HeaderName::from_static("referrer-policy"), HeaderValue::from_static("no-referrer")),
    (HeaderName::from_static("cross-origin-opener-policy"), HeaderValue::from_static("same-origin")),
    (HeaderName::from_static("x-frame-options"), HeaderValue::from_static("DENY")),
];

pub fn routes(config: &mut web::ServiceConfig) {
    let page = super::plain_resource("/").route(web::get().to(index)).route(web::head().to(index));
    let assets = super::plain_resource("/assets/{path:.*}").route(web::get().to(asset)).route(web::head().to(asset));
    let docs = super::plain_resource("/docs").route(web::get().to(docs)).route(web::head().to(docs));
    config.service(page.wrap(Compress::default()).wrap(headers()));
    config.service(docs.wrap(Compress::default()).wrap(headers()));
    config.service(assets.wrap(Compress::default()).wrap(headers()));
}

fn headers() -> DefaultHeaders {
    HEADERS.into_iter().fold(DefaultHeaders::new(), |headers, header| headers.add(header))
}

async fn index(request: HttpRequest) -> Result<HttpResponse, ApiError> {
    file(&request, "index.html")
}

/// The API reference, which displays `/openapi.json`.
async fn docs(request: HttpRequest) -> Result<HttpResponse, ApiError> {
    file(&request, "docs.html")
}

async fn asset(request: HttpRequest, path: web::Path<String>) -> Result<HttpResponse, ApiError> {
    file(&request, &path)
}

fn file(request: &HttpRequest, path: &str) -> Result<HttpResponse, ApiError> {
    let missing = || ServiceError::NotFound(format!("The path {} does not exist.", request.path()));
    let found = Files::get(path).filter(|_| !NOT_SERVED.iter().any(|ending| path.ends_with(ending)));
    let EmbeddedFile { data, metadata } = found.ok_or_else(missing)?;
    let etag = format!("W/\"{}\"", hex::encode(&metadata.sha256_hash()[..12]));
    let known = request.headers().get(IF_NONE_MATCH).is_some_and(|given| given.as_bytes() == etag.as_bytes());
    let mut response = if known { HttpResponse::NotModified() } else { HttpResponse::Ok() };
    // Browsers revalidate with the ETag each time, so a new version of the node shows its own page at once.
    response.insert_header((CACHE_CONTROL, "no-cache")).insert_header((ETAG, etag));
    match known {
        true => Ok(response.finish()),
        false => Ok(response.content_type(content_type(path)).body(data.into_owned())),
    }
}

fn content_type(path: &str) -> &'static str {
    match path.rsplit_once('.').map(|(_, ending)| ending) {
        Some("html") => "text/html; charset=utf-8",
        Some("js") => "text/javascript; charset=utf-8",
        Some("css") => "text/css; charset=utf-8",
        Some("json") => "application/json",
        Some("svg") => "image/svg+xml",
        _ => "text/plain; charset=utf-8",
    }
}
