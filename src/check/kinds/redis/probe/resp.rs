//! What a server of Redis says, version 2 of its protocol (RESP), read piece by piece.
//!
//! ```text
//!   +PONG\r\n   -ERR no\r\n   :42\r\n   $4\r\ntext\r\n   $-1\r\n nil   *2\r\n… an array of two
//! ```
//!
//! A reply has at most [`LONGEST`] bytes, and nothing is set aside for what has only been promised: a length that is said is
//! a bound, and no reason to allocate.

/// The longest reply, in bytes: ROLE of a master with a thousand replicas.
pub(super) const LONGEST: usize = 64 * 1024;
/// ROLE has a list in a list in a list.
const DEEPEST: usize = 4;
/// The shortest reply, `+` and the end of the line, in bytes.
const SHORTEST: usize = 3;
/// As much of what is no reply is quoted.
const QUOTED: usize = 256;

/// One reply.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum RespReply {
    Simple(Vec<u8>),
    Error(Vec<u8>),
    Integer(i64),
    Bulk(Vec<u8>),
    Nil,
    Array(Vec<Self>),
}

/// Why there is no reply, nor will be one.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Broken {
    /// These bytes are no reply.
    Strange(Vec<u8>),
    TooLong,
}

/// Puts replies together.
#[derive(Debug, Default)]
pub(super) struct ReplyReader {
    bytes: Vec<u8>,
    /// The bytes before were made sense of.
    at: usize,
    /// So many from there on have no end of a line.
    seen: usize,
    /// The length of the reply so far, in bytes.
    length: usize,
    /// The length of the text that comes next.
    text: Option<usize>,
    /// The arrays that are not whole, the innermost last.
    open: Vec<OpenArray>,
}

#[derive(Debug)]
struct OpenArray {
    /// How many elements are missing; never zero.
    missing: usize,
    elements: Vec<RespReply>,
}

/// What stands in a line.
enum ReplyLine {
    Whole(RespReply),
    Text(usize),
    Array(usize),
}

impl ReplyReader {
    /// Takes what has arrived. The caller asks [`Self::next`] until there is none before it comes with more.
    pub(super) fn feed(&mut self, bytes: &[u8]) {
        self.bytes.drain(..self.at);
        self.at = 0;
        self.bytes.extend_from_slice(bytes);
    }

    /// The next reply, if all of it has arrived.
    ///
    /// # Errors
    /// It is none, or too long. The caller gives up then.
    pub(super) fn next(&mut self) -> Result<Option<RespReply>, Broken> {
        loop {
            let part = match self.text {
                Some(length) => self.text(length)?,
                None => self.line()?,
            };
            let whole = match part {
                None => return Ok(None),
                Some(ReplyLine::Whole(reply)) => self.put(reply),
                Some(ReplyLine::Text(length)) => {
                    self.text = Some(length);
                    None
                }
                Some(ReplyLine::Array(missing)) => {
                    self.open.push(OpenArray { missing, elements: Vec::new() });
                    None
                }
            };
            if let Some(reply) = whole {
                self.length = 0;
                return Ok(Some(reply));
            }
        }
    }

    /// A text of this length, and the end of its line.
    fn text(&mut self, length: usize) -> Result<Option<ReplyLine>, Broken> {
        let Some(text) = self.bytes[self.at..].get(..length + 2) else { return Ok(None) };
        let Some(text) = text.strip_suffix(b"\r\n") else { return Err(self.strange()) };
        let reply = RespReply::Bulk(text.to_vec());
        self.text = None;
        self.advance(length + 2)?;
        Ok(Some(ReplyLine::Whole(reply)))
    }

