//! A capture's lines, and what to make of a file that does not end as it should.
//!
//! A recorder that is killed, a full disk or a broken copy leave a torn end: half a line, a compressed file cut short,
//! bytes after it. That is the end of the file, with a warning. A line that cannot be read and is followed by one that
//! can is no torn end but damage, and an error.

use std::{
    fs::File,
    io::{self, BufRead, BufReader, Read},
    path::{Path, PathBuf},
};

use flate2::bufread::GzDecoder;
use quorate_binance_api::{
    capture::{Captured, InvalidLine, parse_line},
    streams::Wanted,
};

/// The two bytes that a gzip file begins with.
const GZIP: [u8; 2] = [0x1f, 0x8b];
/// Bytes of a line at most.
const LINE_MAX: u64 = 16 << 20;
/// Bytes at the end of a file that may be unreadable and still count as its torn end.
const TAIL_MAX: usize = 64 << 10;

/// Why a capture cannot be read.
#[derive(Debug, thiserror::Error)]
pub enum CaptureError {
    /// The file cannot be read.
    #[error("capture: {path}:{line}: {source}")]
    Io {
        /// The file.
        path: PathBuf,
        /// Which line came next.
        line: u64,
        /// Why.
        source: io::Error,
    },
    /// It is no file that can be read twice: a directory, a pipe, a device.
    #[error("capture: {path}: is not a regular file, and a capture is read twice: write it to a file first")]
    NotAFile {
        /// What it is called.
        path: PathBuf,
    },
    /// A line in the middle is not of a capture.
    #[error(
        "capture: {path}:{line}: {what}; a line is `<local_ns> {{\"stream\":..,\"data\":..}}`: mend or remove it, or cut \
         the file off before it"
    )]
    Line {
        /// The file.
        path: PathBuf,
        /// Which line.
        line: u64,
        /// What is wrong with it.
        what: String,
    },
}

/// One line.
pub(crate) struct Line {
    pub(crate) text: String,
    /// What it says.
    pub(crate) captured: Captured,
}

/// The lines of a file, plain or gzip.
pub(crate) struct Lines {
    path: PathBuf,
    reader: Box<dyn BufRead + Send>,
    line: u64,
    /// Whether a line could be read so far.
    some: bool,
    ended: bool,
}

/// What stands where the next line would be.
enum Piece {
    Whole(Vec<u8>),
    End,
    Torn(String),
}

impl Lines {
    pub(crate) fn open(path: &Path) -> Result<Self, CaptureError> {
        let wrong = |source| CaptureError::Io { path: path.to_owned(), line: 1, source };
        // Before it is opened: to open a pipe would wait for whoever writes into it.
        if !path.metadata().map_err(wrong)?.is_file() {
            return Err(CaptureError::NotAFile { path: path.to_owned() });
        }
        let mut file = BufReader::new(File::open(path).map_err(wrong)?);
        let gzip = file.fill_buf().map_err(wrong)?.starts_with(&GZIP);
        let reader: Box<dyn BufRead + Send> =
            if gzip { Box::new(BufReader::new(Members(Some(GzDecoder::new(file))))) } else { Box::new(file) };
        Ok(Self { path: path.to_owned(), reader, line: 0, some: false, ended: false })
    }

    /// The number of the line read last, from 1.
    pub(crate) fn number(&self) -> u64 {
        self.line
    }

    /// The next line; `None` at the end of the file. `warn` is told of a torn end.
    pub(crate) fn next(&mut self, warn: impl FnOnce(&str)) -> Result<Option<Line>, CaptureError> {
        if self.ended {
            return Ok(None);
        }
        let torn = match self.piece()? {
            Piece::Whole(bytes) => match read(bytes) {
                Ok(line) => {
                    self.some = true;
                    return Ok(Some(line));
                }
                Err(what) => self.torn(what)?,
            },
            Piece::Torn(what) => what,
            Piece::End => {
                self.ended = true;
                return Ok(None);
            }
        };
        self.ended = true;
        warn(&format!("{}:{}: {torn}: the file ends here, as if it had been torn off", self.path.display(), self.line));
        Ok(None)
    }

    /// The line just read makes no sense: whether it begins the torn end of the file, or is damage within it.
    fn torn(&mut self, what: String) -> Result<String, CaptureError> {
        let (path, line) = (self.path.clone(), self.line);
        let damaged = |what| CaptureError::Line { path, line, what };
        let mut looked = 0;
        while self.some && looked <= TAIL_MAX {
            match self.piece()? {
                Piece::Whole(bytes) => {
                    looked += bytes.len() + 1;
                    if read(bytes).is_ok() {
                        break;
                    }
                }
                Piece::End | Piece::Torn(_) => {
                    self.line = line;
                    return Ok(what);
                }
            }
        }
        Err(damaged(what))
    }

    /// What stands up to the next end of a line.
    fn piece(&mut self) -> Result<Piece, CaptureError> {
        self.line += 1;
        let mut bytes = Vec::new();
        match self.reader.by_ref().take(LINE_MAX).read_until(b'\n', &mut bytes) {
            Ok(0) => Ok(Piece::End),
            Ok(_) => {
                if bytes.last() == Some(&b'\n') {
                    bytes.pop();
                }
                Ok(Piece::Whole(bytes))
            }
            Err(error) if error.kind() == io::ErrorKind::UnexpectedEof => Ok(Piece::Torn(error.to_string())),
            Err(source) => Err(CaptureError::Io { path: self.path.clone(), line: self.line, source }),
        }
    }
}

fn read(bytes: Vec<u8>) -> Result<Line, String> {
    if u64::try_from(bytes.len()).is_ok_and(|len| len >= LINE_MAX) {
        return Err(format!("is longer than {} MiB", LINE_MAX >> 20));
    }
    let text = String::from_utf8(bytes).map_err(|_| "is not text".to_owned())?;
    if text.trim().is_empty() {
        return Err("is empty".to_owned());
    }
    let captured = parse_line(&text, Wanted::TRADES_AND_BEST_PRICES).map_err(|error: InvalidLine| error.to_string())?;
    Ok(Line { text, captured })
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
        let mut warnings = Vec::new();
        let mut read = 0;
        let mut lines = Lines::open(&path).map_err(|error| error.to_string())?;
        loop {
            match lines.next(|what| warnings.push(what.to_owned())) {
                Ok(Some(_)) => read += 1,
                Ok(None) => return Ok((read, warnings)),
                Err(error) => return Err(error.to_string()),
            }
        }
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
        let middle = packed.len() / 2;
        packed[middle] ^= 0xff;
        refused(&packed, "capture:");
        assert!(Lines::open(Path::new("/nonexistent/capture")).is_err());
    }

    #[test]
    fn what_cannot_be_read_twice_is_refused_before_it_is_opened() {
        let dir = tempfile::tempdir().unwrap();
        let pipe = dir.path().join("pipe");
        assert!(std::process::Command::new("mkfifo").arg(&pipe).status().unwrap().success());
        for path in [dir.path(), &pipe, Path::new("/dev/zero")] {
            let error = Lines::open(path).map(|_| ()).unwrap_err().to_string();
            assert!(
                error.ends_with("is not a regular file, and a capture is read twice: write it to a file first"),
                "{error}"
            );
        }
    }
}
