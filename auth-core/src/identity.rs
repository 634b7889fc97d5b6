//! The format of a client id.

/// Maximum length of a client id.
pub const MAX_CLIENT_ID_BYTES: usize = 256;

/// The only group whose client ids may contain [`GATEWAY_NAME`] in place of a MAC address.
const GATEWAY_GROUP: &str = "GID_gateway";
const GATEWAY_NAME: &str = "mqtt_gateway";

/// The fields of a well-formed client id, `group@@@mac@@@suffix`.
///
/// No field is empty. No field contains `@`, `|` (the separator in the signed text), or `+`, `#` and `/` (special in
/// topic filters).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct DeviceId<'a> {
    /// The complete client id.
    pub client_id: &'a str,
    /// The group of the device.
    pub group: &'a str,
    /// The MAC address as the device writes it, or `mqtt_gateway`.
    pub mac: &'a str,
    /// A UUID, a timestamp or the MAC address again, depending on the generator.
    pub suffix: &'a str,
}

impl<'a> DeviceId<'a> {
    /// Parses a client id; `None` if it is malformed.
    #[must_use]
    pub fn parse(client_id: &'a str) -> Option<Self> {
        if client_id.len() > MAX_CLIENT_ID_BYTES {
            return None;
        }
        let mut rest = client_id;
        let device = Self { client_id, group: take_field(&mut rest)?, mac: take_field(&mut rest)?, suffix: rest };
        let well_formed = is_group(device.group)
            && (is_mac(device.mac) || (device.mac == GATEWAY_NAME && device.group == GATEWAY_GROUP))
            && is_suffix(device.suffix);
        well_formed.then_some(device)
    }
}

/// Removes a field and the `@@@` after it from the front of `rest`.
fn take_field<'a>(rest: &mut &'a str) -> Option<&'a str> {
    let (field, after) = rest.split_at(rest.bytes().position(|b| b == b'@')?);
    *rest = after.strip_prefix("@@@")?;
    Some(field)
}

/// Whether `text` is a valid group name. The servers of devices use the type of the board, such as `esp32-s3-lcd-1.8`.
#[must_use]
pub fn is_group(text: &str) -> bool {
    (1..=64).contains(&text.len()) && text.bytes().all(|b| b.is_ascii_alphanumeric() || b"_.-".contains(&b))
}

fn is_suffix(text: &str) -> bool {
    (1..=128).contains(&text.len()) && text.bytes().all(|b| b.is_ascii_alphanumeric() || b"_.:-".contains(&b))
}

/// Whether `text` is six hexadecimal pairs in either case, all joined by the same separator.
fn is_mac(text: &str) -> bool {
    let &[_, _, separator @ (b'_' | b':' | b'-'), ..] = text.as_bytes() else {
        return false;
    };
    text.len() == 17
        && text.bytes().enumerate().all(|(at, b)| if at % 3 == 2 { b == separator } else { b.is_ascii_hexdigit() })
}

#[cfg(test)]
mod tests {
    use super::*;

    const GOOD: &str = "GID_test@@@AA_bb_CC_dd_EE_ff@@@6e7d3c2a-8b1f";

    #[test]
    fn parses_client_id_fields() {
        let device = DeviceId::parse(GOOD).unwrap();
        assert_eq!((device.group, device.mac, device.suffix), ("GID_test", "AA_bb_CC_dd_EE_ff", "6e7d3c2a-8b1f"));
    }

    #[test]
    fn rejects_malformed_client_ids() {
        let long = format!("GID_test@@@AA_bb_CC_dd_EE_ff@@@{}", "x".repeat(129));
        for bad in [
            "",
            "GID_test",
            "GID_test@@@AA_bb_CC_dd_EE_ff",
            "GID_test@@@AA_bb_CC_dd_EE_ff@@@",
            "@@@AA_bb_CC_dd_EE_ff@@@x",
            "GID_test@@@AA_bb_CC_dd_EE_ff@@@x@@@y",
            "GID_test@@@AA_bb_CC_dd_EE_ff@@@@x",
            "GID_test@@@@AA_bb_CC_dd_EE_ff@@@x",
            "GID_test@@@AA_bb_CC_dd_EE@@@x",
            "GID_test@@@AA_bb:CC_dd_EE_ff@@@x",
            "GID_test@@@AA_bb_CC_dd_EE_fg@@@x",
            "GID_test@@@AAbbCCddEEff@@@x",
            "GID_test@@@AA_bb_CC_dd_EE_ff_@@@x",
            "GID_test@@@mqtt_gateway@@@x",
            "GID_test@@@AA_bb_CC_dd_EE_ff@@@a|b",
            "GID_test@@@AA_bb_CC_dd_EE_ff@@@a/b",
            "GID_test@@@AA_bb_CC_dd_EE_ff@@@#",
            "GID+@@@AA_bb_CC_dd_EE_ff@@@x",
            "GID_tést@@@AA_bb_CC_dd_EE_ff@@@x",
            "GID_test@@@éé_bb_CC_dd_EE_f@@@x",
            &long,
        ] {
            assert_eq!(DeviceId::parse(bad), None, "{bad}");
        }
    }

    #[test]
    fn parses_a_board_type_as_group() {
        let device = DeviceId::parse("esp32-s3-touch-amoled-1.8@@@AA_bb_CC_dd_EE_ff@@@AA_bb_CC_dd_EE_ff").unwrap();
        assert_eq!(device.group, "esp32-s3-touch-amoled-1.8");
    }

    #[test]
    fn gateway_name_requires_the_gateway_group() {
        assert!(DeviceId::parse("GID_gateway@@@mqtt_gateway@@@1764000000000").is_some());
        assert!(DeviceId::parse("GID_gateway@@@mqtt_gateways@@@1").is_none());
    }
}
