//! Redis's protocol, RESP2, without I/O: commands to bytes, and bytes to values.

/// What Redis answers.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Value {
    /// There is none.
    Nil,
    /// A number.
    Int(i64),
    /// A string, simple or with a length.
    Bytes(Vec<u8>),
    /// Several.
    Array(Vec<Value>),
    /// An error: a code in capital letters, then a sentence.
    Error(Box<str>),
}

impl Value {
    /// The bytes of a string.
    pub fn as_bytes(&self) -> Option<&[u8]> {
        match self {
            Value::Bytes(bytes) => Some(bytes),
            _ => None,
        }
    }

    /// A string that is text.
    pub fn as_str(&self) -> Option<&str> {
        self.as_bytes().and_then(|bytes| str::from_utf8(bytes).ok())
    }

    /// A number.
    pub fn as_int(&self) -> Option<i64> {
        match self {
            Value::Int(number) => Some(*number),
            _ => None,
        }
    }

    /// The elements of an array.
    pub fn as_array(&self) -> Option<&[Value]> {
        match self {
            Value::Array(values) => Some(values),
            _ => None,
        }
    }
}

/// Appends a command, which is an array of strings.
pub fn write_command<'a, I>(out: &mut Vec<u8>, parts: I)
where
    I: IntoIterator<Item = &'a [u8]>,
    I::IntoIter: ExactSizeIterator,
{
    let parts = parts.into_iter();
    write_length(out, b'*', parts.len());
    for part in parts {
        write_length(out, b'$', part.len());
        out.extend_from_slice(part);
        out.extend_from_slice(b"\r\n");
    }
}

/// Begins a command of `parts` parts, each of which follows by [`write_part`].
pub fn write_head(out: &mut Vec<u8>, parts: usize) {
    write_length(out, b'*', parts);
}

/// Appends a part of a command.
pub fn write_part(out: &mut Vec<u8>, part: &[u8]) {
    write_length(out, b'$', part.len());
    out.extend_from_slice(part);
    out.extend_from_slice(b"\r\n");
}

fn write_length(out: &mut Vec<u8>, kind: u8, length: usize) {
    let mut digits = [0; 20];
    let mut at = digits.len();
    let mut rest = length;
    loop {
        at -= 1;
        digits[at] = b'0' + (rest % 10) as u8;
        rest /= 10;
        if rest == 0 {
            break;
        }
    }
    out.push(kind);
    out.extend_from_slice(&digits[at..]);
    out.extend_from_slice(b"\r\n");
}

/// What came is no RESP2, or more than may come: the connection is of no use any more.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Malformed {
    /// A byte that begins no value.
    Kind(u8),
    /// A length or number that is none.
    Number,
    /// A string that does not end where it should.
    End,
    /// Arrays in arrays, deeper than [`Reader::DEPTH`].
    Depth,
    /// A line or an answer that is longer than allowed.
    TooLong,
}

/// Takes values out of bytes that come in pieces. What has been read of a long array is not read again.
#[derive(Debug)]
pub struct Reader {
    buffer: Vec<u8>,
    /// Up to here the buffer has been read.
    at: usize,
    /// Arrays that are begun, and how many elements each still lacks.
    open: Vec<(Vec<Value>, usize)>,
    /// Bytes of the value that is being read.
    taken: usize,
    /// How many a value may have.
    most: usize,
}

impl Reader {
    /// Arrays in arrays.
    pub const DEPTH: usize = 16;
    /// Bytes of a line: an error sentence, a number, a simple string.
    const LINE: usize = 64 * 1024;
    /// Bytes for which there is place before a read.
    const READ: usize = 4 * 1024;
    /// Elements of an array for which memory is taken at once. More take it as they come.
    const AHEAD: usize = 256;

    /// Reads values of at most `most` bytes each.
    pub fn new(most: usize) -> Self {
        Self {
            buffer: Vec::new(),
            at: 0,
            open: Vec::new(),
            taken: 0,
            most,
        }
    }

    /// Where bytes that have come are appended.
    pub fn buffer(&mut self) -> &mut Vec<u8> {
        if self.at > 0 {
            self.buffer.drain(..self.at);
            self.at = 0;
        }
        if self.buffer.is_empty() && self.buffer.capacity() > Self::LINE {
            self.buffer = Vec::new();
        }
        self.buffer.reserve(Self::READ);
        &mut self.buffer
    }

