//! Decoding of the data types in MQTT packets (MQTT 5.0, section 1.5).

/// Malformed or truncated data.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct DecodeError;

/// The remaining bytes of a packet. Each method removes a value from their front.
#[derive(Clone, Copy)]
pub(crate) struct Reader<'a>(pub(crate) &'a [u8]);

impl<'a> Reader<'a> {
    pub(crate) fn is_empty(self) -> bool {
        self.0.is_empty()
    }

    pub(crate) fn read_bytes(&mut self, length: usize) -> Result<&'a [u8], DecodeError> {
        let (taken, remaining) = self.0.split_at_checked(length).ok_or(DecodeError)?;
        self.0 = remaining;
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

    /// Reads a variable byte integer. It must have the fewest bytes possible.
    pub(crate) fn read_varint(&mut self) -> Result<usize, DecodeError> {
        let (number, length) = varint(self.0)?.ok_or(DecodeError)?;
        self.read_bytes(length)?;
        Ok(number)
    }

    /// Reads binary data with a length prefix.
    pub(crate) fn read_binary(&mut self) -> Result<&'a [u8], DecodeError> {
        let length = self.read_u16()?;
        self.read_bytes(length.into())
    }

    /// Reads a UTF-8 string with a length prefix. It must not contain U+0000.
    pub(crate) fn read_string(&mut self) -> Result<&'a str, DecodeError> {
        let text = str::from_utf8(self.read_binary()?).map_err(|_| DecodeError)?;
        if text.contains('\0') { Err(DecodeError) } else { Ok(text) }
    }

    fn read_array<const N: usize>(&mut self) -> Result<[u8; N], DecodeError> {
        self.read_bytes(N)?.try_into().map_err(|_| DecodeError)
    }
}

/// Decodes a variable byte integer at the front of `bytes`. Returns its value and its length, or `None` if more bytes
/// are needed.
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

/// Maximum length of a variable byte integer.
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
