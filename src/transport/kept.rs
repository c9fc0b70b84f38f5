//! What has arrived and could not be used yet.
//!
//! The stream of a connection is what is kept, followed by what arrives now:
//!
//! ```text
//!   kept  [ used | front ....... ]   input [ .................. ]
//!                  ^ start
//! ```
//!
//! The parsers look at the *front*: the kept octets, or the input if nothing is kept. So a whole frame in the input
//! is handed out where it stands, and only a frame that is cut is copied, once. Memory grows with the octets that
//! have arrived, never with a length that was announced, and is given back as soon as all of it is used.

use std::mem;

/// Octets in front of the input.
#[derive(Debug, Default)]
pub(super) struct Kept {
    bytes: Vec<u8>,
    /// Octets of `bytes` that are used; at most its length.
    start: usize,
}

impl Kept {
    /// Appends the whole input.
    pub fn keep(&mut self, input: &[u8]) {
        if input.is_empty() {
            return;
        }
        self.drop_used();
        self.bytes.extend_from_slice(input);
    }

    /// Gives the memory back if nothing is left in it.
    #[inline]
    pub fn release_used(&mut self) {
        if self.start == self.bytes.len() && self.bytes.capacity() > 0 {
            *self = Kept::default();
        }
    }

    /// Brings the next `count` octets together at the front. If the stream is shorter, all of it is kept and the
    /// answer is false.
    #[inline]
    pub fn gather(&mut self, count: usize, input: &mut &mut [u8]) -> bool {
        let held = self.bytes.len() - self.start;
        if held >= count || (held == 0 && input.len() >= count) {
            return true;
        }
        self.gather_cut(count, held, input)
    }

    /// Takes all that is kept.
    pub fn take_all(&mut self) -> Vec<u8> {
        self.drop_used();
        mem::take(&mut self.bytes)
    }

    /// Octets of memory held.
    pub fn memory(&self) -> usize {
        self.bytes.capacity()
    }

    /// True if nothing is kept.
    pub fn is_empty(&self) -> bool {
        self.start == self.bytes.len()
    }

    /// The front. It is empty only if the stream is.
    #[inline]
    pub fn front<'s>(&'s self, input: &'s [u8]) -> &'s [u8] {
        if self.start < self.bytes.len() { &self.bytes[self.start..] } else { input }
    }

    /// Takes `count` octets, which must be gathered.
    #[inline]
    pub fn take<'a, 'b: 'a>(&'a mut self, count: usize, input: &mut &'b mut [u8]) -> &'a mut [u8] {
        if self.start < self.bytes.len() {
            let start = self.start;
            self.start += count;
            return &mut self.bytes[start..start + count];
        }
        let (taken, rest) = mem::take(input).split_at_mut(count);
        *input = rest;
        taken
    }

    /// Takes what the front has, but at most `count_max` octets.
    pub fn take_front<'a, 'b: 'a>(&'a mut self, count_max: usize, input: &mut &'b mut [u8]) -> &'a mut [u8] {
        let count = self.front(input).len().min(count_max);
        self.take(count, input)
    }

    /// A frame is cut: what the front lacks is moved to it.
    #[cold]
    fn gather_cut(&mut self, count: usize, held: usize, input: &mut &mut [u8]) -> bool {
        self.drop_used();
        let lacking = (count - held).min(input.len());
        let (moved, rest) = mem::take(input).split_at_mut(lacking);
        *input = rest;
        append(&mut self.bytes, moved, count);
        held + moved.len() == count
    }

    /// Moves what is left to the beginning. It is at most one cut frame in the stream and what [`Kept::keep`] was
    /// given, and each octet of a frame moves once: afterwards `start` is 0 until the frame is taken.
    fn drop_used(&mut self) {
        if self.start > 0 {
            self.bytes.drain(..self.start);
            self.start = 0;
        }
    }
}

/// Appends to a buffer that will hold `bytes_expected` octets if the peer keeps its word: the memory doubles as octets
/// arrive, and stops at what is expected.
pub(super) fn append(buffer: &mut Vec<u8>, octets: &[u8], bytes_expected: usize) {
    let needed = buffer.len() + octets.len();
    if needed > buffer.capacity() {
        let wanted = (2 * buffer.capacity()).min(bytes_expected).max(needed);
        buffer.reserve_exact(wanted - buffer.len());
    }
    buffer.extend_from_slice(octets);
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn whole_input_is_taken_where_it_stands() {
        let mut kept = Kept::default();
        let mut octets = *b"abcdef";
        let address = octets.as_ptr();
        let mut input = &mut octets[..];
        assert!(kept.gather(4, &mut input));
        let taken = kept.take(4, &mut input);
        assert_eq!(taken, b"abcd");
        assert_eq!(taken.as_ptr(), address);
        assert_eq!(input, b"ef");
        assert_eq!(kept.bytes.capacity(), 0);
    }

    #[test]
    fn cut_frames_are_completed_with_no_octet_too_many() {
        let mut kept = Kept::default();
        let mut first = *b"ab";
        assert!(!kept.gather(5, &mut &mut first[..]));
        let mut second = *b"cdefg";
        let mut input = &mut second[..];
        assert!(kept.gather(5, &mut input));
        assert_eq!(kept.take(5, &mut input), b"abcde");
        assert_eq!(input, b"fg");
        kept.release_used();
        assert_eq!(kept.bytes.capacity(), 0);
    }

    #[test]
    fn kept_octets_come_before_the_input() {
        let mut kept = Kept::default();
        kept.keep(b"abc");
        assert_eq!(kept.take(2, &mut &mut [][..]), b"ab");
        kept.keep(b"de");
        let mut octets = *b"fg";
        let mut input = &mut octets[..];
        assert_eq!(kept.take_front(10, &mut input), b"cde");
        assert_eq!(kept.take_front(10, &mut input), b"fg");
        assert!(kept.front(input).is_empty());
    }

    #[test]
    fn memory_follows_arrival_not_announcement() {
        let mut kept = Kept::default();
        let mut octets = [0; 100];
        assert!(!kept.gather(1 << 24, &mut &mut octets[..]));
        assert!(kept.bytes.capacity() <= 200);
        let mut buffer = Vec::new();
        for _ in 0..1000 {
            append(&mut buffer, &[0; 7], 7000);
            assert!(buffer.capacity() <= (2 * buffer.len()).min(7000));
        }
    }
}
