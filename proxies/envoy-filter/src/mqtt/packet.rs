//! What MQTT packets are made of: numbers, texts and data, taken from the front of some bytes.

/// The bytes are not what they should be.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct DecodeError;

/// Bytes that have not been looked at yet. Whatever is taken from them was there.
#[derive(Clone, Copy)]
pub(crate) struct Reader<'a>(pub(crate) &'a [u8]);

impl<'a> Reader<'a> {
    pub(crate) fn is_empty(self) -> bool {
        self.0.is_empty()
    }

    pub(crate) fn read_bytes(&mut self, length: usize) -> Result<&'a [u8], DecodeError> {
        let (taken, rest) = self.0.split_at_checked(length).ok_or(DecodeError)?;
        self.0 = rest;
        Ok(taken)
    }

    pub(crate) fn read_u8(&mut self) -> Result<u8, DecodeError> {
        self.read_array().map(|[byte]| byte)
    }

    pub(crate) fn read_u16(&mut self) -> Result<u16, DecodeError> {
        self.read_array().map(u16::from_be_bytes)
    }

    pub(crate) fn read_u32(&mut self) -> Result<u32, DecodeError> {
        self.read_array().map(u32::from_be_bytes)
    }

    /// A number of one to four bytes, in the fewest that hold it.
    pub(crate) fn read_varint(&mut self) -> Result<usize, DecodeError> {
        let (number, length) = varint(self.0)?.ok_or(DecodeError)?;
        self.read_bytes(length)?;
        Ok(number)
    }

    /// Bytes that follow their length.
    pub(crate) fn read_binary(&mut self) -> Result<&'a [u8], DecodeError> {
        let length = self.read_u16()?;
        self.read_bytes(length.into())
    }

    /// UTF-8 that follows its length, without U+0000.
    pub(crate) fn read_string(&mut self) -> Result<&'a str, DecodeError> {
        let text = str::from_utf8(self.read_binary()?).map_err(|_| DecodeError)?;
        if text.contains('\0') { Err(DecodeError) } else { Ok(text) }
    }

    fn read_array<const N: usize>(&mut self) -> Result<[u8; N], DecodeError> {
        self.read_bytes(N)?.try_into().map_err(|_| DecodeError)
    }
}

/// A number of one to four bytes at the front, and how many it takes; `None` if it does not end yet.
pub(crate) fn varint(bytes: &[u8]) -> Result<Option<(usize, usize)>, DecodeError> {
    let mut number = 0;
    for (index, &byte) in bytes.iter().take(MAX_VARINT_BYTES).enumerate() {
        number |= usize::from(byte & 0x7f) << (7 * index);
        match byte {
            0 if index > 0 => return Err(DecodeError),
            0..0x80 => return Ok(Some((number, index + 1))),
            _ => {}
        }
    }
    if bytes.len() < MAX_VARINT_BYTES { Ok(None) } else { Err(DecodeError) }
}

/// The most bytes that a number of variable length has.
const MAX_VARINT_BYTES: usize = 4;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn varint_uses_the_fewest_bytes() {
        for (bytes, number) in [
            (&[0][..], 0),
            (&[0x7f], 127),
            (&[0x80, 1], 128),
            (&[0xff, 0x7f], 16_383),
            (&[0xff, 0xff, 0x7f], 2_097_151),
            (&[0xff, 0xff, 0xff, 0x7f], 268_435_455),
        ] {
            assert_eq!(varint(bytes), Ok(Some((number, bytes.len()))));
            assert_eq!(varint(&bytes[..bytes.len() - 1]), Ok(None));
        }
        for bytes in [&[0x80, 0][..], &[0xff, 0xff, 0xff, 0xff], &[0x80, 0x80, 0x80, 0]] {
            assert_eq!(varint(bytes), Err(DecodeError));
        }
    }

    #[test]
    fn string_is_utf8_without_nul() {
        assert_eq!(Reader(b"\0\x02\xc3\xa9").read_string(), Ok("é"));
        for bytes in [&b"\0\x01\0"[..], b"\0\x01\xff", b"\0\x03\xed\xa0\x80", b"\0\x02a", b"\0"] {
            assert_eq!(Reader(bytes).read_string(), Err(DecodeError), "{bytes:?}");
        }
    }
}
