//! What a file is that is no capture: a guess by its first bytes, for people.

const SHOWN: usize = 32;

/// What begins like this.
const BEGINNINGS: [(&[u8], &str); 13] = [
    (b"PAR1", "a Parquet file"),
    (b"ARROW1", "an Arrow file"),
    (b"PK\x03\x04", "a zip archive (an .npz file is one too)"),
    (b"\x93NUMPY", "a NumPy array"),
    (b"\x28\xb5\x2f\xfd", "a file compressed by zstd: unpack it, or compress it by gzip"),
    (b"\xfd7zXZ\x00", "a file compressed by xz: unpack it, or compress it by gzip"),
    (b"BZh", "a file compressed by bzip2: unpack it, or compress it by gzip"),
    (b"\x04\x22\x4d\x18", "a file compressed by lz4: unpack it, or compress it by gzip"),
    (b"\x1f\x8b", "a gzip file within a gzip file: unpack it once"),
    (b"SQLite format 3\x00", "an SQLite database"),
    (b"\xff\xfe", "text in UTF-16: it must be UTF-8"),
    (b"\xfe\xff", "text in UTF-16: it must be UTF-8"),
    (b"\xef\xbb\xbf", "text with a byte order mark: remove its first three bytes"),
];

/// What a file seems to be whose first bytes are these.
pub(crate) fn holds(first: &[u8]) -> String {
    if let Some((_, what)) = BEGINNINGS.iter().find(|(begins, _)| first.starts_with(begins)) {
        return (*what).to_owned();
    }
    let head = &first[..first.len().min(SHOWN)];
    if head.iter().any(|c| *c < b' ' && !b"\t\r\n".contains(c)) || (first.len() > SHOWN && first.contains(&0)) {
        return if head.iter().all(|c| *c == 0) { "nothing but zeros" } else { "binary data" }.to_owned();
    }
    let text: String = String::from_utf8_lossy(head).chars().filter(|c| !c.is_control()).collect();
    let text = text.trim();
    let kind = match text.as_bytes() {
        [] => return "blank lines".to_owned(),
        [b'{' | b'[', ..] => "JSON without a time before it",
        [b'<', ..] => "a page of HTML or XML",
        bytes if bytes.contains(&b',') => "comma-separated text",
        bytes if bytes[0].is_ascii_digit() && bytes.contains(&b'\t') => "text separated by tabs",
        _ => "text",
    };
    format!("{kind} that begins with `{text}`")
}

#[cfg(test)]
mod tests {
    use super::holds;

    #[test]
    fn foreign_files_are_told_by_their_beginning() {
        let table: [(&[u8], &str); 12] = [
            (b"PAR1\x15\x04", "a Parquet file"),
            (b"PK\x03\x04\x14", "a zip archive (an .npz file is one too)"),
            (b"\x28\xb5\x2f\xfd\x04", "a file compressed by zstd: unpack it, or compress it by gzip"),
            (b"\x1f\x8b\x08", "a gzip file within a gzip file: unpack it once"),
            (b"\x00\x00\x00", "nothing but zeros"),
            (b"\x7fELF\x02\x01", "binary data"),
            (b"{\"e\":\"trade\"}", "JSON without a time before it that begins with `{\"e\":\"trade\"}`"),
            (b"<!DOCTYPE html>", "a page of HTML or XML that begins with `<!DOCTYPE html>`"),
            (b"time,price,qty", "comma-separated text that begins with `time,price,qty`"),
            (b"  \r", "blank lines"),
            (b"Dear diary", "text that begins with `Dear diary`"),
            (b"", "blank lines"),
        ];
        for (bytes, wanted) in table {
            assert_eq!(holds(bytes), wanted);
        }
        assert!(holds("é".repeat(99).as_bytes()).len() < 200);
    }
}
