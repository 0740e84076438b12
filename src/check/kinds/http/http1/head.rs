//! The head of an answer, line by line, as tolerant as curl: a server that works for its clients must not fail because
//! of a blank before a colon. Only the decisive fields are kept, so a long head takes no memory. Pure.

use hyper::StatusCode;

use crate::check::quoted::quoted;

/// All of it, in bytes; so much curl takes.
pub(super) const TOTAL: usize = 300 * 1024;
/// Longest line, in bytes; so much curl takes.
pub(super) const LINE: usize = 100 * 1024;
/// What every answer begins with, in capitals or not.
const BEGIN: &[u8] = b"HTTP/";

/// What is known of an answer.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(in crate::check) struct ResponseHead {
    pub(in crate::check) status: StatusCode,
    pub(in crate::check) location: Option<String>,
    pub(in crate::check) content_encoding: Option<String>,
    /// Of the body; `None`: until the connection closes.
    pub(super) length: Option<u64>,
    pub(super) is_chunked: bool,
}

/// Reads heads.
#[derive(Debug, Default)]
pub(super) struct HeadReader {
    head: Option<ResponseHead>,
    /// The last field, which the next line may continue.
    last: Last,
    taken: usize,
}

/// A field whose end is not known yet.
#[derive(Debug, Default)]
enum Last {
    #[default]
    None,
    /// One that decides nothing.
    Any,
    Decides(HeaderField, Vec<u8>),
}

/// The fields that decide.
#[derive(Debug, Clone, Copy)]
enum HeaderField {
    Location,
    ContentEncoding,
    ContentLength,
    TransferEncoding,
}

