//! A stream with the bytes that came from it and those that wait for it.

use std::io;
use std::pin::{Pin, pin};
use std::sync::atomic::Ordering::Relaxed;
use std::task::{Context, Poll, ready};

use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite};

use crate::resp::buffers::{self, BUFFER_BYTES};
use crate::service::Counters;

/// Room below which a read is not worth its call.
const ROOM_MIN: usize = 4 << 10;

/// A stream and its two buffers.
pub(crate) struct Wire<S> {
    stream: S,
    input: Vec<u8>,
    /// Bytes of the input that were used.
    used: usize,
    output: Vec<u8>,
    /// Bytes of the output that were sent.
    sent: usize,
    /// The stream itself may hold something back.
    unflushed: bool,
    bytes_in: u64,
    bytes_out: u64,
}

impl<S: AsyncRead + AsyncWrite + Unpin> Wire<S> {
    /// Traffic after which it is counted: seldom enough that threads do not fight over the counters.
    pub(crate) const COUNT_EVERY_BYTES: u64 = 16 << 10;

    pub(crate) fn new(stream: S) -> Self {
        Self {
            stream,
            input: Vec::new(),
            used: 0,
            output: Vec::new(),
            sent: 0,
            unflushed: false,
            bytes_in: 0,
            bytes_out: 0,
        }
    }

    pub(crate) fn stream(&mut self) -> &mut S {
        &mut self.stream
    }

    /// The input, how much of it was used, and the output to append to.
    pub(crate) fn ends(&mut self) -> (&[u8], &mut usize, &mut Vec<u8>) {
        self.make_room();
        (&self.input, &mut self.used, &mut self.output)
    }

    /// The output, to append to.
    pub(crate) fn output(&mut self) -> &mut Vec<u8> {
        self.make_room();
        &mut self.output
    }

    /// Bytes that wait to be sent.
    pub(crate) fn waiting(&self) -> usize {
        self.output.len() - self.sent
    }

    /// Bytes in both buffers: input that was not used, output that was not sent.
    pub(crate) fn held_bytes(&self) -> usize {
        self.input.len() - self.used + self.waiting()
    }

    /// Bytes of input that were not used.
    pub(crate) fn unread(&self) -> usize {
        self.input.len() - self.used
    }

    /// True while the stream may hold back what was sent.
    pub(crate) fn is_unflushed(&self) -> bool {
        self.unflushed
    }

    /// True where some input was not used.
    pub(crate) fn has_input(&self) -> bool {
        self.used < self.input.len()
    }

    /// Drops all input.
    pub(crate) fn discard_input(&mut self) {
        self.used = self.input.len();
    }

    /// Reads once, into room for `missing` bytes where so many are worth reserving: never more than
    /// twice what has come, however much was announced.
    pub(crate) fn poll_receive(
        &mut self,
        cx: &mut Context<'_>,
        missing: usize,
    ) -> Poll<io::Result<usize>> {
        if self.used > 0 {
            self.input.drain(..self.used);
            self.used = 0;
        }
        buffers::lend(&mut self.input);
        if self.input.capacity() - self.input.len() < missing.max(ROOM_MIN) {
            self.input.reserve(missing.clamp(ROOM_MIN, self.input.len().max(BUFFER_BYTES)));
        }
        let len = ready!(pin!(self.stream.read_buf(&mut self.input)).poll(cx))?;
        self.bytes_in += len as u64;
        Poll::Ready(Ok(len))
    }

    /// Writes as much as the stream takes; how many bytes.
    pub(crate) fn poll_send(&mut self, cx: &mut Context<'_>) -> io::Result<usize> {
        let before = self.sent;
        while let Some(rest) = self.output.get(self.sent..).filter(|rest| !rest.is_empty()) {
            match Pin::new(&mut self.stream).poll_write(cx, rest)? {
                Poll::Ready(0) => return Err(io::ErrorKind::WriteZero.into()),
                Poll::Ready(len) => self.sent += len,
                Poll::Pending => break,
            }
        }
        let len = self.sent - before;
        self.bytes_out += len as u64;
        if len > 0 || self.unflushed {
            self.unflushed = Pin::new(&mut self.stream).poll_flush(cx)?.is_pending();
        }
        if self.sent == self.output.len() {
            self.output.clear();
            self.sent = 0;
        }
        Ok(len)
    }

    /// Before others have their turn: keeps what waits in as little memory as it takes, so that they
    /// have the buffers.
    pub(crate) fn make_small(&mut self) {
        self.rest_input();
        if self.output.capacity() >= BUFFER_BYTES {
            let small = self.output[self.sent..].to_vec();
            self.sent = 0;
            self.output.clear();
            buffers::give_back(&mut self.output);
            self.output = small;
        }
    }

    /// Before a wait: hands empty buffers back.
    pub(crate) fn rest(&mut self) {
        self.rest_input();
        buffers::give_back(&mut self.output);
    }

    fn rest_input(&mut self) {
        if self.used == self.input.len() {
            self.input.clear();
            self.used = 0;
        }
        buffers::give_back(&mut self.input);
    }

    /// Bytes of the input that were not used, and room for more.
    pub(crate) fn held(&self) -> (usize, usize) {
        (self.input.len() - self.used, self.input.capacity() - self.input.len())
    }

    /// Adds the traffic since the last time, if it is at least so many bytes.
    pub(crate) fn count(&mut self, counters: &Counters, bytes_min: u64) {
        if self.bytes_in + self.bytes_out >= bytes_min {
            counters.bytes_in.fetch_add(std::mem::take(&mut self.bytes_in), Relaxed);
            counters.bytes_out.fetch_add(std::mem::take(&mut self.bytes_out), Relaxed);
        }
    }

    /// Takes away what was sent, once that is worth the move.
    fn make_room(&mut self) {
        buffers::lend(&mut self.output);
        if self.sent > self.waiting() {
            self.output.drain(..self.sent);
            self.sent = 0;
        }
    }
}
