//! A stream whose reader must take what is written: who does not is cut off.

use std::io::{self, IoSlice};
use std::pin::Pin;
use std::task::{Context, Poll, ready};
use std::time::Duration;

use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::time::{Sleep, sleep};

use super::seats::Seat;

/// Time in which a reader takes all that is offered to it, or [`TAKEN_MIN`] bytes.
const STALL_MAX: Duration = Duration::from_secs(30);
/// Bytes that count as progress where more is on offer: some 2 KiB a second.
const TAKEN_MIN: usize = 64 << 10;

/// A stream with a bound on the time that its writes take.
pub(super) struct Timed<S> {
    stream: S,
    seat: Seat,
    /// Runs while the reader has not taken enough; none while nothing waits for it.
    stall: Option<Pin<Box<Sleep>>>,
    /// Bytes taken since it runs.
    taken: usize,
}

impl<S> Timed<S> {
    pub(super) fn new(stream: S, seat: Seat) -> Self {
        Self { stream, seat, stall: None, taken: 0 }
    }

    /// Notes what came of a write of `offered` bytes.
    fn note(
        &mut self,
        context: &mut Context<'_>,
        written: Poll<io::Result<usize>>,
        offered: usize,
    ) -> Poll<io::Result<usize>> {
        match written {
            Poll::Pending => {
                ready!(self.wait(context))?;
                Poll::Pending
            }
            Poll::Ready(Ok(len)) => {
                self.seat.touch();
                self.taken = self.taken.saturating_add(len);
                if len == offered || self.taken >= TAKEN_MIN {
                    self.rest();
                }
                Poll::Ready(Ok(len))
            }
            Poll::Ready(Err(error)) => Poll::Ready(Err(error)),
        }
    }

    /// Pending until the reader has had its time.
    fn wait(&mut self, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        let stall = self.stall.get_or_insert_with(|| Box::pin(sleep(STALL_MAX)));
        ready!(stall.as_mut().poll(context));
        Poll::Ready(Err(io::ErrorKind::TimedOut.into()))
    }

    fn rest(&mut self) {
        (self.stall, self.taken) = (None, 0);
    }
}

impl<S: AsyncRead + Unpin> AsyncRead for Timed<S> {
    fn poll_read(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        let before = buffer.filled().len();
        let read = Pin::new(&mut self.stream).poll_read(context, buffer);
        // Not a head that comes a byte at a time: that has a bound of its own.
        if buffer.filled().len() >= before + 1_024 {
            self.seat.touch();
        }
        read
    }
}

impl<S: AsyncWrite + Unpin> AsyncWrite for Timed<S> {
    fn poll_write(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        bytes: &[u8],
    ) -> Poll<io::Result<usize>> {
        let written = Pin::new(&mut self.stream).poll_write(context, bytes);
        self.note(context, written, bytes.len())
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        slices: &[IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        let written = Pin::new(&mut self.stream).poll_write_vectored(context, slices);
        self.note(context, written, slices.iter().map(|slice| slice.len()).sum())
    }

    fn is_write_vectored(&self) -> bool {
        self.stream.is_write_vectored()
    }

    fn poll_flush(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        let flushed = Pin::new(&mut self.stream).poll_flush(context);
        if flushed.is_pending() {
            return self.wait(context);
        }
        // All that was offered before is on its way.
        self.rest();
        flushed
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        let done = Pin::new(&mut self.stream).poll_shutdown(context);
        if done.is_pending() { self.wait(context) } else { done }
    }
}