impl HeaderField {
    const ALL: [(&'static [u8], Self); 4] = [
        (b"location", Self::Location),
        (b"content-encoding", Self::ContentEncoding),
        (b"content-length", Self::ContentLength),
        (b"transfer-encoding", Self::TransferEncoding),
    ];

    fn named(name: &[u8]) -> Option<Self> {
        let (_, field) = Self::ALL.into_iter().find(|(its, _)| name.eq_ignore_ascii_case(its))?;
        Some(field)
    }
}

impl HeadReader {
    /// Takes a line without its end, and gives the head with its last one, which is empty. Heads that are only a notice
    /// (1xx) are passed over.
    ///
    /// # Errors
    /// In words.
    pub(super) fn line(&mut self, line: &[u8]) -> Result<Option<ResponseHead>, String> {
        self.taken += line.len() + 2;
        if self.taken > TOTAL {
            return Err(format!("the head of the answer is longer than {} KiB", TOTAL / 1024));
        }
        let Some(head) = &mut self.head else {
            self.head = Some(ResponseHead {
                status: status(line)?,
                location: None,
                content_encoding: None,
                length: None,
                is_chunked: false,
            });
            return Ok(None);
        };
        // RFC 9112 §5.2: an obsolete fold continues the field before it.
        if line.first().is_some_and(|first| matches!(first, b' ' | b'\t')) {
            match &mut self.last {
                Last::None => return Err(no_colon(line)),
                Last::Any => {}
                Last::Decides(_, value) => {
                    value.push(b' ');
                    value.extend_from_slice(line.trim_ascii());
                }
            }
            return Ok(None);
        }
        if let Last::Decides(field, value) = std::mem::take(&mut self.last) {
            head.take(field, value.trim_ascii())?;
        }
        if line.is_empty() {
            let head = self.head.take();
            return Ok(head.filter(|head| !is_notice(head.status)));
        }
        let colon = line.iter().position(|byte| *byte == b':').ok_or_else(|| no_colon(line))?;
        if line.contains(&0) {
            return Err(format!("the answer is not HTTP: a NUL in {}", quoted(line)));
        }
        self.last = match HeaderField::named(line[..colon].trim_ascii_end()) {
            Some(field) => Last::Decides(field, line[colon + 1..].to_vec()),
            None => Last::Any,
        };
        Ok(None)
    }
}

impl ResponseHead {
    fn take(&mut self, field: HeaderField, value: &[u8]) -> Result<(), String> {
        let text = || String::from_utf8_lossy(value).into_owned();
        match field {
            HeaderField::Location => self.location = self.location.take().or_else(|| Some(text())),
            HeaderField::ContentEncoding => self.content_encoding = Some(text()),
            HeaderField::ContentLength => self.length = length(value)?,
            // RFC 9112 §6.1: it is chunked if that is the last coding.
            HeaderField::TransferEncoding => {
                let last = value.rsplit(|byte| *byte == b',').next().unwrap_or_default().trim_ascii();
                self.is_chunked = last.eq_ignore_ascii_case(b"chunked");
            }
        }
        Ok(())
    }
}

/// Whether what has come so far can be the beginning of an answer.
pub(super) fn may_begin(bytes: &[u8]) -> bool {
    let length = bytes.len().min(BEGIN.len());
    bytes[..length].eq_ignore_ascii_case(&BEGIN[..length])
}

/// Why it cannot.
pub(super) fn no_http(bytes: &[u8]) -> String {
    format!("the answer is not HTTP: {}", quoted(bytes))
}

/// More may follow; a change of protocol is the answer.
fn is_notice(status: StatusCode) -> bool {
    status.is_informational() && status != StatusCode::SWITCHING_PROTOCOLS
}

/// `HTTP/1.1 200 OK`, of which the text need not be there, and neither a blank before it. A version of 2 is taken from servers
/// that say so by mistake.
fn status(line: &[u8]) -> Result<StatusCode, String> {
    if !may_begin(line) || line.len() < BEGIN.len() {
        return Err(no_http(line));
    }
    let rest = &line[BEGIN.len()..];
    let version = rest.iter().position(|byte| *byte == b' ').unwrap_or(rest.len());
    let (version, rest) = rest.split_at(version);
    if !matches!(version, b"1.0" | b"1.1" | b"2" | b"2.0") {
        return Err(format!("the answer has another version of HTTP: {}", quoted(line)));
    }
    let rest = rest.trim_ascii_start();
    let digits = rest.iter().take_while(|byte| byte.is_ascii_digit()).count();
    let code = str::from_utf8(&rest[..digits]).ok().filter(|_| digits == 3);
    let code = code.and_then(|code| StatusCode::from_bytes(code.as_bytes()).ok());
    code.ok_or_else(|| format!("the answer has no status: {}", quoted(line)))
}

/// A number, ignoring the text behind it. A number that is too large is ignored.
fn length(value: &[u8]) -> Result<Option<u64>, String> {
    let text = value.strip_prefix(b"+").unwrap_or(value);
    let digits = text.iter().take_while(|byte| byte.is_ascii_digit()).count();
    let digits = str::from_utf8(&text[..digits]).unwrap_or_default();
    match digits {
        "" => Err(format!("the answer has no number as its length: {}", quoted(value))),
        digits => Ok(digits.parse().ok()),
    }
}

fn no_colon(line: &[u8]) -> String {
    format!("the answer is not HTTP: a header without a colon, {}", quoted(line))
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn read(text: &str) -> Result<ResponseHead, String> {
        let mut reader = HeadReader::default();
        for line in text.split('\n') {
            if let Some(head) = reader.line(line.as_bytes())? {
                return Ok(head);
            }
        }
        Err("no end".into())
    }

    #[test]
    fn what_decides_is_found_however_it_is_written() {
        let head =
            read("HTTP/1.1 200 OK\nContent-Length : 2\nlocation: /a\n  b\nX(y): z\n: none\n\n").unwrap();
        assert_eq!((head.status.as_u16(), head.length), (200, Some(2)));
        assert_eq!(head.location.as_deref(), Some("/a b"));
        for (line, status) in [
            ("http/1.0 404 No", 404),
            ("HTTP/2.0 503 X", 503),
            ("HTTP/2 200", 200),
            ("HTTP/1.1 200", 200),
            ("HTTP/1.1 200OK", 200),
            ("HTTP/1.1  999 ", 999),
            ("HTTP/1.1 101 Upgrade", 101),
        ] {
            assert_eq!(read(&format!("{line}\n\n")).map(|head| head.status.as_u16()), Ok(status), "{line}");
        }
        let early = "HTTP/1.1 100 Continue\n\nHTTP/1.1 103 Early\nContent-Length: 7\n\nHTTP/1.1 204 No\n\n";
        assert_eq!(read(early).map(|head| (head.status.as_u16(), head.length)), Ok((204, None)));
        let lengths = ["2", " 2 ", "2, 2", "+2", "2 bytes"].map(|length| {
            read(&format!("HTTP/1.1 200 OK\nContent-Length: {length}\n\n")).map(|head| head.length)
        });
        assert!(lengths.iter().all(|length| *length == Ok(Some(2))), "{lengths:?}");
        let huge = "HTTP/1.1 200 OK\nContent-Length: 99999999999999999999999\n\n";
        assert_eq!(read(huge).map(|head| head.length), Ok(None));
        let coded = |coding: &str| {
            read(&format!("HTTP/1.0 200 OK\nTransfer-Encoding: {coding}\n\n")).unwrap().is_chunked
        };
        assert!(coded("Chunked") && coded("gzip, chunked") && !coded("identity") && !coded("chunked, gzip"));
    }

    #[test]
    fn what_is_no_answer_is_quoted() {
        let table = [
            ("SSH-2.0-x", "the answer is not HTTP: \"SSH-2.0-x\""),
            (" HTTP/1.1 200 OK", "the answer is not HTTP: \" HTTP/1.1 200 OK\""),
            ("HTTP 200 OK", "the answer is not HTTP: \"HTTP 200 OK\""),
            ("HTTP/3 200", "the answer has another version of HTTP: \"HTTP/3 200\""),
            ("HTTP/1.2 200 OK", "the answer has another version of HTTP: \"HTTP/1.2 200 OK\""),
            ("HTTP/1.1\t200 OK", "the answer has another version of HTTP: \"HTTP/1.1\\t200 OK\""),
            ("HTTP/1.1 two", "the answer has no status: \"HTTP/1.1 two\""),
            ("HTTP/1.1 2000 OK", "the answer has no status: \"HTTP/1.1 2000 OK\""),
            ("HTTP/1.1 099 OK", "the answer has no status: \"HTTP/1.1 099 OK\""),
            ("HTTP/1.1 200 OK\nno colon", "the answer is not HTTP: a header without a colon, \"no colon\""),
            ("HTTP/1.1 200 OK\n fold", "the answer is not HTTP: a header without a colon, \" fold\""),
            ("HTTP/1.1 200 OK\nX: \0", "the answer is not HTTP: a NUL in \"X: \\0\""),
            ("HTTP/1.1 200 OK\nContent-Length: -2\n", "the answer has no number as its length: \"-2\""),
        ];
        for (text, said) in table {
            assert_eq!(read(&format!("{text}\n\n")), Err(said.into()), "{text}");
        }
    }

    proptest! {
        #[test]
        fn no_lines_make_it_panic(lines: Vec<Vec<u8>>) {
            let mut reader = HeadReader::default();
            for line in [&b"HTTP/1.1 200 OK"[..]].into_iter().chain(lines.iter().map(Vec::as_slice)) {
                if reader.line(line).is_err() {
                    break;
                }
            }
        }
    }
}
