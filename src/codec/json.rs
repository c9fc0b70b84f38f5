//! JSON (RFC 8259): a reader that walks and checks, and a writer.
//!
//! The whole text is checked to be UTF-8 once, when a reader is made; what is read afterwards are slices of it. The
//! grammar is kept strictly: no lone surrogates, no control characters in texts, no NaN, no leading zeros. White space
//! is taken where the grammar has it.
//!
//! Binary is a text of U+0000 and base64 (basic profile, "Serializers"). A text that begins so
//! and goes on with something else is a text.

use std::borrow::Cow;

use base64_simd::STANDARD as BASE64;

use super::DecodeError;
use super::reader::{Reader, Token, utf8};
use super::writer::{Mark, Writer};
use crate::wamp::Serializer;

/// A cursor over JSON.
pub(super) struct JsonReader<'a> {
    text: &'a str,
    position: usize,
}

/// An opened list or dictionary.
pub(super) struct JsonContainer {
    close: u8,
    first: bool,
}

/// The escape that begins a binary.
const BINARY_ESCAPE: &[u8] = b"\\u0000";
const ONES: u64 = u64::from_le_bytes([1; 8]);
const HIGHS: u64 = ONES << 7;

/// A word with the high bit set in the octets that a text cannot hold as they are: quotation mark, backslash and
/// control characters. Octets above the lowest of these may be marked without being one.
#[inline]
fn special(word: u64) -> u64 {
    let quote = word ^ (ONES * u64::from(b'"'));
    let backslash = word ^ (ONES * u64::from(b'\\'));
    let zero_or_below = |word: u64, bound: u64| word.wrapping_sub(ONES * bound) & !word;
    (zero_or_below(quote, 1) | zero_or_below(backslash, 1) | zero_or_below(word, 0x20)) & HIGHS
}

/// How many octets precede the first that a text cannot hold as it is.
#[inline]
fn plain(bytes: &[u8]) -> usize {
    let (words, rest) = bytes.as_chunks::<8>();
    for (index, word) in words.iter().enumerate() {
        let special = special(u64::from_le_bytes(*word));
        if special != 0 {
            return index * 8 + special.trailing_zeros() as usize / 8;
        }
    }
    let end = rest.iter().position(|&byte| byte < 0x20 || byte == b'"' || byte == b'\\');
    words.len() * 8 + end.unwrap_or(rest.len())
}