    fn line(&mut self) -> Result<Option<ReplyLine>, Broken> {
        let bytes = &self.bytes[self.at..];
        if bytes.first().is_some_and(|first| !b"+-:$*".contains(first)) {
            return Err(self.strange());
        }
        let Some(end) = bytes[self.seen..].iter().position(|byte| *byte == b'\n') else {
            self.seen = bytes.len();
            return if self.length + self.seen > LONGEST { Err(Broken::TooLong) } else { Ok(None) };
        };
        let length = self.seen + end + 1;
        let Some((kind, said)) = bytes[..length].strip_suffix(b"\r\n").and_then(|line| line.split_first())
        else {
            return Err(self.strange());
        };
        let line = match kind {
            b'+' => ReplyLine::Whole(RespReply::Simple(said.to_vec())),
            b'-' => ReplyLine::Whole(RespReply::Error(said.to_vec())),
            _ => {
                let Some(number) = number(said) else { return Err(self.strange()) };
                match (kind, usize::try_from(number)) {
                    (b':', _) => ReplyLine::Whole(RespReply::Integer(number)),
                    (_, Err(_)) if number == -1 => ReplyLine::Whole(RespReply::Nil),
                    (_, Err(_)) => return Err(self.strange()),
                    (b'$', Ok(length)) if length <= LONGEST => ReplyLine::Text(length),
                    (b'*', Ok(0)) => ReplyLine::Whole(RespReply::Array(Vec::new())),
                    (b'*', Ok(_)) if self.open.len() == DEEPEST => return Err(self.strange()),
                    (b'*', Ok(count)) if count <= LONGEST / SHORTEST => ReplyLine::Array(count),
                    (_, Ok(_)) => return Err(Broken::TooLong),
                }
            }
        };
        self.advance(length)?;
        Ok(Some(line))
    }

    /// Puts a reply where it belongs; gives the one back that is whole with it.
    fn put(&mut self, mut reply: RespReply) -> Option<RespReply> {
        loop {
            let Some(open) = self.open.last_mut() else { return Some(reply) };
            open.elements.push(reply);
            open.missing -= 1;
            if open.missing > 0 {
                return None;
            }
            reply = RespReply::Array(self.open.pop()?.elements);
        }
    }

    fn advance(&mut self, length: usize) -> Result<(), Broken> {
        self.at += length;
        self.seen = 0;
        self.length += length;
        if self.length > LONGEST { Err(Broken::TooLong) } else { Ok(()) }
    }

    fn strange(&self) -> Broken {
        let bytes = &self.bytes[self.at..];
        Broken::Strange(bytes[..bytes.len().min(QUOTED)].to_vec())
    }
}

