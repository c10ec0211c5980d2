//! Slots of keys, as Redis Cluster has them: CRC-16 (XMODEM) of the key or of what stands in its first braces, modulo
//! 16384.

/// Slots of a Cluster.
pub(crate) const SLOTS: u16 = 16_384;

/// The slot of a key.
pub(crate) fn slot_of(key: &[u8]) -> u16 {
    crc16(tag_in(key).unwrap_or(key)) % SLOTS
}

/// A short text whose slot is this: between braces it brings a key there.
pub(crate) fn tag_for(slot: u16) -> String {
    // Each number is as good as a random slot: 16,384 tries on average, some 100,000 at worst.
    (0u32..)
        .map(|number| number.to_string())
        .find(|text| slot_of(text.as_bytes()) == slot)
        .unwrap_or_default()
}

fn tag_in(key: &[u8]) -> Option<&[u8]> {
    let begin = key.iter().position(|&byte| byte == b'{')? + 1;
    let length = key[begin..].iter().position(|&byte| byte == b'}')?;
    (length > 0).then(|| &key[begin..begin + length])
}

fn crc16(bytes: &[u8]) -> u16 {
    bytes.iter().fold(0, |crc, &byte| {
        let mut crc = crc ^ (u16::from(byte) << 8);
        for _ in 0..8 {
            crc = match crc & 0x8000 {
                0 => crc << 1,
                _ => (crc << 1) ^ 0x1021,
            };
        }
        crc
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn slots_are_as_the_specification_has_them() {
        assert_eq!(crc16(b"123456789"), 0x31c3);
        assert_eq!(slot_of(b"foo"), 12182);
        assert_eq!(slot_of(b"{foo}:log"), 12182);
        assert_eq!(slot_of(b"roomcast:{foo}"), 12182);
        // Empty braces, and braces that don't end, are a part of the name.
        assert_eq!(slot_of(b"{}foo"), crc16(b"{}foo") % SLOTS);
        assert_eq!(slot_of(b"{foo"), crc16(b"{foo") % SLOTS);
        assert_eq!(slot_of(b"a{{b}c}"), slot_of(b"{b"));
    }

    #[test]
    fn each_slot_has_a_tag() {
        for slot in [0, 1, 5_461, 10_923, SLOTS - 1] {
            assert_eq!(
                slot_of(format!("P{{{}}}nodes", tag_for(slot)).as_bytes()),
                slot
            );
        }
    }
}