impl<'a> JsonReader<'a> {
    #[inline]
    fn rest(&self) -> &'a [u8] {
        &self.text.as_bytes()[self.position..]
    }

    #[inline]
    fn peek(&self) -> Result<u8, DecodeError> {
        self.text.as_bytes().get(self.position).copied().ok_or(DecodeError::Truncated)
    }

    /// The text from `start`, where a value began, to where the reader stands.
    pub(super) fn text_since(&self, start: usize) -> &'a str {
        &self.text[start..self.position]
    }

    /// What cannot stand here: the end, or another byte.
    #[cold]
    fn unexpected(&self) -> DecodeError {
        if self.position < self.text.len() { DecodeError::UnexpectedByte } else { DecodeError::Truncated }
    }

    #[inline]
    fn expect(&mut self, byte: u8) -> Result<(), DecodeError> {
        if self.peek()? != byte {
            return Err(DecodeError::UnexpectedByte);
        }
        self.position += 1;
        Ok(())
    }

    #[inline]
    fn white_space(&mut self) {
        while let Some(b' ' | b'\n' | b'\r' | b'\t') = self.text.as_bytes().get(self.position) {
            self.position += 1;
        }
    }

    fn word(&mut self, word: &[u8]) -> Result<(), DecodeError> {
        let rest = self.rest();
        if rest.starts_with(word) {
            self.position += word.len();
            Ok(())
        } else if word.starts_with(rest) {
            Err(DecodeError::Truncated)
        } else {
            Err(DecodeError::UnexpectedByte)
        }
    }

    fn digits(&mut self) -> Result<(), DecodeError> {
        if !self.peek()?.is_ascii_digit() {
            return Err(DecodeError::InvalidNumber);
        }
        while let Some(b'0'..=b'9') = self.text.as_bytes().get(self.position) {
            self.position += 1;
        }
        Ok(())
    }

    /// Walks a number; true if it is written as an integer.
    fn skip_number(&mut self) -> Result<bool, DecodeError> {
        if self.peek()? == b'-' {
            self.position += 1;
        }
        if self.peek()? == b'0' {
            self.position += 1;
            if let Ok(b'0'..=b'9') = self.peek() {
                return Err(DecodeError::InvalidNumber);
            }
        } else {
            self.digits()?;
        }
        let mut integer = true;
        if let Ok(b'.') = self.peek() {
            integer = false;
            self.position += 1;
            self.digits()?;
        }
        if let Ok(b'e' | b'E') = self.peek() {
            integer = false;
            self.position += 1;
            if let Ok(b'+' | b'-') = self.peek() {
                self.position += 1;
            }
            self.digits()?;
        }
        Ok(integer)
    }

    fn number(&mut self) -> Result<Token<'a, JsonContainer>, DecodeError> {
        let start = self.position;
        let integer = self.skip_number()?;
        value_of(&self.text[start..self.position], integer)
    }

    /// Walks a text, its quotation marks included; true if it holds escapes.
    #[inline]
    fn skip_text(&mut self) -> Result<bool, DecodeError> {
        self.expect(b'"')?;
        let mut escapes = false;
        loop {
            self.position += plain(self.rest());
            match self.peek()? {
                b'"' => {
                    self.position += 1;
                    return Ok(escapes);
                }
                b'\\' => {
                    escapes = true;
                    self.escape()?;
                }
                _ => return Err(DecodeError::UnexpectedByte),
            }
        }
    }

    /// Reads one escape, or two that are the surrogates of one character.
    fn escape(&mut self) -> Result<char, DecodeError> {
        self.expect(b'\\')?;
        let letter = self.peek()?;
        self.position += 1;
        Ok(match letter {
            b'"' | b'\\' | b'/' => char::from(letter),
            b'b' => '\u{8}',
            b'f' => '\u{c}',
            b'n' => '\n',
            b'r' => '\r',
            b't' => '\t',
            b'u' => {
                let unit = self.hexadecimal()?;
                let code = if (0xd800..0xdc00).contains(&unit) { self.low_surrogate(unit)? } else { unit };
                char::from_u32(code).ok_or(DecodeError::InvalidEscape)?
            }
            _ => return Err(DecodeError::InvalidEscape),
        })
    }

    fn low_surrogate(&mut self, high: u32) -> Result<u32, DecodeError> {
        if self.peek()? != b'\\' {
            return Err(DecodeError::InvalidEscape);
        }
        self.position += 1;
        if self.peek()? != b'u' {
            return Err(DecodeError::InvalidEscape);
        }
        self.position += 1;
        let low = self.hexadecimal()?;
        if !(0xdc00..0xe000).contains(&low) {
            return Err(DecodeError::InvalidEscape);
        }
        Ok(0x10000 + ((high - 0xd800) << 10) + (low - 0xdc00))
    }

    fn hexadecimal(&mut self) -> Result<u32, DecodeError> {
        let mut value = 0;
        for _ in 0..4 {
            let digit = char::from(self.peek()?).to_digit(16).ok_or(DecodeError::InvalidEscape)?;
            value = value << 4 | digit;
            self.position += 1;
        }
        Ok(value)
    }

    /// Reads a text.
    #[inline]
    fn string(&mut self) -> Result<Cow<'a, str>, DecodeError> {
        let start = self.position;
        if !self.skip_text()? {
            return Ok(Cow::Borrowed(&self.text[start + 1..self.position - 1]));
        }
        self.position = start + 1;
        let mut text = String::new();
        loop {
            let plain = plain(self.rest());
            text.push_str(&self.text[self.position..self.position + plain]);
            self.position += plain;
            if self.peek()? == b'"' {
                self.position += 1;
                return Ok(Cow::Owned(text));
            }
            text.push(self.escape()?);
        }
    }

    /// Reads a text, or the binary it stands for.
    #[inline]
    fn text_or_binary(&mut self) -> Result<Token<'a, JsonContainer>, DecodeError> {
        let may_be_binary = self.rest()[1..].starts_with(BINARY_ESCAPE);
        let text = self.string()?;
        if may_be_binary && let Ok(binary) = BASE64.decode_to_vec(&text.as_bytes()[1..]) {
            return Ok(Token::Binary(Cow::Owned(binary)));
        }
        Ok(Token::Text(text))
    }
}

