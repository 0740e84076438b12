//! The client's side of the stream of events.

use super::api::Event;

/// One item of the stream.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Item {
    /// An event, with its id.
    Event {
        /// The id, to go on behind it.
        id: String,
        /// The event.
        event: Box<Event>,
    },
    /// This number of events was lost, because the client was too slow.
    Missed(u64),
}

/// Takes the stream apart, in whatever pieces it arrives.
#[derive(Debug, Default)]
pub(super) struct Parser {
    rest: Vec<u8>,
    id: String,
    kind: String,
    data: Vec<u8>,
}

#[derive(serde::Deserialize)]
struct Missed {
    missed: u64,
}

impl Parser {
    /// The items that this piece completes.
    ///
    /// # Errors
    /// It is no event of this version.
    pub(super) fn read(&mut self, piece: &[u8]) -> serde_json::Result<Vec<Item>> {
        self.rest.extend_from_slice(piece);
        let mut items = Vec::new();
        let mut read = 0;
        while let Some(length) = self.rest[read..].iter().position(|byte| *byte == b'\n') {
            let line = self.rest[read..read + length].to_vec();
            read += length + 1;
            items.extend(self.line(&line)?);
        }
        self.rest.drain(..read);
        Ok(items)
    }

    fn line(&mut self, line: &[u8]) -> serde_json::Result<Option<Item>> {
        if !line.is_empty() {
            let text = |value: &[u8]| String::from_utf8_lossy(value).into_owned();
            if let Some(id) = line.strip_prefix(b"id: ") {
                self.id = text(id);
            } else if let Some(kind) = line.strip_prefix(b"event: ") {
                self.kind = text(kind);
            } else if let Some(data) = line.strip_prefix(b"data: ") {
                self.data = data.to_vec();
            }
            return Ok(None);
        }
        let (kind, data) = (std::mem::take(&mut self.kind), std::mem::take(&mut self.data));
        if data.is_empty() {
            return Ok(None);
        }
        if kind == "missed" {
            return Ok(Some(Item::Missed(serde_json::from_slice::<Missed>(&data)?.missed)));
        }
        Ok(Some(Item::Event { id: self.id.clone(), event: Box::new(serde_json::from_slice(&data)?) }))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_stream_is_the_same_in_whatever_pieces_it_arrives() {
        let stream = ": vipcast events\n\nid: 7-1\nevent: stopped\n\
            data: {\"seq\":1,\"at\":\"\",\"event\":\"stopped\",\"level\":\"info\",\"message\":\"stopped\"}\n\n\
            :\n\nevent: missed\ndata: {\"missed\":3}\n\nid: 7-9";
        let whole = Parser::default().read(stream.as_bytes()).unwrap();
        assert_eq!(whole.len(), 2);
        assert!(matches!(&whole[0], Item::Event { id, event } if id == "7-1" && event.seq == 1), "{whole:?}");
        assert_eq!(whole[1], Item::Missed(3));
        for size in 1..stream.len() {
            let mut parser = Parser::default();
            let pieces = stream.as_bytes().chunks(size);
            let items: Vec<Item> = pieces.flat_map(|piece| parser.read(piece).unwrap()).collect();
            assert_eq!(items, whole, "in pieces of {size}");
        }
        assert!(Parser::default().read(b"data: {\n\n").is_err());
    }
}
