//! Messages of D-Bus as bytes: the few that queries to systemd and logind need. Pure.
//!
//! ```text
//!  'l' type flags 1 │ length of the body │ serial │ length of the fields │ (code, signature, value)… │ pad to 8 │ body
//! ```
//!
//! Only little-endian, like all our targets (D-Bus specification, "Message Protocol"). Numbers are aligned to their
//! size from the beginning of the message, structures and the body to 8.

/// No message that we wait for is larger; the specification allows 128 MiB.
const LARGEST: usize = 1 << 20;
/// Before the fields: four octets, and three numbers of four.
const FIXED: usize = 16;

/// A method is called.
const CALL: u8 = 1;
/// And answers.
const RETURN: u8 = 2;
/// And fails.
const ERROR: u8 = 3;
/// Something is told to all.
const SIGNAL: u8 = 4;

/// Why the bytes are no message.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub(crate) enum WireError {
    /// Another byte order, version or kind, or what is not D-Bus at all.
    #[error("what it says is not D-Bus")]
    NotDbus,
    /// More than we take.
    #[error("its message is too long")]
    TooLong,
    /// Lengths, types or texts that do not fit together.
    #[error("its message is broken")]
    Broken,
}

/// A method and whose it is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct MethodCall<'a> {
    /// The destination; none on a direct connection.
    pub(crate) destination: Option<&'a str>,
    pub(crate) path: &'a str,
    pub(crate) interface: &'a str,
    pub(crate) member: &'a str,
}

/// What has come.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum BusMessage {
    /// The answer to the call with this serial number.
    Return { serial: u32, body: Arguments },
    /// The failure of that call: `org.freedesktop.DBus.Error.UnknownObject`.
    Error { serial: u32, name: String },
    /// A signal.
    Signal { path: String, interface: String, member: String, body: Arguments },
    /// A method call to us, and unknown types, which the receiver ignores.
    Other,
}

/// The values of a message.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub(crate) struct Arguments {
    signature: String,
    bytes: Vec<u8>,
}

impl Arguments {
    /// The first value, if it is a text, or a variant that holds one.
    pub(crate) fn text(&self) -> Option<String> {
        let mut reader = WireReader { bytes: &self.bytes, at: 0 };
        match self.signature.as_bytes().first()? {
            b's' | b'o' => reader.text().ok(),
            b'v' => match reader.signature().ok()?.as_str() {
                "s" | "o" => reader.text().ok(),
                _ => None,
            },
            _ => None,
        }
    }

    /// The first values, if they are this many texts.
    pub(crate) fn texts<const COUNT: usize>(&self) -> Option<[String; COUNT]> {
        if !self.signature.starts_with(&"s".repeat(COUNT)) {
            return None;
        }
        let mut reader = WireReader { bytes: &self.bytes, at: 0 };
        let texts: Result<Vec<_>, _> = (0..COUNT).map(|_| reader.text()).collect();
        texts.ok()?.try_into().ok()
    }

    /// The first value, if it is an unsigned number of 32 or 64 bits, or a variant that holds one.
    pub(crate) fn number(&self) -> Option<u64> {
        let mut reader = WireReader { bytes: &self.bytes, at: 0 };
        let kind = match self.signature.as_bytes().first()? {
            b'v' => *reader.signature().ok()?.as_bytes().first()?,
            kind => *kind,
        };
        match kind {
            b'u' => reader.number().ok().map(u64::from),
            b't' => reader.long_number().ok(),
            _ => None,
        }
    }

    /// The first value, if it is an array of structures `(ssssuu)`: the answer of logind's `ListInhibitors`.
    pub(crate) fn inhibitors(&self) -> Option<Vec<([String; 4], [u32; 2])>> {
        if !self.signature.starts_with("a(ssssuu)") {
            return None;
        }
        let mut reader = WireReader { bytes: &self.bytes, at: 0 };
        let length = reader.length().ok()?;
        reader.align(8).ok()?;
        let end = reader.at.checked_add(length)?;
        let mut rows = Vec::new();
        while reader.at < end {
            rows.push(reader.inhibitor().ok()?);
        }
        Some(rows)
    }