/// The value of a text that is a number and nothing else.
pub(super) fn number<'a, C>(text: &str) -> Result<Token<'a, C>, DecodeError> {
    let mut reader = JsonReader { text, position: 0 };
    let integer = reader.skip_number().map_err(|_| DecodeError::InvalidNumber)?;
    if reader.position < text.len() {
        return Err(DecodeError::InvalidNumber);
    }
    value_of(text, integer)
}

/// The value of a number that was walked.
fn value_of<'a, C>(number: &str, integer: bool) -> Result<Token<'a, C>, DecodeError> {
    if integer && let Some(token) = exact_integer(number) {
        return Ok(token);
    }
    number.parse().map(Token::Float).map_err(|_| DecodeError::InvalidNumber)
}

/// The value of an integer, where it is one of those that all the other types can tell exactly.
fn exact_integer<'a, C>(number: &str) -> Option<Token<'a, C>> {
    let Some(digits) = number.strip_prefix('-') else {
        return number.parse().ok().map(Token::Unsigned);
    };
    // Minus zero is a float: there is no such integer.
    let magnitude: u128 = digits.parse().ok()?;
    u64::try_from(magnitude.checked_sub(1)?).ok().map(Token::Negative)
}

impl<'a> Reader<'a> for JsonReader<'a> {
    type Container = JsonContainer;
    const SERIALIZER: Serializer = Serializer::Json;

    fn new(bytes: &'a [u8]) -> Result<Self, DecodeError> {
        let mut reader = JsonReader { text: utf8(bytes)?, position: 0 };
        reader.white_space();
        Ok(reader)
    }

    #[inline]
    fn value(&mut self) -> Result<Token<'a, JsonContainer>, DecodeError> {
        Ok(match self.peek()? {
            b'"' => self.text_or_binary()?,
            b'-' | b'0'..=b'9' => self.number()?,
            b'[' => {
                self.position += 1;
                Token::List(JsonContainer { close: b']', first: true })
            }
            b'{' => {
                self.position += 1;
                Token::Dict(JsonContainer { close: b'}', first: true })
            }
            b't' => {
                self.word(b"true")?;
                Token::Bool(true)
            }
            b'f' => {
                self.word(b"false")?;
                Token::Bool(false)
            }
            b'n' => {
                self.word(b"null")?;
                Token::Null
            }
            _ => return Err(self.unexpected()),
        })
    }

    fn text(&mut self) -> Result<Cow<'a, str>, DecodeError> {
        if self.peek()? != b'"' {
            return Err(DecodeError::UnexpectedType);
        }
        self.string()
    }

    fn key(&mut self) -> Result<Token<'a, JsonContainer>, DecodeError> {
        let key = self.string()?;
        self.white_space();
        self.expect(b':')?;
        self.white_space();
        Ok(Token::Text(key))
    }

    #[inline]
    fn more(&mut self, container: &mut JsonContainer) -> Result<bool, DecodeError> {
        self.white_space();
        if self.peek()? == container.close {
            self.position += 1;
            return Ok(false);
        }
        if !container.first {
            self.separator()?;
        }
        container.first = false;
        Ok(true)
    }

    #[inline]
    fn separator(&mut self) -> Result<(), DecodeError> {
        self.white_space();
        self.expect(b',')?;
        self.white_space();
        Ok(())
    }

    fn count(_container: &JsonContainer) -> Option<u64> {
        None
    }

    fn skip(&mut self, enclosing: usize) -> Result<(), DecodeError> {
        match self.peek()? {
            b'"' => self.skip_text().map(drop),
            b'-' | b'0'..=b'9' => self.skip_number().map(drop),
            b'[' => {
                self.position += 1;
                self.finish_list(JsonContainer { close: b']', first: true }, enclosing)
            }
            b'{' => {
                self.position += 1;
                self.finish_dict(JsonContainer { close: b'}', first: true }, enclosing)
            }
            b't' => self.word(b"true"),
            b'f' => self.word(b"false"),
            b'n' => self.word(b"null"),
            _ => Err(self.unexpected()),
        }
    }

    fn skip_key(&mut self, _enclosing: usize) -> Result<(), DecodeError> {
        self.skip_text_key()
    }

    fn skip_text_key(&mut self) -> Result<(), DecodeError> {
        self.skip_text()?;
        self.white_space();
        self.expect(b':')?;
        self.white_space();
        Ok(())
    }

    fn position(&self) -> usize {
        self.position
    }

    fn bytes(&self) -> &'a [u8] {
        self.text.as_bytes()
    }

    fn end(&mut self) -> Result<(), DecodeError> {
        self.white_space();
        if self.position == self.text.len() { Ok(()) } else { Err(DecodeError::TrailingBytes) }
    }
}

