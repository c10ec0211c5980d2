//! Frames as they are written.

use proptest::prelude::*;
use roomcast_websocket::frame::{Header, MAX_HEADER, write_close, write_frame, write_frame_with};
use roomcast_websocket::{CloseFrame, Opcode, ProtocolError, apply_mask, close};

#[test]
fn the_examples_of_rfc_6455() {
    let frame = |opcode, fin, payload: &[u8], mask| {
        let mut out = Vec::new();
        write_frame(&mut out, opcode, fin, false, payload, mask);
        out
    };
    let mask = Some([0x37, 0xfa, 0x21, 0x3d]);
    assert_eq!(frame(Opcode::Text, true, b"Hello", None), b"\x81\x05Hello");
    assert_eq!(
        frame(Opcode::Text, true, b"Hello", mask),
        b"\x81\x85\x37\xfa\x21\x3d\x7f\x9f\x4d\x51\x58"
    );
    assert_eq!(frame(Opcode::Text, false, b"Hel", None), b"\x01\x03Hel");
    assert_eq!(
        frame(Opcode::Continuation, true, b"lo", None),
        b"\x80\x02lo"
    );
    assert_eq!(frame(Opcode::Ping, true, b"Hello", None), b"\x89\x05Hello");
    assert_eq!(
        frame(Opcode::Binary, true, &[0; 256], None)[..4],
        *b"\x82\x7e\x01\x00"
    );
    let large = frame(Opcode::Binary, true, &[0; 65_536], None);
    assert_eq!(large[..10], *b"\x82\x7f\x00\x00\x00\x00\x00\x01\x00\x00");
    // RFC 7692, section 7.2.3.1.
    let mut out = Vec::new();
    write_frame(
        &mut out,
        Opcode::Text,
        true,
        true,
        b"\xf2\x48\xcd\xc9\xc9\x07\x00",
        None,
    );
    assert_eq!(out, b"\xc1\x07\xf2\x48\xcd\xc9\xc9\x07\x00");
}

#[test]
fn lengths_take_their_shortest_form() {
    let mut out = [0; MAX_HEADER];
    for (len, width) in [
        (0, 2),
        (125, 2),
        (126, 4),
        (65_535, 4),
        (65_536, 10),
        (u64::MAX >> 1, 10),
    ] {
        let header = Header {
            opcode: Opcode::Binary,
            fin: true,
            rsv1: false,
            mask: None,
            len,
        };
        assert_eq!(header.encode(&mut out), width);
        let header = Header {
            mask: Some([1; 4]),
            ..header
        };
        assert_eq!(header.encode(&mut out), width + 4);
    }
}

#[test]
fn a_payload_is_written_straight_into_its_frame() {
    for len in [0, 1, 125, 126, 127, 65_535, 65_536, 100_000] {
        let payload: Vec<u8> = (0..len).map(|n| n as u8).collect();
        let mut copied = b"before".to_vec();
        write_frame(&mut copied, Opcode::Text, true, true, &payload, None);
        let mut straight = b"before".to_vec();
        let result = write_frame_with(&mut straight, Opcode::Text, true, |out| {
            out.extend_from_slice(&payload);
            out.len()
        });
        assert_eq!(straight, copied);
        assert_eq!(result, "before".len() + 2 + len);
    }
}

#[test]
fn close_frames() {
    let frame = |close: Option<CloseFrame<'_>>| {
        let mut out = Vec::new();
        write_close(&mut out, close, None);
        out
    };
    assert_eq!(frame(None), b"\x88\x00");
    assert_eq!(
        frame(Some(CloseFrame {
            code: 1000,
            reason: ""
        })),
        b"\x88\x02\x03\xe8"
    );
    // 123 bytes are what fits; a character that doesn't is left out whole.
    let exact = "x".repeat(123);
    assert_eq!(
        frame(Some(CloseFrame {
            code: 4000,
            reason: &exact
        }))
        .len(),
        127
    );
    for (before, character, kept) in [
        (123, "é", 123),
        (122, "é", 122),
        (121, "é", 123),
        (120, "😀", 120),
    ] {
        let reason = format!("{}{character} and more", "x".repeat(before));
        let out = frame(Some(CloseFrame {
            code: 4000,
            reason: &reason,
        }));
        assert_eq!(out[1], 2 + kept);
        assert_eq!(&out[4..], &reason.as_bytes()[..usize::from(kept)]);
        assert_eq!(close::fitting_reason(&reason).len(), usize::from(kept));
    }
}

#[test]
fn every_fault_has_a_reason_that_fits_a_close_frame() {
    use ProtocolError::*;
    for fault in [
        ReservedBits,
        CompressedContinuation,
        ReservedOpcode,
        Unmasked,
        Masked,
        FragmentedControl,
        OversizedControl,
        LengthNotMinimal,
        LengthTopBit,
        UnexpectedContinuation,
        ExpectedContinuation,
        ClosePayload,
        CloseCode,
        CloseReason,
        InvalidUtf8,
        InvalidDeflate,
        TooLarge,
    ] {
        assert!(close::is_valid_code(fault.close_code()));
        assert!([1002, 1007, 1009].contains(&fault.close_code()));
        assert_eq!(close::fitting_reason(fault.reason()), fault.reason());
        assert!(fault.to_string().contains("(RFC "), "{fault}");
    }
}

proptest! {
    #[test]
    fn masking_in_pieces_is_masking_octet_by_octet(
        data in proptest::collection::vec(any::<u8>(), 0..200),
        mask in any::<[u8; 4]>(),
        cut in any::<prop::sample::Index>(),
        shift in 0usize..8,
    ) {
        let expected: Vec<u8> =
            data.iter().enumerate().map(|(at, octet)| octet ^ mask[(at + shift) % 4]).collect();
        let mut masked = data.clone();
        let cut = cut.index(data.len() + 1);
        let (first, second) = masked.split_at_mut(cut);
        apply_mask(first, mask, shift);
        apply_mask(second, mask, shift + cut);
        prop_assert_eq!(masked, expected);
    }
}
