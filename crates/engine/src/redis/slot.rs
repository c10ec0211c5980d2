//! Slots of keys ([`Slot`]), and names that are kept at each master.

use roomcast_core::store::Slot;

/// Slots of a Cluster.
pub(crate) const SLOTS: u16 = Slot::COUNT;

/// The slot of a key: of what stands in its first braces, or else of all of it.
pub(crate) fn slot_of(key: &[u8]) -> u16 {
    Slot::of_tag(tag_in(key).unwrap_or(key)).0
}

/// Of the slots that a master has, the one that names have which are kept at each master; 0 where it has none.
///
/// All nodes choose the same. Slots are moved one by one from the lowest, mostly. So they are ranked by a hash: if all slots
/// of a master move one after the other, another one is chosen some ten times, and not with each.
pub(crate) fn anchor(ranges: &[(u16, u16)]) -> u16 {
    let slots = ranges.iter().flat_map(|(first, last)| *first..=*last);
    slots.max_by_key(|slot| (rank(*slot), *slot)).unwrap_or(0)
}

/// The end of MurmurHash3: each bit changes about half of all.
fn rank(slot: u16) -> u32 {
    let mut mixed = u32::from(slot) + 1;
    mixed = (mixed ^ mixed >> 16).wrapping_mul(0x85EB_CA6B);
    mixed = (mixed ^ mixed >> 13).wrapping_mul(0xC2B2_AE35);
    mixed ^ mixed >> 16
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn slots_are_as_the_specification_has_them() {
        assert_eq!(slot_of(b"foo"), 12182);
        assert_eq!(slot_of(b"{foo}:log"), 12182);
        assert_eq!(slot_of(b"roomcast:{foo}"), 12182);
        // Empty braces, and braces that don't end, are a part of the name.
        assert_eq!(slot_of(b"{}foo"), Slot::of_tag(b"{}foo").0);
        assert_eq!(slot_of(b"{foo"), Slot::of_tag(b"{foo").0);
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

    #[test]
    fn the_anchor_is_rarely_another_one_while_all_slots_move() {
        let third = SLOTS / 3;
        let (mut from, mut to) = (Vec::new(), Vec::new());
        for moved in (0..third).step_by(8) {
            let left = [(moved, third - 1)];
            let there = [(0, moved), (third, 2 * third)];
            assert!((left[0].0..=left[0].1).contains(&anchor(&left)));
            from.push(anchor(&left));
            to.push(anchor(&there));
        }
        from.dedup();
        to.dedup();
        assert!(
            from.len() < 20 && to.len() < 5,
            "{} {}",
            from.len(),
            to.len()
        );
        assert_eq!(anchor(&[(5, 9), (20, 30)]), anchor(&[(20, 30), (5, 9)]));
        // All nodes choose the same, of any version.
        assert_eq!(anchor(&[(0, SLOTS - 1)]), ANCHOR);
    }

    const ANCHOR: u16 = 2_228;
}
