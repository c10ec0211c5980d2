use proptest::prelude::*;

use super::*;

fn read(bytes: &[u8], pieces: usize) -> Result<Vec<Value>, Malformed> {
    let mut reader = Reader::new(1 << 20);
    let mut values = Vec::new();
    for piece in bytes.chunks(pieces) {
        reader.buffer().extend_from_slice(piece);
        while let Some(value) = reader.read()? {
            values.push(value);
        }
    }
    Ok(values)
}

fn write(out: &mut Vec<u8>, value: &Value) {
    match value {
        Value::Nil => out.extend_from_slice(b"$-1\r\n"),
        Value::Int(number) => out.extend_from_slice(format!(":{number}\r\n").as_bytes()),
        Value::Bytes(bytes) => write_part(out, bytes),
        Value::Error(text) => out.extend_from_slice(format!("-{text}\r\n").as_bytes()),
        Value::Array(values) => {
            write_head(out, values.len());
            values.iter().for_each(|value| write(out, value));
        }
    }
}

fn values() -> impl Strategy<Value = Value> {
    let one = prop_oneof![
        Just(Value::Nil),
        any::<i64>().prop_map(Value::Int),
        prop::collection::vec(any::<u8>(), 0..40).prop_map(Value::Bytes),
        "[A-Z]{1,8} [a-z ]{0,20}".prop_map(|text| Value::Error(text.into())),
    ];
    one.prop_recursive(4, 40, 6, |inner| {
        prop::collection::vec(inner, 0..6).prop_map(Value::Array)
    })
}

proptest! {
    #[test]
    fn what_is_written_is_read_however_it_is_cut(
        expected in prop::collection::vec(values(), 0..8),
        pieces in 1..50usize,
    ) {
        let mut bytes = Vec::new();
        expected.iter().for_each(|value| write(&mut bytes, value));
        prop_assert_eq!(read(&bytes, pieces), Ok(expected));
    }

    #[test]
    fn any_bytes_are_read_the_same_however_they_are_cut(
        bytes in prop::collection::vec(prop::sample::select(b"+-:$*0123\r\nab".to_vec()), 0..60),
        pieces in 1..9usize,
    ) {
        let whole = read(&bytes, usize::MAX);
        let cut = read(&bytes, pieces);
        prop_assert_eq!(whole.is_err(), cut.is_err());
        if whole.is_ok() {
            prop_assert_eq!(whole, cut);
        }
    }
}

#[test]
fn a_simple_string_is_read_like_another() {
    assert_eq!(read(b"+OK\r\n", 2), Ok(vec![Value::Bytes(b"OK".to_vec())]));
    assert_eq!(read(b"*-1\r\n", 2), Ok(vec![Value::Nil]));
}

#[test]
fn a_command_is_an_array_of_strings() {
    let mut out = Vec::new();
    write_command(&mut out, [&b"GET"[..], b"0123456789"]);
    assert_eq!(out, b"*2\r\n$3\r\nGET\r\n$10\r\n0123456789\r\n");
}

#[test]
fn what_is_no_value_ends_the_connection() {
    let cases: [(&[u8], Malformed); 8] = [
        (b"!2\r\n", Malformed::Kind(b'!')),
        (b":1x\r\n", Malformed::Number),
        (b"$-2\r\n", Malformed::Number),
        (b"$2\r\nabc\r\n", Malformed::End),
        (b"$2000000\r\n", Malformed::TooLong),
        (b"*2000000\r\n", Malformed::TooLong),
        (&b"*1\r\n".repeat(17), Malformed::Depth),
        (&[b'+'; 70_000], Malformed::TooLong),
    ];
    for (bytes, expected) in cases {
        assert_eq!(
            read(bytes, 7),
            Err(expected),
            "{:?}",
            bytes.escape_ascii().to_string()
        );
    }
}

#[test]
fn the_strings_of_an_answer_count_together() {
    let mut bytes = b"*3\r\n".to_vec();
    for _ in 0..3 {
        write_part(&mut bytes, &[b'x'; 400 * 1024]);
    }
    assert_eq!(read(&bytes, 10_000), Err(Malformed::TooLong));
}