/// Decimal digits, with a minus or without.
fn number(text: &[u8]) -> Option<i64> {
    let digits = text.strip_prefix(b"-").unwrap_or(text);
    let plain = !digits.is_empty() && digits.iter().all(u8::is_ascii_digit);
    std::str::from_utf8(text).ok().filter(|_| plain)?.parse().ok()
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    /// All replies in the bytes that come in these pieces, and how it ends.
    fn read<'a>(pieces: impl IntoIterator<Item = &'a [u8]>) -> (Vec<RespReply>, Option<Broken>) {
        let (mut reader, mut replies) = (ReplyReader::default(), Vec::new());
        for piece in pieces {
            reader.feed(piece);
            loop {
                match reader.next() {
                    Ok(Some(reply)) => replies.push(reply),
                    Ok(None) => break,
                    Err(broken) => return (replies, Some(broken)),
                }
            }
            assert!(reader.bytes.len() <= LONGEST + 2 + piece.len());
            assert!(reader.open.len() <= DEEPEST && reader.length <= LONGEST);
        }
        (replies, None)
    }

    fn bulk(text: &str) -> RespReply {
        RespReply::Bulk(text.into())
    }

    #[test]
    fn every_kind_of_reply_is_read() {
        let bytes = b"+PONG\r\n-ERR no\r\n:-42\r\n$4\r\na\r\nb\r\n$-1\r\n$0\r\n\r\n*0\r\n*-1\r\n\
            *3\r\n$6\r\nmaster\r\n:7\r\n*1\r\n*2\r\n$1\r\na\r\n$1\r\nb\r\n";
        let inner = RespReply::Array(vec![RespReply::Array(vec![bulk("a"), bulk("b")])]);
        let wanted = vec![
            RespReply::Simple(b"PONG".into()),
            RespReply::Error(b"ERR no".into()),
            RespReply::Integer(-42),
            bulk("a\r\nb"),
            RespReply::Nil,
            bulk(""),
            RespReply::Array(vec![]),
            RespReply::Nil,
            RespReply::Array(vec![bulk("master"), RespReply::Integer(7), inner]),
        ];
        assert_eq!(read([&bytes[..]]), (wanted.clone(), None));
        assert_eq!(read(bytes.chunks(1)), (wanted, None));
    }

    #[test]
    fn what_is_no_reply_is_refused() {
        let strange = |bytes: &[u8]| Some(Broken::Strange(bytes.into()));
        let whole: [&[u8]; 10] = [
            b"HTTP/1.1 400 Bad Request\r\n",
            b"\r\n",
            b"+PONG\n",
            b":\r\n",
            b":+1\r\n",
            b":99999999999999999999\r\n",
            b"$-2\r\n",
            b"$x\r\n",
            b"%1\r\n",
            b"*-7\r\n",
        ];
        for bytes in whole {
            assert_eq!(read([bytes]).1, strange(bytes), "{}", bytes.escape_ascii());
        }
        assert_eq!(read([&b"$1\r\nabc\r\n"[..]]).1, strange(b"abc\r\n"));
        assert_eq!(read([b"*1\r\n".repeat(5).as_slice()]).1, strange(b"*1\r\n"));
    }

    #[test]
    fn no_reply_is_longer_than_the_longest() {
        let too_long = (vec![], Some(Broken::TooLong));
        assert_eq!(read([&b"$65537\r\n"[..]]), too_long);
        assert_eq!(read([&b"*9223372036854775807\r\n"[..]]), too_long);
        assert_eq!(read([[b"+".as_slice(), &[b'x'; LONGEST]].concat().as_slice()]), too_long);
        let many = [b"*20000\r\n".as_slice(), &b":1\r\n".repeat(20_000)].concat();
        assert_eq!(read(many.chunks(4096)), too_long);
        let line = [b"+".as_slice(), &[b'x'; LONGEST - 3], b"\r\n"].concat();
        assert_eq!(read(line.chunks(1000)).0.len(), 1);
    }

    fn written(reply: &RespReply, bytes: &mut Vec<u8>) {
        match reply {
            RespReply::Simple(text) => bytes.extend([b"+", &text[..], b"\r\n"].concat()),
            RespReply::Error(text) => bytes.extend([b"-", &text[..], b"\r\n"].concat()),
            RespReply::Integer(number) => bytes.extend(format!(":{number}\r\n").into_bytes()),
            RespReply::Nil => bytes.extend(b"$-1\r\n"),
            RespReply::Bulk(text) => {
                bytes.extend(format!("${}\r\n", text.len()).into_bytes());
                bytes.extend([text, &b"\r\n"[..]].concat());
            }
            RespReply::Array(elements) => {
                bytes.extend(format!("*{}\r\n", elements.len()).into_bytes());
                elements.iter().for_each(|element| written(element, bytes));
            }
        }
    }

    fn any_reply() -> impl Strategy<Value = RespReply> {
        let line = || prop::collection::vec(any::<u8>().prop_filter("", |b| *b != b'\n'), 0..20);
        let leaf = prop_oneof![
            line().prop_map(RespReply::Simple),
            line().prop_map(RespReply::Error),
            any::<i64>().prop_map(RespReply::Integer),
            any::<Vec<u8>>().prop_map(RespReply::Bulk),
            Just(RespReply::Nil),
        ];
        leaf.prop_recursive(3, 30, 6, |of| prop::collection::vec(of, 0..6).prop_map(RespReply::Array))
    }

    /// Bytes that look like replies more often than chance has it.
    fn hostile() -> impl Strategy<Value = Vec<u8>> {
        let piece = prop_oneof![
            any::<Vec<u8>>(),
            "[-+:$*]?-?[0-9]{0,19}(\r\n)?".prop_map(String::into_bytes),
            any_reply().prop_map(|reply| {
                let mut bytes = Vec::new();
                written(&reply, &mut bytes);
                bytes
            }),
        ];
        prop::collection::vec(piece, 0..10).prop_map(|pieces| pieces.concat())
    }

    proptest! {
        #[test]
        fn what_is_written_is_read(replies in prop::collection::vec(any_reply(), 0..5), piece in 1_usize..50) {
            let mut bytes = Vec::new();
            replies.iter().for_each(|reply| written(reply, &mut bytes));
            prop_assert_eq!(read(bytes.chunks(piece)), (replies, None));
        }

        #[test]
        fn however_bytes_are_cut_they_say_the_same(bytes in hostile(), piece in 1_usize..50) {
            let (whole, broken) = read([&bytes[..]]);
            let (cut, broken_too) = read(bytes.chunks(piece));
            prop_assert_eq!(whole, cut);
            prop_assert_eq!(broken.is_some(), broken_too.is_some());
        }
    }
}
