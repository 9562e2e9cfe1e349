//! Splits output into lines, and lines into pieces of 16 KiB, as Docker does.

/// Longest piece. **Source:** moby `daemon/logger/copier.go`, `defaultBufSize`.
pub(crate) const PIECE_BYTES_MAX: usize = 16 << 10;

/// A line, or a piece of one that is too long.
#[derive(Debug)]
pub(crate) struct Piece<'a> {
    /// Without the newline.
    pub(crate) bytes: &'a [u8],
    /// Whether the line ends here.
    pub(crate) newline: bool,
    /// The time of the line's first piece, set by whoever takes that piece.
    pub(crate) line_time: &'a mut Option<u64>,
}

/// Holds the unfinished line of one stream.
#[derive(Debug, Default)]
pub(crate) struct Splitter {
    unfinished: Vec<u8>,
    taken: bool,
    line_time: Option<u64>,
}

impl Splitter {
    /// Takes one piece off the front of the input; `None` once all input is used up, with the rest
    /// kept for later. A newline within the first 16 KiB ends a whole piece.
    pub(crate) fn next<'a, 'i: 'a>(&'a mut self, input: &mut &'i [u8]) -> Option<Piece<'a>> {
        if std::mem::take(&mut self.taken) {
            self.unfinished.clear();
        }
        let room = PIECE_BYTES_MAX - self.unfinished.len();
        let window = &input[..input.len().min(room)];
        let newline = window.iter().position(|byte| *byte == b'\n');
        let (end, used) = match newline {
            Some(at) => (at, at + 1),
            None if window.len() == room => (room, room),
            None => {
                self.unfinished.extend_from_slice(window);
                *input = &[];
                return None;
            }
        };
        let (bytes, rest) = (&input[..end], &input[used..]);
        *input = rest;
        let bytes = if self.unfinished.is_empty() {
            bytes
        } else {
            self.unfinished.extend_from_slice(bytes);
            self.taken = true;
            &self.unfinished
        };
        Some(Piece { bytes, newline: newline.is_some(), line_time: &mut self.line_time })
    }

    /// Takes the unfinished line at the end of output.
    pub(crate) fn rest(&mut self) -> Option<Piece<'_>> {
        if std::mem::take(&mut self.taken) {
            self.unfinished.clear();
        }
        if self.unfinished.is_empty() {
            return None;
        }
        self.taken = true;
        Some(Piece { bytes: &self.unfinished, newline: false, line_time: &mut self.line_time })
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::{PIECE_BYTES_MAX, Splitter};

    fn pieces(chunks: &[&[u8]]) -> Vec<(Vec<u8>, bool)> {
        let mut splitter = Splitter::default();
        let mut all = Vec::new();
        for chunk in chunks {
            let mut input = *chunk;
            while let Some(piece) = splitter.next(&mut input) {
                all.push((piece.bytes.to_vec(), piece.newline));
            }
        }
        all.extend(splitter.rest().map(|piece| (piece.bytes.to_vec(), piece.newline)));
        all
    }

    #[test]
    fn cuts_long_lines_where_docker_does() {
        let exact = vec![b'x'; PIECE_BYTES_MAX];
        assert_eq!(pieces(&[&exact, b"\n"]), [(exact.clone(), false), (Vec::new(), true)]);
        let fits = [&exact[1..], b"\n"].concat();
        assert_eq!(pieces(&[&fits]), [(exact[1..].to_vec(), true)]);
        let long = [&exact[..], b"yz\nend"].concat();
        let expected = [(exact.clone(), false), (b"yz".to_vec(), true), (b"end".to_vec(), false)];
        assert_eq!(pieces(&[&long]), expected);
    }

    proptest! {
        #[test]
        fn pieces_do_not_depend_on_how_output_arrives(
            lines in prop::collection::vec(0_usize..40_000, 0..5),
            cuts in prop::collection::vec(any::<prop::sample::Index>(), 0..8),
        ) {
            let output: Vec<u8> = lines.iter().flat_map(|n| [vec![b'a'; *n], vec![b'\n']].concat()).collect();
            let mut cuts: Vec<usize> = cuts.iter().map(|c| c.index(output.len() + 1)).collect();
            cuts.extend([0, output.len()]);
            cuts.sort_unstable();
            let chunks: Vec<&[u8]> = cuts.windows(2).map(|w| &output[w[0]..w[1]]).collect();
            let split = pieces(&chunks);
            prop_assert_eq!(&split, &pieces(&[&output]));
            let joined: Vec<u8> = split.into_iter()
                .flat_map(|(mut bytes, newline)| { bytes.extend(newline.then_some(b'\n')); bytes }).collect();
            prop_assert_eq!(joined, output);
        }
    }
}