/// Appends JSON to a buffer, without white space.
pub(super) struct JsonWriter<'o> {
    out: &'o mut Vec<u8>,
}

impl JsonWriter<'_> {
    fn escaped(&mut self, byte: u8) {
        const DIGITS: &[u8; 16] = b"0123456789abcdef";
        let short = match byte {
            b'"' | b'\\' => byte,
            0x08 => b'b',
            0x0c => b'f',
            b'\n' => b'n',
            b'\r' => b'r',
            b'\t' => b't',
            _ => {
                let low = DIGITS[usize::from(byte & 0xf)];
                self.out.extend_from_slice(b"\\u00");
                self.out.extend_from_slice(&[DIGITS[usize::from(byte >> 4)], low]);
                return;
            }
        };
        self.out.extend_from_slice(&[b'\\', short]);
    }
}

impl<'o> Writer<'o> for JsonWriter<'o> {
    const SERIALIZER: Serializer = Serializer::Json;
    const KEYS_ARE_TEXT: bool = true;

    fn new(out: &'o mut Vec<u8>) -> Self {
        JsonWriter { out }
    }

    fn null(&mut self) {
        self.out.extend_from_slice(b"null");
    }

    fn bool(&mut self, value: bool) {
        self.out.extend_from_slice(if value { b"true" } else { b"false" });
    }

    fn unsigned(&mut self, value: u64) {
        self.out.extend_from_slice(itoa::Buffer::new().format(value).as_bytes());
    }

    fn negative(&mut self, n: u64) {
        self.out.push(b'-');
        self.out.extend_from_slice(itoa::Buffer::new().format(u128::from(n) + 1).as_bytes());
    }

    fn float(&mut self, value: f64) {
        if value.is_finite() {
            self.out.extend_from_slice(zmij::Buffer::new().format_finite(value).as_bytes());
        } else {
            self.null();
        }
    }

    fn single(&mut self, value: f32) {
        self.float(value.into());
    }

    fn text(&mut self, text: &str) {
        let mut rest = text.as_bytes();
        self.out.push(b'"');
        loop {
            let (plain, special) = rest.split_at(plain(rest));
            self.out.extend_from_slice(plain);
            let Some((&byte, after)) = special.split_first() else { break };
            self.escaped(byte);
            rest = after;
        }
        self.out.push(b'"');
    }

    fn binary(&mut self, bytes: &[u8]) {
        self.out.push(b'"');
        self.out.extend_from_slice(BINARY_ESCAPE);
        BASE64.encode_append(bytes, self.out);
        self.out.push(b'"');
    }

    fn key(&mut self, key: &str) {
        self.text(key);
        self.out.push(b':');
    }

    fn open_list(&mut self, _count: Option<u64>) -> Mark {
        self.out.push(b'[');
        Mark::new(self.out, Some(0))
    }

    fn close_list(&mut self, _mark: Mark, _count: u64) {
        self.out.push(b']');
    }

    fn open_dict(&mut self, _count: Option<u64>) -> Mark {
        self.out.push(b'{');
        Mark::new(self.out, Some(0))
    }

    fn close_dict(&mut self, _mark: Mark, _count: u64) {
        self.out.push(b'}');
    }

    fn separator(&mut self) {
        self.out.push(b',');
    }

    fn checked(&mut self, bytes: &[u8]) {
        self.out.extend_from_slice(bytes);
    }
}

