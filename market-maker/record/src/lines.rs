//! A capture's lines, and what to make of a file that does not end as it should.
//!
//! A recorder that is killed, a full disk or a broken copy leave a torn end: half a line, a compressed file cut short,
//! bytes after it. That is the end of the file, with a warning. A line that cannot be read and is followed by one that
//! can is no torn end but damage, and an error.

use std::{
    fmt,
    fs::File,
    io::{self, BufRead, BufReader, Read},
    path::{Path, PathBuf},
};

use flate2::bufread::GzDecoder;
use quorate_binance_api::{
    capture::{Captured, InvalidLine, parse_line},
    streams::{InvalidMessage, Wanted},
};

use crate::{error::CaptureError, foreign};

/// The two bytes that a gzip file begins with.
const GZIP: [u8; 2] = [0x1f, 0x8b];
/// Bytes of a line at most.
pub const LINE_MAX: u64 = 16 << 20;
/// Bytes at the end of a file that may be unreadable and still count as its torn end.
const TAIL_MAX: usize = 64 << 10;
/// Bytes of a first line that are looked at to tell what a foreign file is.
const HEAD_MAX: usize = 64;

/// The file ends as if it had been torn off.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Torn {
    path: PathBuf,
    line: u64,
    what: String,
}

impl Torn {
    /// The line that is not whole, from 1.
    #[must_use]
    pub fn line(&self) -> u64 {
        self.line
    }
}

impl fmt::Display for Torn {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (path, line, what) = (self.path.display(), self.line, &self.what);
        write!(f, "{path}:{line}: {what}: the file ends here, as if it had been torn off")
    }
}

/// The lines of a file, plain or gzip, which its first bytes tell.
pub struct CaptureLines {
    path: PathBuf,
    wanted: Wanted,
    reader: Box<dyn BufRead + Send>,
    gzip: bool,
    line: u64,
    buffer: Vec<u8>,
    /// Whether a line could be read so far.
    some: bool,
    ended: bool,
    torn: Option<Torn>,
}

/// What stands where the next line would be.
enum Piece {
    /// A line, in the buffer.
    Whole,
    End,
    Torn(String),
}

/// Why a line cannot be read.
enum Unread {
    /// It has nothing of a capture's line.
    Foreign(String),
    /// It is one, but not whole.
    Broken(String),
}

impl Unread {
    fn what(self) -> String {
        match self {
            Self::Foreign(what) | Self::Broken(what) => what,
        }
    }
}

impl CaptureLines {
    /// Opens a file. Messages that are not `wanted` are told by their names only.
    ///
    /// # Errors
    /// [`CaptureError::Io`], [`CaptureError::NotAFile`].
    pub fn open(path: &Path, wanted: Wanted) -> Result<Self, CaptureError> {
        let wrong = |source| CaptureError::Io { path: path.to_owned(), line: 1, source };
        // Before it is opened: to open a pipe would wait for whoever writes into it.
        if !path.metadata().map_err(wrong)?.is_file() {
            return Err(CaptureError::NotAFile { path: path.to_owned() });
        }
        let mut file = BufReader::with_capacity(64 << 10, File::open(path).map_err(wrong)?);
        let gzip = file.fill_buf().map_err(wrong)?.starts_with(&GZIP);
        let reader: Box<dyn BufRead + Send> = if gzip {
            Box::new(BufReader::with_capacity(64 << 10, Members(Some(GzDecoder::new(file)))))
        } else {
            Box::new(file)
        };
        Ok(Self {
            path: path.to_owned(),
            wanted,
            reader,
            gzip,
            line: 0,
            buffer: Vec::new(),
            some: false,
            ended: false,
            torn: None,
        })
    }

    /// The file.
    #[must_use]
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// The number of the line read last, from 1.
    #[must_use]
    pub fn number(&self) -> u64 {
        self.line
    }

    /// How the file was torn, once its end has been met: told once.
    pub fn take_torn(&mut self) -> Option<Torn> {
        self.torn.take()
    }

    /// The next line; `None` at the end of the file, torn or not.
    ///
    /// # Errors
    /// [`CaptureError::Io`], [`CaptureError::Damaged`], [`CaptureError::Foreign`], [`CaptureError::Line`].
    pub fn next_line(&mut self) -> Result<Option<Captured>, CaptureError> {
        if self.ended {
            return Ok(None);
        }
        let what = match self.piece()? {
            Piece::Whole => match self.read() {
                Ok(captured) => {
                    self.some = true;
                    return Ok(Some(captured));
                }
                Err(unread) => self.torn_by(unread)?,
            },
            Piece::Torn(what) => what,
            Piece::End => {
                self.line -= 1;
                self.ended = true;
                return Ok(None);
            }
        };
        self.ended = true;
        self.torn = Some(Torn { path: self.path.clone(), line: self.line, what });
        Ok(None)
    }

