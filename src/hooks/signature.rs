//! The headers of a webhook: id, time and signature, after Standard Webhooks 1.0 (standardwebhooks.com), for which there
//! are libraries in most languages.
//!
//! ```text
//!  webhook-id: 1764251091000-17
//!  webhook-timestamp: 1764251123                     of this attempt
//!  webhook-signature: v1,BASE64                      HMAC-SHA256 over `ID.TIMESTAMP.BODY`
//! ```

use hyper::header::{HeaderName, HeaderValue};
use ring::hmac::{self, HMAC_SHA256};

use crate::check::base64;

/// The headers.
const ID: HeaderName = HeaderName::from_static("webhook-id");
const TIMESTAMP: HeaderName = HeaderName::from_static("webhook-timestamp");
const SIGNATURE: HeaderName = HeaderName::from_static("webhook-signature");

/// A secret in this form is the key in Base64; any other is the key itself.
const PREFIX: &[u8] = b"whsec_";

/// The headers of a body that is sent at this time, in seconds since 1970. Signed if there is a secret.
///
/// # Errors
/// In words: the secret is no key.
pub(super) fn headers(
    id: &str,
    at: i64,
    body: &str,
    secret: Option<&[u8]>,
) -> Result<Vec<(HeaderName, HeaderValue)>, String> {
    let at = at.to_string();
    let mut all = vec![(ID, id.to_owned()), (TIMESTAMP, at.clone())];
    if let Some(secret) = secret {
        let key = hmac::Key::new(HMAC_SHA256, &key(secret)?);
        let signature = hmac::sign(&key, format!("{id}.{at}.{body}").as_bytes());
        all.push((SIGNATURE, format!("v1,{}", base64::encode(signature.as_ref()))));
    }
    let value = |text: String| HeaderValue::from_str(&text).map_err(|_| "the id cannot be sent".to_owned());
    all.into_iter().map(|(name, text)| Ok((name, value(text)?))).collect()
}

fn key(secret: &[u8]) -> Result<Vec<u8>, String> {
    let Some(encoded) = secret.strip_prefix(PREFIX) else { return Ok(secret.to_owned()) };
    let key = std::str::from_utf8(encoded).ok().and_then(base64::decode).filter(|key| !key.is_empty());
    key.ok_or_else(|| "the secret has no Base64 behind `whsec_`".to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn signature(id: &str, at: i64, body: &str, secret: &str) -> Result<String, String> {
        let headers = headers(id, at, body, Some(secret.as_bytes()))?;
        Ok(headers[2].1.to_str().unwrap().to_owned())
    }

    /// The example of the specification.
    #[test]
    fn the_signature_is_that_of_standard_webhooks() {
        let (id, at, body) = ("msg_p5jXN8AQM9LWM0D4loKWxJek", 1_614_265_330, r#"{"test": 2432232314}"#);
        let secret = "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw";
        let expected = "v1,g0hM9SsE+OTPJTGt/tmIKtSyZlE3uFJELVlNIOLJ1OE=";
        assert_eq!(signature(id, at, body, secret), Ok(expected.to_owned()));
        let names: Vec<_> = headers(id, at, body, None).unwrap().into_iter().map(|(name, _)| name).collect();
        assert_eq!(names, ["webhook-id", "webhook-timestamp"], "without a secret");
    }

    /// `printf '1-2.3.{}' | openssl dgst -sha256 -hmac secret -binary | base64`
    #[test]
    fn another_secret_is_the_key_itself() {
        let expected = "v1,7fHEst+ANm3IbFJb2bOQ2SWwJs+pHK6ZRe/Qrpob7Kw=";
        assert_eq!(signature("1-2", 3, "{}", "secret"), Ok(expected.to_owned()));
        assert_eq!(
            signature("1-2", 3, "{}", "whsec_???"),
            Err("the secret has no Base64 behind `whsec_`".to_owned())
        );
        assert!(signature("1-2", 3, "{}", "whsec_").is_err());
    }
}
