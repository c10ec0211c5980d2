use super::*;
use crate::close::CloseFrame;
use crate::frame::write_frame;

fn receive_all(
    receiver: &mut Receiver,
    scratch: &mut Scratch,
    bytes: &[u8],
    chunk: usize,
) -> (Vec<String>, Option<ProtocolError>) {
    let mut events = Vec::new();
    for chunk in bytes.chunks(chunk.max(1)) {
        let mut chunk = chunk.to_vec();
        let mut input = &mut chunk[..];
        loop {
            match receiver.receive(&mut input, scratch) {
                Ok(Some(event)) => events.push(format!("{event:?}")),
                Ok(None) => break,
                Err(error) => return (events, Some(error)),
            }
        }
        assert!(input.is_empty());
    }
    (events, None)
}

#[test]
fn a_receiver_is_small() {
    assert!(size_of::<Receiver>() <= 64, "{}", size_of::<Receiver>());
}

#[test]
fn a_whole_message_is_borrowed_from_the_input() {
    let mut scratch = Scratch::new();
    let mut receiver = Receiver::new(Role::Server, &ReceiverConfig::default());
    let mut bytes = Vec::new();
    write_frame(
        &mut bytes,
        Opcode::Binary,
        true,
        false,
        &[7; 1000],
        Some([1, 2, 3, 4]),
    );
    let range = bytes.as_ptr_range();
    let mut input = &mut bytes[..];
    let Ok(Some(Event::Binary(message))) = receiver.receive(&mut input, &mut scratch) else {
        panic!("no message");
    };
    assert_eq!(message, [7; 1000]);
    assert!(range.contains(&message.as_ptr()));
    assert!(!receiver.is_mid_message());
    assert_eq!(scratch.free_buffers(), 0);
}

#[test]
fn fragments_with_a_ping_between_in_any_chunks() {
    let mut bytes = Vec::new();
    let mask = Some([9, 8, 7, 6]);
    write_frame(
        &mut bytes,
        Opcode::Text,
        false,
        false,
        "Grü".as_bytes(),
        mask,
    );
    write_frame(
        &mut bytes,
        Opcode::Ping,
        true,
        false,
        b"are you there",
        mask,
    );
    write_frame(&mut bytes, Opcode::Continuation, false, false, b"", mask);
    write_frame(
        &mut bytes,
        Opcode::Continuation,
        true,
        false,
        "ße".as_bytes(),
        mask,
    );
    write_frame(&mut bytes, Opcode::Close, true, false, b"\x03\xe8bye", mask);
    write_frame(&mut bytes, Opcode::Text, true, false, b"ignored", mask);
    let expected = [
        format!("{:?}", Event::Ping(b"are you there")),
        format!("{:?}", Event::EmptyFragment),
        format!("{:?}", Event::Text("Grüße")),
        format!(
            "{:?}",
            Event::Close(Some(CloseFrame {
                code: 1000,
                reason: "bye"
            }))
        ),
    ];
    for chunk in 1..bytes.len() {
        let mut scratch = Scratch::new();
        let mut receiver = Receiver::new(Role::Server, &ReceiverConfig::default());
        let (events, error) = receive_all(&mut receiver, &mut scratch, &bytes, chunk);
        assert_eq!(error, None);
        assert_eq!(events, expected, "chunks of {chunk}");
        assert!(!receiver.is_mid_message());
    }
}