    /// The first value, if it is true or false.
    pub(crate) fn boolean(&self) -> Option<bool> {
        let mut reader = WireReader { bytes: &self.bytes, at: 0 };
        if self.signature.starts_with('b') { reader.number().ok().map(|number| number != 0) } else { None }
    }
}

/// A call of a method whose arguments are texts.
pub(crate) fn call(serial: u32, method: &MethodCall<'_>, arguments: &[&str]) -> Vec<u8> {
    let mut body = Writer::default();
    arguments.iter().for_each(|argument| body.text(argument));
    let mut fields = Writer { bytes: vec![0; FIXED] };
    let texts = [
        (1, "o", Some(method.path)),
        (2, "s", Some(method.interface)),
        (3, "s", Some(method.member)),
        (6, "s", method.destination),
    ];
    for (code, kind, text) in texts {
        if let Some(text) = text {
            fields.field(code, kind);
            fields.text(text);
        }
    }
    if !arguments.is_empty() {
        fields.field(8, "g");
        fields.signature(&"s".repeat(arguments.len()));
    }
    let length = fields.bytes.len() - FIXED;
    fields.pad(8);
    let mut message = fields.bytes;
    message[..4].copy_from_slice(&[b'l', CALL, 0, 1]);
    for (at, number) in [(4, body.bytes.len()), (8, serial as usize), (12, length)] {
        // All are far below 4 GiB.
        message[at..at + 4].copy_from_slice(&u32::try_from(number).unwrap_or(u32::MAX).to_le_bytes());
    }
    message.extend(body.bytes);
    message
}

/// The first message of `bytes` and its length; `None` while it is not all there.
///
/// # Errors
/// Nothing that follows can be read.
pub(crate) fn decode(bytes: &[u8]) -> Result<Option<(BusMessage, usize)>, WireError> {
    let Some(fixed) = bytes.first_chunk::<FIXED>() else { return Ok(None) };
    if (fixed[0], fixed[3]) != (b'l', 1) || fixed[1] == 0 {
        return Err(WireError::NotDbus);
    }
    let mut reader = WireReader { bytes: fixed, at: 4 };
    let (body, _, fields) = (reader.length()?, reader.number()?, reader.length()?);
    let body_at = (FIXED + fields).next_multiple_of(8);
    let length = body_at + body;
    if length > LARGEST {
        return Err(WireError::TooLong);
    }
    let Some(message) = bytes.get(..length) else { return Ok(None) };
    let head = MessageHead::read(&message[..FIXED + fields])?;
    let body = Arguments { signature: head.signature, bytes: message[body_at..].to_vec() };
    let message = match (fixed[1], head.reply_serial, head.error) {
        (RETURN, Some(serial), _) => BusMessage::Return { serial, body },
        (ERROR, Some(serial), Some(name)) => BusMessage::Error { serial, name },
        (RETURN | ERROR, _, _) => return Err(WireError::Broken),
        (SIGNAL, _, _) => {
            BusMessage::Signal { path: head.path, interface: head.interface, member: head.member, body }
        }
        (_, _, _) => BusMessage::Other,
    };
    Ok(Some((message, length)))
}

/// The fields that mean something to us.
#[derive(Default)]
struct MessageHead {
    path: String,
    interface: String,
    member: String,
    error: Option<String>,
    reply_serial: Option<u32>,
    signature: String,
}

