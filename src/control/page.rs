//! The status page: one file without external parts, which follows the stream of events.

use std::sync::OnceLock;

use bytes::Bytes;
use hyper::Response;
use hyper::header::{
    CACHE_CONTROL, CONTENT_SECURITY_POLICY, CONTENT_TYPE, HeaderValue, X_CONTENT_TYPE_OPTIONS,
};

use super::api::EventKind;
use super::body::{self, Body};

const PAGE: &str = include_str!("page.html");
/// The place of the kinds of events in the page: a browser subscribes to each by name.
const KINDS: &str = "/*kinds*/[]";
/// Nothing from elsewhere, and requests only to ourselves.
const POLICY: &str = "default-src 'none'; style-src 'unsafe-inline'; script-src 'unsafe-inline'; connect-src 'self'; \
    img-src data:; base-uri 'none'; form-action 'none'; frame-ancestors 'none'";

/// The page.
pub(super) fn response() -> Response<Body> {
    static TEXT: OnceLock<Bytes> = OnceLock::new();
    let text = TEXT.get_or_init(|| Bytes::from(page()));
    let mut response = Response::new(body::whole(text.clone()));
    let headers = response.headers_mut();
    headers.insert(CONTENT_TYPE, HeaderValue::from_static("text/html; charset=utf-8"));
    headers.insert(CONTENT_SECURITY_POLICY, HeaderValue::from_static(POLICY));
    headers.insert(X_CONTENT_TYPE_OPTIONS, HeaderValue::from_static("nosniff"));
    headers.insert(CACHE_CONTROL, HeaderValue::from_static("no-cache"));
    response
}

fn page() -> String {
    let kinds: Vec<String> = EventKind::KNOWN.iter().map(|kind| format!("{:?}", kind.word())).collect();
    PAGE.replace(KINDS, &format!("[{}]", kinds.join(", ")))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_page_has_no_external_part_and_knows_every_kind_of_event() {
        let page = page();
        assert!(!page.contains("http:") && !page.contains("https:") && !page.contains("innerHTML"));
        assert!(page.contains("const KINDS = [\"announced\", ") && page.contains("\"clock_set\""));
    }
}