    /// The line just read makes no sense: whether it begins the torn end of the file, or is damage within it, or there
    /// never was a line that made sense.
    fn torn_by(&mut self, unread: Unread) -> Result<String, CaptureError> {
        let line = self.line;
        let head = self.buffer[..self.buffer.len().min(HEAD_MAX)].to_vec();
        let (mut looked, mut more, mut another) = (0, true, false);
        while more && !another && looked <= TAIL_MAX {
            match self.piece()? {
                Piece::Whole => {
                    looked += self.buffer.len() + 1;
                    another = self.read().is_ok();
                }
                Piece::End | Piece::Torn(_) => more = false,
            }
        }
        self.line = line;
        self.ended = true;
        let path = self.path.clone();
        match unread {
            unread if self.some && !more => Ok(unread.what()),
            Unread::Foreign(what) if !self.some && !another => {
                Err(CaptureError::Foreign { path, line, what, holds: foreign::holds(&head) })
            }
            unread => Err(CaptureError::Line { path, line, what: unread.what() }),
        }
    }

    /// Takes what stands up to the next end of a line into the buffer.
    fn piece(&mut self) -> Result<Piece, CaptureError> {
        self.line += 1;
        self.buffer.clear();
        match self.reader.by_ref().take(LINE_MAX).read_until(b'\n', &mut self.buffer) {
            Ok(0) => Ok(Piece::End),
            Ok(_) => {
                if self.buffer.last() == Some(&b'\n') {
                    self.buffer.pop();
                }
                Ok(Piece::Whole)
            }
            Err(error) if error.kind() == io::ErrorKind::UnexpectedEof => Ok(Piece::Torn(error.to_string())),
            Err(source) => {
                let (path, line) = (self.path.clone(), self.line);
                let damaged = matches!(source.kind(), io::ErrorKind::InvalidInput | io::ErrorKind::InvalidData);
                Err(if self.gzip && damaged {
                    CaptureError::Damaged { path, line, source }
                } else {
                    CaptureError::Io { path, line, source }
                })
            }
        }
    }

    fn read(&self) -> Result<Captured, Unread> {
        if u64::try_from(self.buffer.len()).is_ok_and(|len| len >= LINE_MAX) {
            return Err(Unread::Broken(format!("is longer than {} MiB", LINE_MAX >> 20)));
        }
        let text = std::str::from_utf8(&self.buffer).map_err(|_| Unread::Foreign("is not text".to_owned()))?;
        if text.trim().is_empty() {
            return Err(Unread::Foreign("is empty".to_owned()));
        }
        parse_line(text, self.wanted).map_err(|error| match error {
            InvalidLine::Time | InvalidLine::Message(InvalidMessage::Json(_)) => Unread::Foreign(error.to_string()),
            InvalidLine::Message(_) => Unread::Broken(error.to_string()),
        })
    }
}

/// The members of a gzip file, one after the other. What follows the last and begins none is told as an early end.
struct Members<R>(Option<GzDecoder<R>>);

impl<R: BufRead> Read for Members<R> {
    fn read(&mut self, into: &mut [u8]) -> io::Result<usize> {
        while let Some(member) = &mut self.0 {
            let read = member.read(into)?;
            if read > 0 || into.is_empty() {
                return Ok(read);
            }
            let Some(mut rest) = self.0.take().map(GzDecoder::into_inner) else { break };
            let ahead = rest.fill_buf()?;
            let begins = ahead.iter().zip(&GZIP).all(|(is, wanted)| is == wanted);
            match (ahead.is_empty(), begins) {
                (true, _) => break,
                (false, true) => self.0 = Some(GzDecoder::new(rest)),
                (false, false) => {
                    let what = "bytes that are not of it follow the compressed data";
                    return Err(io::Error::new(io::ErrorKind::UnexpectedEof, what));
                }
            }
        }
        Ok(0)
    }
}

#[cfg(test)]
mod tests {
    use std::io::Write;

    use flate2::{Compression, write::GzEncoder};

    use super::*;

    const GOOD: &str =
        "1 {\"stream\":\"a@trade\",\"data\":{\"s\":\"A\",\"t\":1,\"p\":\"1\",\"q\":\"1\",\"T\":1,\"m\":true}}\n";

    fn gzip(text: &str) -> Vec<u8> {
        let mut packed = GzEncoder::new(Vec::new(), Compression::fast());
        packed.write_all(text.as_bytes()).unwrap();
        packed.finish().unwrap()
    }

    /// How many lines were read, and the warnings, or the error.
    fn all(bytes: &[u8]) -> Result<(usize, Vec<String>), String> {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("capture");
        std::fs::write(&path, bytes).unwrap();
        let mut read = 0;
        let mut lines = CaptureLines::open(&path, Wanted::ALL).map_err(|error| error.to_string())?;
        while lines.next_line().map_err(|error| error.to_string())?.is_some() {
            read += 1;
        }
        assert!(lines.next_line().expect("an end is an end").is_none());
        Ok((read, lines.take_torn().iter().map(ToString::to_string).collect()))
    }

    #[test]
    fn a_whole_file_is_read_without_a_word() {
        let two = GOOD.repeat(2);
        assert_eq!(all(two.as_bytes()), Ok((2, Vec::new())));
        assert_eq!(all(two.trim_end().as_bytes()), Ok((2, Vec::new())), "the last line break is not needed");
        assert_eq!(all(&gzip(&two)), Ok((2, Vec::new())));
        assert_eq!(all(&[gzip(GOOD), gzip(GOOD)].concat()), Ok((2, Vec::new())), "two members");
        assert_eq!(all(b""), Ok((0, Vec::new())));
    }