impl MessageHead {
    fn read(bytes: &[u8]) -> Result<Self, WireError> {
        let mut head = Self::default();
        let mut reader = WireReader { bytes, at: FIXED };
        while reader.at < bytes.len() {
            reader.align(8)?;
            let code = reader.octet()?;
            match (code, reader.signature()?.as_str()) {
                (1, "o") => head.path = reader.text()?,
                (2, "s") => head.interface = reader.text()?,
                (3, "s") => head.member = reader.text()?,
                (4, "s") => head.error = Some(reader.text()?),
                (5, "u") => head.reply_serial = Some(reader.number()?),
                (8, "g") => head.signature = reader.signature()?,
                // Unknown fields must be ignored, and these are all types of fields.
                (_, "s" | "o") => drop(reader.text()?),
                (_, "u") => drop(reader.number()?),
                (_, "g") => drop(reader.signature()?),
                (_, _) => return Err(WireError::Broken),
            }
        }
        Ok(head)
    }
}

struct WireReader<'a> {
    bytes: &'a [u8],
    at: usize,
}

impl WireReader<'_> {
    fn take(&mut self, length: usize) -> Result<&[u8], WireError> {
        let end = self.at.checked_add(length).ok_or(WireError::Broken)?;
        let taken = self.bytes.get(self.at..end).ok_or(WireError::Broken)?;
        self.at = end;
        Ok(taken)
    }

    fn align(&mut self, to: usize) -> Result<(), WireError> {
        self.take(self.at.next_multiple_of(to) - self.at).map(|_| ())
    }

    fn octet(&mut self) -> Result<u8, WireError> {
        self.take(1).map(|octets| octets[0])
    }

    fn number(&mut self) -> Result<u32, WireError> {
        self.align(4)?;
        let octets = self.take(4)?.first_chunk().ok_or(WireError::Broken)?;
        Ok(u32::from_le_bytes(*octets))
    }

    fn long_number(&mut self) -> Result<u64, WireError> {
        self.align(8)?;
        let octets = self.take(8)?.first_chunk().ok_or(WireError::Broken)?;
        Ok(u64::from_le_bytes(*octets))
    }

    fn length(&mut self) -> Result<usize, WireError> {
        let length = usize::try_from(self.number()?).map_err(|_| WireError::TooLong)?;
        if length > LARGEST { Err(WireError::TooLong) } else { Ok(length) }
    }

    /// A structure `(ssssuu)`.
    fn inhibitor(&mut self) -> Result<([String; 4], [u32; 2]), WireError> {
        self.align(8)?;
        let texts = [self.text()?, self.text()?, self.text()?, self.text()?];
        Ok((texts, [self.number()?, self.number()?]))
    }

    fn text(&mut self) -> Result<String, WireError> {
        let length = self.length()?;
        self.ended(length)
    }

    fn signature(&mut self) -> Result<String, WireError> {
        let length = usize::from(self.octet()?);
        self.ended(length)
    }

    /// A text and the NUL behind it.
    fn ended(&mut self, length: usize) -> Result<String, WireError> {
        let (nul, text) = self.take(length + 1)?.split_last().ok_or(WireError::Broken)?;
        let text = std::str::from_utf8(text).map_err(|_| WireError::Broken)?;
        if *nul == 0 { Ok(text.to_owned()) } else { Err(WireError::Broken) }
    }
}

#[derive(Default)]
struct Writer {
    bytes: Vec<u8>,
}

impl Writer {
    fn pad(&mut self, to: usize) {
        self.bytes.resize(self.bytes.len().next_multiple_of(to), 0);
    }

    /// The beginning of a field: its code, and the signature of what follows.
    fn field(&mut self, code: u8, kind: &str) {
        self.pad(8);
        self.bytes.push(code);
        self.signature(kind);
    }

    fn text(&mut self, text: &str) {
        self.pad(4);
        self.bytes.extend(u32::try_from(text.len()).unwrap_or(u32::MAX).to_le_bytes());
        self.bytes.extend(text.as_bytes());
        self.bytes.push(0);
    }

    fn signature(&mut self, signature: &str) {
        self.bytes.push(u8::try_from(signature.len()).unwrap_or(u8::MAX));
        self.bytes.extend(signature.as_bytes());
        self.bytes.push(0);
    }
}
