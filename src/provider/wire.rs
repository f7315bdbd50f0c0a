//! Splits what upstreams send into lines, however the bytes arrive.

use memchr::memchr;

use crate::base::error::Error;

/// A line with a large tool call can have megabytes; one without an end must not fill the memory.
pub const LINE_BYTES_MAX: usize = 16 * 1024 * 1024;

/// Cuts a stream of bytes into lines. Bytes are copied only when a line spans two reads.
pub struct Lines {
    /// The beginning of a line whose end has not arrived.
    part: Vec<u8>,
    bytes_max: usize,
}

impl Default for Lines {
    fn default() -> Self {
        Lines::bounded(LINE_BYTES_MAX)
    }
}

impl Lines {
    pub fn bounded(bytes_max: usize) -> Self {
        Lines { part: Vec::new(), bytes_max }
    }

    /// Calls `line` for every line that `chunk` completes, without its line break. Empty lines are skipped.
    pub fn feed(&mut self, mut chunk: &[u8], mut line: impl FnMut(&[u8]) -> Result<(), Error>) -> Result<(), Error> {
        while let Some(end) = memchr(b'\n', chunk) {
            let (head, rest) = (&chunk[..end], &chunk[end + 1..]);
            chunk = rest;
            self.check(head.len())?;
            if self.part.is_empty() {
                give(head, &mut line)?;
                continue;
            }
            self.part.extend_from_slice(head);
            // The buffer is dropped with its line, so that one huge line doesn't hold memory for the rest of the answer.
            give(&std::mem::take(&mut self.part), &mut line)?;
        }
        self.check(chunk.len())?;
        self.part.extend_from_slice(chunk);
        Ok(())
    }

    /// Ends the stream: calls `line` for a last line without a line break.
    pub fn finish(&mut self, mut line: impl FnMut(&[u8]) -> Result<(), Error>) -> Result<(), Error> {
        give(&std::mem::take(&mut self.part), &mut line)
    }

    fn check(&self, more: usize) -> Result<(), Error> {
        if self.part.len() + more > self.bytes_max {
            return Err(Error::UpstreamRefused {
                message: format!("the model server sent a line of more than {} bytes", self.bytes_max),
            });
        }
        Ok(())
    }
}

fn give(line: &[u8], to: &mut impl FnMut(&[u8]) -> Result<(), Error>) -> Result<(), Error> {
    let line = line.strip_suffix(b"\r").unwrap_or(line);
    if line.is_empty() { Ok(()) } else { to(line) }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn lines(of: &mut Lines, chunks: &[&[u8]]) -> Result<Vec<Vec<u8>>, Error> {
        let mut seen = Vec::new();
        for chunk in chunks {
            of.feed(chunk, |line| {
                seen.push(line.to_vec());
                Ok(())
            })?;
        }
        of.finish(|line| {
            seen.push(line.to_vec());
            Ok(())
        })?;
        Ok(seen)
    }

    #[test]
    fn lines_are_the_same_however_they_arrive() {
        let text = "one\n\r\n\ntwo\r\nthr\u{1f642}ee".as_bytes();
        let bytes: Vec<&[u8]> = text.chunks(1).collect();
        let expected = [&b"one"[..], b"two", "thr\u{1f642}ee".as_bytes()];

        assert_eq!(lines(&mut Lines::default(), &[text]).unwrap(), expected);
        assert_eq!(lines(&mut Lines::default(), &bytes).unwrap(), expected);
    }

    #[test]
    fn a_line_of_the_longest_length_passes_and_a_longer_one_does_not() {
        let run = |chunks: &[&[u8]]| lines(&mut Lines::bounded(4), chunks);

        assert_eq!(run(&[b"abcd\nabcd\n"]).unwrap().len(), 2);
        assert_eq!(run(&[b"ab", b"cd\n"]).unwrap(), [b"abcd"]);
        assert!(run(&[b"abcde\n"]).is_err());
        assert!(run(&[b"ab", b"cde\n"]).is_err());
        assert!(run(&[b"abcd", b"e"]).is_err());
    }
}