#[cfg(test)]
mod tests {
    use super::super::check;
    use super::super::random::{Random, Tree};
    use super::*;

    fn accepts(text: &str) -> Result<(), DecodeError> {
        check(Serializer::Json, text.as_bytes()).map(drop)
    }

    fn token(text: &str) -> Token<'_, JsonContainer> {
        JsonReader::new(text.as_bytes()).unwrap().value().unwrap()
    }

    impl PartialEq for JsonContainer {
        fn eq(&self, _: &JsonContainer) -> bool {
            false
        }
    }

    impl std::fmt::Debug for JsonContainer {
        fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
            write!(f, "..{}", char::from(self.close))
        }
    }

    #[test]
    fn plain_agrees_with_a_search_octet_by_octet() {
        let mut random = Random(1);
        for _ in 0..20_000 {
            let length = random.below(40);
            let mut bytes: Vec<u8> = (0..length).map(|_| random.word() as u8 | 0x20).collect();
            for _ in 0..random.below(3).min(length) {
                let at = random.below(length);
                bytes[at] =
                    *random.pick(&[0, 1, 0x1f, 0x20, 0x21, b'"', b'#', b'\\', b'[', b']', 0x7f, 0x80, 0xa2]);
            }
            let naive = bytes.iter().position(|&b| b < 0x20 || b == b'"' || b == b'\\').unwrap_or(length);
            assert_eq!(plain(&bytes), naive, "{bytes:02x?}");
        }
    }

    #[test]
    fn the_grammar_is_strict() {
        for good in [
            "0",
            "-0",
            "1.5",
            "1e5",
            "1E+5",
            "-1.25e-3",
            "\"\"",
            "\"\\u00e9\\/\"",
            "[]",
            "{}",
            " [ 1 , 2 ] ",
            "{\"a\":{\"b\":[]}}",
            "\t\r\n null",
            "true",
            "false",
            "\"\\ud83d\\ude00\"",
            "\"\\u0000\"",
            "1e999",
        ] {
            assert_eq!(accepts(good), Ok(()), "{good}");
        }
        for (bad, error) in [
            ("", DecodeError::Truncated),
            ("tru", DecodeError::Truncated),
            ("trux", DecodeError::UnexpectedByte),
            ("[1,]", DecodeError::UnexpectedByte),
            ("[,1]", DecodeError::UnexpectedByte),
            ("[1 2]", DecodeError::UnexpectedByte),
            ("[1", DecodeError::Truncated),
            ("[1]]", DecodeError::TrailingBytes),
            ("{1:2}", DecodeError::UnexpectedByte),
            ("{\"a\"}", DecodeError::UnexpectedByte),
            ("{\"a\":1,}", DecodeError::UnexpectedByte),
            ("01", DecodeError::InvalidNumber),
            ("-", DecodeError::Truncated),
            ("-a", DecodeError::InvalidNumber),
            ("1.", DecodeError::Truncated),
            ("1.e5", DecodeError::InvalidNumber),
            ("1e", DecodeError::Truncated),
            ("+1", DecodeError::UnexpectedByte),
            (".5", DecodeError::UnexpectedByte),
            ("NaN", DecodeError::UnexpectedByte),
            ("Infinity", DecodeError::UnexpectedByte),
            ("'a'", DecodeError::UnexpectedByte),
            ("\"\u{1}\"", DecodeError::UnexpectedByte),
            ("\"\\x\"", DecodeError::InvalidEscape),
            ("\"\\u12g4\"", DecodeError::InvalidEscape),
            ("\"\\ud83d\"", DecodeError::InvalidEscape),
            ("\"\\ud83d\\n\"", DecodeError::InvalidEscape),
            ("\"\\ud83d\\ud83d\"", DecodeError::InvalidEscape),
            ("\"\\ude00\"", DecodeError::InvalidEscape),
            ("\"abc", DecodeError::Truncated),
            ("\u{feff}1", DecodeError::UnexpectedByte),
            ("// 1", DecodeError::UnexpectedByte),
        ] {
            assert_eq!(accepts(bad), Err(error), "{bad}");
        }
        assert_eq!(check(Serializer::Json, b"\"\xff\"").unwrap_err(), DecodeError::NotUtf8);
        assert_eq!(check(Serializer::Json, b"\"\xed\xa0\x80\"").unwrap_err(), DecodeError::NotUtf8);
    }

    #[test]
    fn numbers_keep_what_they_are() {
        assert_eq!(token("0"), Token::Unsigned(0));
        assert_eq!(token("18446744073709551615"), Token::Unsigned(u64::MAX));
        assert_eq!(token("18446744073709551616"), Token::Float(18446744073709551616.0));
        assert_eq!(token("-1"), Token::Negative(0));
        assert_eq!(token("-9223372036854775808"), Token::Negative(i64::MAX as u64));
        assert_eq!(token("-18446744073709551616"), Token::Negative(u64::MAX));
        assert_eq!(token("-18446744073709551617"), Token::Float(-18446744073709551616.0));
        assert_eq!(token("1.0"), Token::Float(1.0));
        assert_eq!(token("1e2"), Token::Float(100.0));
        assert_eq!(token("1e999"), Token::Float(f64::INFINITY));
        assert!(matches!(token("-0"), Token::Float(zero) if zero == 0.0 && zero.is_sign_negative()));
        let digits = "9".repeat(5_000);
        assert_eq!(token(&digits), Token::Float(f64::INFINITY));
    }

    #[test]
    fn texts_borrow_unless_they_hold_escapes() {
        assert!(matches!(token("\"größe\""), Token::Text(Cow::Borrowed("größe"))));
        let Token::Text(Cow::Owned(text)) = token(r#""a\"\\\/\b\f\n\r\t\u00DFz\ud83D\uDE00""#) else {
            panic!("a text with escapes is owned")
        };
        assert_eq!(text, "a\"\\/\u{8}\u{c}\n\r\tßz😀");
    }

    #[test]
    fn binary_is_a_zero_and_base64() {
        assert_eq!(token(r#""\u0000AAEC""#), Token::Binary(vec![0, 1, 2].into()));
        assert_eq!(token(r#""\u0000\/\/8=""#), Token::Binary(vec![255, 255].into()));
        assert_eq!(token(r#""\u0000""#), Token::Binary(vec![].into()));
        for text in
            [r#""\u0000AAE""#, r#""\u0000A==="#, r#""\u0000AA EC""#, r#""\u0000_-8=""#, r#""\u0000ä""#]
        {
            let text = if text.ends_with('"') { text.to_owned() } else { format!("{text}\"") };
            assert!(matches!(token(&text), Token::Text(text) if text.starts_with('\0')), "{text}");
        }
        let mut out = Vec::new();
        JsonWriter::new(&mut out).binary(&[0xfb, 0xff]);
        assert_eq!(out, br#""\u0000+/8=""#);
    }

    #[test]
    fn floats_are_written_as_floats() {
        for (float, text) in [
            (1.0, "1.0"),
            (-0.0, "-0.0"),
            (0.1, "0.1"),
            (1e21, "1e+21"),
            (5e-324, "5e-324"),
            (1e15, "1e15"),
            (123456789.0, "123456789.0"),
            (f64::NAN, "null"),
            (f64::INFINITY, "null"),
            (-f64::INFINITY, "null"),
        ] {
            let mut out = Vec::new();
            JsonWriter::new(&mut out).float(float);
            let written = String::from_utf8(out).unwrap();
            assert_eq!(written.parse::<f64>().ok(), text.parse::<f64>().ok(), "{text}");
            assert!(written == "null" || written.contains(['.', 'e']), "{written}");
            assert!(matches!(token(&written), Token::Float(_) | Token::Null), "{written}");
        }
    }

    #[test]
    fn texts_are_written_with_the_escapes_they_need_and_no_others() {
        let mut out = Vec::new();
        JsonWriter::new(&mut out).text("a\"b\\c/\u{0}\u{1f}\u{8}\u{c}\n\r\t\u{7f}€");
        assert_eq!(
            String::from_utf8(out).unwrap(),
            r#""a\"b\\c/\u0000\u001f\b\f\n\r\t€""#.replace("t€", "t\u{7f}€")
        );
    }

    /// What our walker and serde_json say to one text, both of which must agree. Ours also takes floats out of range,
    /// which are infinite then.
    fn agree(text: &[u8]) {
        let ours = check(Serializer::Json, text);
        let theirs = serde_json::from_slice::<serde_json::Value>(text);
        match (ours, theirs) {
            (Ok(raw), Ok(json)) => {
                let again: serde_json::Value = serde_json::from_slice(raw.bytes()).unwrap();
                assert_eq!(again, json);
            }
            (Err(_), Err(_)) => {}
            (Ok(_), Err(error)) => {
                assert!(
                    error.to_string().contains("out of range"),
                    "{error}: {:?}",
                    String::from_utf8_lossy(text)
                );
            }
            (Err(error), Ok(_)) => panic!("{error}: {:?}", String::from_utf8_lossy(text)),
        }
    }

    #[test]
    fn the_walker_agrees_with_serde_json_on_mutated_texts() {
        let mut random = Random(2);
        for _ in 0..4_000 {
            let mut text = random.tree(4).encoded(Serializer::Json);
            agree(&text);
            for _ in 0..1 + random.below(3) {
                let at = random.below(text.len());
                let pieces: [&[u8]; 16] = [
                    b"\"", b"\\", b",", b":", b"[", b"]", b"{", b"}", b"-", b"0", b".", b"e5", b" ",
                    b"\\ud800", b"\\udc00", b"\xc3",
                ];
                match random.below(4) {
                    0 => text[at] = random.word() as u8,
                    1 => drop(text.splice(at..at, random.pick(&pieces).iter().copied())),
                    2 => drop(text.remove(at)),
                    _ => text.truncate(at.max(1)),
                }
                if text.is_empty() {
                    text.push(b'1');
                }
                agree(&text);
            }
        }
    }

    #[test]
    fn the_walker_agrees_with_serde_json_on_texts_of_single_pieces() {
        let mut random = Random(3);
        let pieces = [
            "[",
            "]",
            "{",
            "}",
            ",",
            ":",
            "\"a\"",
            "\"\\u00e9\"",
            "1",
            "-",
            "0",
            ".5",
            "e+1",
            "null",
            "true",
            " ",
            "\n",
        ];
        for _ in 0..50_000 {
            let text: String = (0..1 + random.below(7)).map(|_| *random.pick(&pieces)).collect();
            agree(text.as_bytes());
        }
    }

    #[test]
    fn values_read_back_as_serde_json_reads_them() {
        let mut random = Random(4);
        for _ in 0..300 {
            let tree = random.tree(3);
            let text = tree.encoded(Serializer::Json);
            assert_eq!(Tree::decoded(Serializer::Json, &text), tree);
            let pretty = serde_json::from_slice::<serde_json::Value>(&text).unwrap();
            let pretty = serde_json::to_vec_pretty(&pretty).unwrap();
            // serde_json keeps one entry of those with equal keys, and so the trees may differ in that.
            check(Serializer::Json, &pretty).unwrap();
        }
    }
}