    /// The next value, if all of it is there.
    ///
    /// # Errors
    ///
    /// See [`Malformed`]. Nothing may be read afterwards.
    pub fn read(&mut self) -> Result<Option<Value>, Malformed> {
        loop {
            let Some(value) = self.element()? else {
                return Ok(None);
            };
            if let Some(whole) = self.put(value) {
                self.taken = 0;
                return Ok(Some(whole));
            }
        }
    }

    /// Puts a value where it belongs: it is whole if no array is open any more.
    fn put(&mut self, value: Element) -> Option<Value> {
        let mut value = match value {
            Element::Array(0) => Value::Array(Vec::new()),
            Element::Array(length) => {
                let values = Vec::with_capacity(length.min(Self::AHEAD));
                self.open.push((values, length));
                return None;
            }
            Element::Value(value) => value,
        };
        loop {
            let Some((values, lacking)) = self.open.last_mut() else {
                return Some(value);
            };
            values.push(value);
            *lacking -= 1;
            if *lacking > 0 {
                return None;
            }
            value = match self.open.pop() {
                Some((values, _)) => Value::Array(values),
                None => return None,
            };
        }
    }

    fn element(&mut self) -> Result<Option<Element>, Malformed> {
        let rest = &self.buffer[self.at..];
        let Some(&kind) = rest.first() else {
            return Ok(None);
        };
        if !matches!(kind, b'+' | b'-' | b':' | b'$' | b'*') {
            return Err(Malformed::Kind(kind));
        }
        let Some(end) = line_end(rest) else {
            return match rest.len() > Self::LINE {
                true => Err(Malformed::TooLong),
                false => Ok(None),
            };
        };
        let line = &rest[1..end];
        let mut length = end + 2;
        let element = match kind {
            b'+' => Element::Value(Value::Bytes(line.to_vec())),
            b'-' => Element::Value(Value::Error(String::from_utf8_lossy(line).into())),
            b':' => Element::Value(Value::Int(number(line)?)),
            b'$' => match size(line, self.most)? {
                None => Element::Value(Value::Nil),
                Some(size) => {
                    if self.taken + length + size > self.most {
                        return Err(Malformed::TooLong);
                    }
                    let Some(bytes) = rest.get(length..length + size + 2) else {
                        return Ok(None);
                    };
                    let Some(bytes) = bytes.strip_suffix(b"\r\n") else {
                        return Err(Malformed::End);
                    };
                    length += size + 2;
                    Element::Value(Value::Bytes(bytes.to_vec()))
                }
            },
            _ => match size(line, self.most)? {
                None => Element::Value(Value::Nil),
                Some(_) if self.open.len() == Self::DEPTH => return Err(Malformed::Depth),
                Some(size) => Element::Array(size),
            },
        };
        self.taken += length;
        self.at += length;
        match self.taken > self.most {
            true => Err(Malformed::TooLong),
            false => Ok(Some(element)),
        }
    }
}

enum Element {
    Value(Value),
    /// So many elements follow.
    Array(usize),
}

fn line_end(bytes: &[u8]) -> Option<usize> {
    let mut from = 0;
    loop {
        let at = from + bytes[from..].iter().position(|&byte| byte == b'\r')?;
        match bytes.get(at + 1)? {
            b'\n' => return Some(at),
            _ => from = at + 1,
        }
    }
}

fn number(line: &[u8]) -> Result<i64, Malformed> {
    let text = str::from_utf8(line).map_err(|_| Malformed::Number)?;
    text.parse().map_err(|_| Malformed::Number)
}

/// A length; `None`: -1, for what is not there.
fn size(line: &[u8], most: usize) -> Result<Option<usize>, Malformed> {
    match number(line)? {
        -1 => Ok(None),
        length => match usize::try_from(length) {
            Ok(length) if length <= most => Ok(Some(length)),
            Ok(_) => Err(Malformed::TooLong),
            Err(_) => Err(Malformed::Number),
        },
    }
}

#[cfg(test)]
mod tests;
