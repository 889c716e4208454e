//! Replies in RESP2 or RESP3, written straight into a connection's output.

use crate::resp::reply::Protocol::{Resp2, Resp3};

/// The protocol that a client speaks.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Protocol {
    /// What a client speaks until it says `HELLO 3`.
    #[default]
    Resp2,
    /// With maps, sets, doubles and pushes.
    Resp3,
}

/// Writes replies to the end of a buffer. One call is one reply, or the head of one whose parts
/// follow by calls of their own.
pub struct Reply<'a> {
    out: &'a mut Vec<u8>,
    protocol: Protocol,
}

impl<'a> Reply<'a> {
    /// Replies into `out`.
    pub fn new(out: &'a mut Vec<u8>, protocol: Protocol) -> Self {
        Self { out, protocol }
    }

    /// The protocol.
    #[must_use]
    pub fn protocol(&self) -> Protocol {
        self.protocol
    }

    /// Another protocol for what follows.
    pub fn set_protocol(&mut self, protocol: Protocol) {
        self.protocol = protocol;
    }

    /// Bytes written so far, with what was there before.
    #[must_use]
    pub fn len(&self) -> usize {
        self.out.len()
    }

    /// True where nothing was written.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.out.is_empty()
    }

    /// Takes back everything beyond `len` bytes.
    pub fn truncate(&mut self, len: usize) {
        self.out.truncate(len);
    }

    /// Where it writes, for whole replies by others.
    pub(crate) fn buffer(&mut self) -> &mut Vec<u8> {
        self.out
    }

    /// Bytes as they are: a whole reply made elsewhere.
    pub fn raw(&mut self, bytes: &[u8]) {
        self.out.extend_from_slice(bytes);
    }

    /// `+OK`.
    pub fn ok(&mut self) {
        self.raw(b"+OK\r\n");
    }

    /// A simple string; `text` has no line ends.
    pub fn simple(&mut self, text: &str) {
        self.line(b'+', text.as_bytes());
    }

    /// An error, with its code first: `ERR no such key`. Line ends become spaces.
    pub fn error(&mut self, text: &str) {
        self.out.push(b'-');
        self.out.extend(
            text.bytes().map(|byte| if matches!(byte, b'\r' | b'\n') { b' ' } else { byte }),
        );
        self.raw(b"\r\n");
    }

    /// An integer.
    pub fn integer(&mut self, number: i64) {
        self.head(b':', number);
    }

    /// True or false: `:1`, `:0` or `#t`, `#f`.
    pub fn boolean(&mut self, truth: bool) {
        self.raw(match (self.protocol, truth) {
            (Resp2, false) => b":0\r\n",
            (Resp2, true) => b":1\r\n",
            (Resp3, false) => b"#f\r\n",
            (Resp3, true) => b"#t\r\n",
        });
    }

    /// A string of bytes.
    #[inline]
    pub fn bulk(&mut self, bytes: &[u8]) {
        self.head(b'$', bytes.len() as i64);
        self.out.extend_from_slice(bytes);
        self.raw(b"\r\n");
    }

    /// A text for people: `txt` in RESP3.
    pub fn verbatim(&mut self, text: &str) {
        match self.protocol {
            Resp2 => self.bulk(text.as_bytes()),
            Resp3 => {
                self.head(b'=', text.len() as i64 + 4);
                self.raw(b"txt:");
                self.raw(text.as_bytes());
                self.raw(b"\r\n");
            }
        }
    }

    /// A number with a fraction, as Redis writes it (17 significant digits at most).
    pub fn double(&mut self, number: f64) {
        let text = format!("{number}");
        match self.protocol {
            Resp2 => self.bulk(text.as_bytes()),
            Resp3 => self.line(b',', text.as_bytes()),
        }
    }

    /// No value.
    #[inline]
    pub fn null(&mut self) {
        self.raw(match self.protocol {
            Resp2 => b"$-1\r\n",
            Resp3 => b"_\r\n",
        });
    }

    /// No array.
    pub fn null_array(&mut self) {
        self.raw(match self.protocol {
            Resp2 => b"*-1\r\n",
            Resp3 => b"_\r\n",
        });
    }

    /// The head of an array of `len` replies.
    pub fn array(&mut self, len: usize) {
        self.head(b'*', len as i64);
    }

    /// The head of a map of `len` pairs of replies.
    pub fn map(&mut self, len: usize) {
        match self.protocol {
            Resp2 => self.head(b'*', len as i64 * 2),
            Resp3 => self.head(b'%', len as i64),
        }
    }

    /// The head of a set of `len` replies.
    pub fn set(&mut self, len: usize) {
        match self.protocol {
            Resp2 => self.head(b'*', len as i64),
            Resp3 => self.head(b'~', len as i64),
        }
    }

    /// The head of a message out of turn, of `len` replies.
    pub fn push(&mut self, len: usize) {
        match self.protocol {
            Resp2 => self.head(b'*', len as i64),
            Resp3 => self.head(b'>', len as i64),
        }
    }

    fn line(&mut self, mark: u8, text: &[u8]) {
        self.out.push(mark);
        self.out.extend_from_slice(text);
        self.raw(b"\r\n");
    }

    #[inline]
    fn head(&mut self, mark: u8, number: i64) {
        let mut digits = itoa::Buffer::new();
        self.line(mark, digits.format(number).as_bytes());
    }
}
