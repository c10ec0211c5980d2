//! Masking (RFC 6455 section 5.3).

/// XORs `data` with the masking key, beginning `offset` octets into the frame's payload, so that a
/// payload can be unmasked piece by piece as it arrives. Applied twice it changes nothing.
pub fn apply_mask(data: &mut [u8], mask: [u8; 4], offset: usize) {
    let mut key = mask;
    key.rotate_left(offset % 4);
    // Blocks of 32 octets: the compiler turns the inner loop into vector instructions.
    let mut wide = [0; 32];
    for (wide, octet) in wide.iter_mut().zip(key.iter().cycle()) {
        *wide = *octet;
    }
    let (blocks, rest) = data.as_chunks_mut::<32>();
    for block in blocks {
        for (octet, key) in block.iter_mut().zip(&wide) {
            *octet ^= key;
        }
    }
    for (octet, key) in rest.iter_mut().zip(&wide) {
        *octet ^= key;
    }
}