    #[test]
    fn a_torn_end_is_the_end_with_a_warning_that_names_the_line() {
        let two = GOOD.repeat(2);
        let packed = gzip(&GOOD.repeat(2_000));
        let torn: [Vec<u8>; 9] = [
            format!("{two}17 {{\"stream\":\"a@tra").into_bytes(),
            format!("{two}17").into_bytes(),
            format!("{two}\n").into_bytes(),
            format!("{two}\n\n\n").into_bytes(),
            [two.as_bytes(), &[0; 4_096]].concat(),
            [two.as_bytes(), b"\xff\xfe\n\x00\n"].concat(),
            [gzip(&two), b"garbage".to_vec()].concat(),
            [gzip(&two), vec![0; 600]].concat(),
            [gzip(&two), gzip(GOOD)[..9].to_vec()].concat(),
        ];
        for bytes in torn {
            let (read, warnings) = all(&bytes).unwrap();
            assert_eq!((read, warnings.len()), (2, 1), "{warnings:?}");
            assert!(warnings[0].contains("capture:3: "), "{warnings:?}");
        }
        for cut in [packed.len() / 2, packed.len() - 9, packed.len() - 1] {
            let (read, warnings) = all(&packed[..cut]).unwrap();
            assert!(read <= 2_000 && warnings.len() == 1, "{read} {warnings:?}");
        }
    }

    #[test]
    fn damage_in_the_middle_is_an_error_that_names_the_line() {
        let refused = |bytes: &[u8], place: &str| {
            let error = all(bytes).unwrap_err();
            assert!(error.contains(place), "{error}");
        };
        refused(format!("{GOOD}nonsense\n{GOOD}").as_bytes(), "capture:2: ");
        refused(format!("{GOOD}\n{GOOD}").as_bytes(), "capture:2: is empty");
        refused(&gzip(&format!("{GOOD}{{\n{GOOD}")), "capture:2: ");
        refused(format!("{GOOD}{}", "x\n".repeat(TAIL_MAX)).as_bytes(), "capture:2: ");
        refused(format!("{GOOD}{}\n{GOOD}", "x".repeat(3 << 20)).as_bytes(), "capture:2: ");
        refused(b"{\"stream\":\"a@trade\"}\n", "capture:1: ");
        refused(&[0; 100], "capture:1: ");
        let endless = usize::try_from(LINE_MAX).unwrap();
        refused(&[GOOD.as_bytes(), &vec![b' '; endless], GOOD.as_bytes()].concat(), "capture:2: is longer than 16 MiB");
        let mut packed = gzip(&GOOD.repeat(2_000));
        let checksum = packed.len() - 8;
        packed[checksum] ^= 0xff;
        refused(&packed, "capture:2001: the compressed data is damaged here");
        assert!(CaptureLines::open(Path::new("/nonexistent/capture"), Wanted::ALL).is_err());
    }

    #[test]
    fn a_file_that_is_no_capture_is_told_as_what_it_is() {
        for (bytes, place, holds) in [
            (&b"PAR1\x15\x04\x15\x00"[..], "capture:1: ", "This is no capture but a Parquet file"),
            (
                b"time,price\n1,2\n3,4\n",
                "capture:1: does not begin",
                "but comma-separated text that begins with `time,price`",
            ),
            (b"{\"e\":\"trade\"}\n", "capture:1: does not begin", "but JSON without a time before it"),
            (b"1 2024-08-08\n", "capture:1: is not a JSON object", "but text that begins with `1 2024-08-08`"),
            (b"\n\n", "capture:1: is empty", "but blank lines"),
            (&[0; 100], "capture:1: ", "nothing but zeros"),
        ] {
            let error = all(bytes).unwrap_err();
            assert!(error.contains(place) && error.contains(holds), "{error}");
        }
        assert!(all(&gzip("x,y\n")).unwrap_err().contains("but comma-separated text"));
        // Damage before the first good line is damage, and a message that lacks a field is of a capture.
        assert!(all(format!("x\n{GOOD}").as_bytes()).unwrap_err().contains("capture:1: does not begin with a time"));
        assert!(!all(format!("x\n{GOOD}").as_bytes()).unwrap_err().contains("no capture"));
        assert!(all(b"1 {\"e\":\"trade\"}\n").unwrap_err().contains("capture:1: is a trade without"));
    }

    #[test]
    fn what_cannot_be_read_twice_is_refused_before_it_is_opened() {
        let dir = tempfile::tempdir().unwrap();
        let pipe = dir.path().join("pipe");
        assert!(std::process::Command::new("mkfifo").arg(&pipe).status().unwrap().success());
        for path in [dir.path(), &pipe, Path::new("/dev/zero")] {
            let error = CaptureLines::open(path, Wanted::ALL).map(|_| ()).unwrap_err().to_string();
            assert!(error.ends_with("is not a regular file: write the capture to a file first"), "{error}");
        }
    }
}
