//! The wire form of server-sent events: bytes in, events out, in bounded memory.

/// One event.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub(crate) struct SseEvent {
    /// Its name; empty where none was given.
    pub(crate) name: String,
    /// Its id, where one was given.
    pub(crate) id: Option<String>,
    /// Its data; several lines are joined by line feeds.
    pub(crate) data: String,
}

/// An event larger than the bound, or text that is not UTF-8.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub(crate) enum InvalidSse {
    #[error("an event of more than {0} bytes")]
    TooLarge(usize),
    #[error("an event that is not UTF-8")]
    NotText,
}

/// Reads events from pieces of a stream, wherever it was cut.
#[derive(Debug)]
pub(crate) struct SseReader {
    bytes_max: usize,
    /// What came and is not a whole line yet, from `start` on.
    buffer: Vec<u8>,
    start: usize,
    /// Where the search for the line's end goes on.
    searched: usize,
    event: SseEvent,
    has_data: bool,
}

impl SseReader {
    pub(crate) fn new(bytes_max: usize) -> Self {
        let event = SseEvent::default();
        Self { bytes_max, buffer: Vec::new(), start: 0, searched: 0, event, has_data: false }
    }

    /// Takes a piece.
    pub(crate) fn push(&mut self, piece: &[u8]) {
        if self.start > 0 {
            self.buffer.drain(..self.start);
            self.searched -= self.start;
            self.start = 0;
        }
        self.buffer.extend_from_slice(piece);
    }

    /// The next event that is whole.
    pub(crate) fn next(&mut self) -> Result<Option<SseEvent>, InvalidSse> {
        loop {
            let Some(end) = self.buffer[self.searched..].iter().position(|byte| *byte == b'\n') else {
                self.searched = self.buffer.len();
                let held = self.buffer.len() - self.start + self.event.data.len();
                return if held > self.bytes_max { Err(InvalidSse::TooLarge(self.bytes_max)) } else { Ok(None) };
            };
            let end = self.searched + end;
            let line = &self.buffer[self.start..end];
            let line = line.strip_suffix(b"\r").unwrap_or(line);
            let line = std::str::from_utf8(line).map_err(|_| InvalidSse::NotText)?;
            if line.is_empty() {
                let event = std::mem::take(&mut self.event);
                let whole = std::mem::take(&mut self.has_data);
                (self.start, self.searched) = (end + 1, end + 1);
                if whole {
                    return Ok(Some(event));
                }
                continue;
            }
            let (field, value) = line.split_once(':').unwrap_or((line, ""));
            let value = value.strip_prefix(' ').unwrap_or(value);
            match field {
                "event" => self.event.name = value.to_owned(),
                "id" => self.event.id = Some(value.to_owned()),
                "data" => {
                    if self.has_data {
                        self.event.data.push('\n');
                    }
                    self.event.data.push_str(value);
                    self.has_data = true;
                }
                // Comments have an empty field name; unknown fields are to be ignored.
                _ => {}
            }
            (self.start, self.searched) = (end + 1, end + 1);
            if self.event.data.len() > self.bytes_max {
                return Err(InvalidSse::TooLarge(self.bytes_max));
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn event(name: &str, id: Option<&str>, data: &str) -> SseEvent {
        SseEvent { name: name.into(), id: id.map(Into::into), data: data.into() }
    }

    #[test]
    fn events_are_the_same_wherever_the_stream_is_cut() {
        let text =
            ": hello\n\nid: 7\nevent: frame\ndata: {\"a\":1}\n\nretry: 5\nevent:x\r\ndata:one\r\ndata: two\r\n\r\n";
        let want = [event("frame", Some("7"), "{\"a\":1}"), event("x", None, "one\ntwo")];
        for size in 1..text.len() {
            let mut reader = SseReader::new(100);
            let mut got = Vec::new();
            for piece in text.as_bytes().chunks(size) {
                reader.push(piece);
                while let Some(event) = reader.next().unwrap() {
                    got.push(event);
                }
            }
            assert_eq!(got, want, "pieces of {size}");
        }
    }

    #[test]
    fn an_event_without_end_is_refused_and_so_is_what_is_no_text() {
        let mut reader = SseReader::new(64);
        reader.push(b"data: ");
        reader.push(&[b'x'; 64]);
        assert_eq!(reader.next(), Err(InvalidSse::TooLarge(64)));
        let mut reader = SseReader::new(64);
        reader.push(&[b'x'; 40]);
        assert_eq!(reader.next(), Ok(None));
        let mut reader = SseReader::new(64);
        (0..8).for_each(|_| reader.push(b"data: 0123456789\n"));
        assert_eq!(reader.next(), Err(InvalidSse::TooLarge(64)));
        let mut reader = SseReader::new(64);
        reader.push(b"data: \xff\xfe\n");
        assert_eq!(reader.next(), Err(InvalidSse::NotText));
    }
}
