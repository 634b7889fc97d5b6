//! What MQTT packets are made of: numbers, texts and data, taken from the front of some bytes.

/// The bytes are not what they should be.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Misshapen;

/// Bytes that have not been looked at yet. Whatever is taken from them was there.
#[derive(Clone, Copy)]
pub(crate) struct Rest<'a>(pub(crate) &'a [u8]);

impl<'a> Rest<'a> {
    pub(crate) fn is_empty(self) -> bool {
        self.0.is_empty()
    }

    pub(crate) fn take(&mut self, length: usize) -> Result<&'a [u8], Misshapen> {
        let (taken, rest) = self.0.split_at_checked(length).ok_or(Misshapen)?;
        self.0 = rest;
        Ok(taken)
    }

    pub(crate) fn byte(&mut self) -> Result<u8, Misshapen> {
        self.array().map(|[byte]| byte)
    }

    pub(crate) fn two_bytes(&mut self) -> Result<u16, Misshapen> {
        self.array().map(u16::from_be_bytes)
    }

    pub(crate) fn four_bytes(&mut self) -> Result<u32, Misshapen> {
        self.array().map(u32::from_be_bytes)
    }

    /// A number of one to four bytes, in the fewest that hold it.
    pub(crate) fn variable(&mut self) -> Result<usize, Misshapen> {
        let (number, length) = variable(self.0)?.ok_or(Misshapen)?;
        self.take(length)?;
        Ok(number)
    }

    /// Bytes that follow their length.
    pub(crate) fn data(&mut self) -> Result<&'a [u8], Misshapen> {
        let length = self.two_bytes()?;
        self.take(length.into())
    }

    /// UTF-8 that follows its length, without U+0000.
    pub(crate) fn text(&mut self) -> Result<&'a str, Misshapen> {
        let text = str::from_utf8(self.data()?).map_err(|_| Misshapen)?;
        if text.contains('\0') { Err(Misshapen) } else { Ok(text) }
    }

    fn array<const N: usize>(&mut self) -> Result<[u8; N], Misshapen> {
        self.take(N)?.try_into().map_err(|_| Misshapen)
    }
}

/// A number of one to four bytes at the front, and how many it takes; `None` if it does not end yet.
pub(crate) fn variable(bytes: &[u8]) -> Result<Option<(usize, usize)>, Misshapen> {
    let mut number = 0;
    for (at, &byte) in bytes.iter().take(LONGEST_NUMBER).enumerate() {
        number |= usize::from(byte & 0x7f) << (7 * at);
        match byte {
            0 if at > 0 => return Err(Misshapen),
            0..0x80 => return Ok(Some((number, at + 1))),
            _ => {}
        }
    }
    if bytes.len() < LONGEST_NUMBER { Ok(None) } else { Err(Misshapen) }
}

/// The most bytes that a number of variable length has.
const LONGEST_NUMBER: usize = 4;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_number_has_the_fewest_bytes_that_hold_it() {
        for (bytes, number) in [
            (&[0][..], 0),
            (&[0x7f], 127),
            (&[0x80, 1], 128),
            (&[0xff, 0x7f], 16_383),
            (&[0xff, 0xff, 0x7f], 2_097_151),
            (&[0xff, 0xff, 0xff, 0x7f], 268_435_455),
        ] {
            assert_eq!(variable(bytes), Ok(Some((number, bytes.len()))));
            assert_eq!(variable(&bytes[..bytes.len() - 1]), Ok(None));
        }
        for bytes in [&[0x80, 0][..], &[0xff, 0xff, 0xff, 0xff], &[0x80, 0x80, 0x80, 0]] {
            assert_eq!(variable(bytes), Err(Misshapen));
        }
    }

    #[test]
    fn a_text_is_utf_8_without_u_0000() {
        assert_eq!(Rest(b"\0\x02\xc3\xa9").text(), Ok("é"));
        for bytes in [&b"\0\x01\0"[..], b"\0\x01\xff", b"\0\x03\xed\xa0\x80", b"\0\x02a", b"\0"] {
            assert_eq!(Rest(bytes).text(), Err(Misshapen), "{bytes:?}");
        }
    }
}
