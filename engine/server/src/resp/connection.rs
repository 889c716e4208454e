//! One client's conversation: reads, runs what has come whole, writes.
//!
//! A turn reads once, runs a batch of commands under its thread's lane, and writes their replies.
//! Short replies are written only when the thread's other clients that had sent something have had
//! their turn too: clients that share a processor or a thread then wake to many replies instead of
//! one. What the client does not take waits in the output; while much waits, nothing more is run,
//! so a client that asks without listening stops itself. One that listens to nothing for a minute
//! is cut off. Messages out of turn follow the replies of the batch at hand.
//!
//! Cost of a turn without pipelining: one read, one write, one lock without contention.

use std::future::poll_fn;
use std::pin::{Pin, pin};
use std::sync::Arc;
use std::sync::atomic::Ordering::Relaxed;
use std::task::{Context, Poll};
use std::time::Duration;

use tokio::io::{AsyncRead, AsyncWrite, AsyncWriteExt};
use tokio::time::{Instant, Sleep, sleep_until, timeout};

use crate::clients::Client;
use crate::commands::{self, Flow, Session};
use crate::lanes::Shared;
use crate::resp::front::{Excess, Front};
use crate::resp::lookout;
use crate::resp::reply::Reply;
use crate::resp::request::{Parsed, Parser, Trust, Words};
use crate::resp::wire::Wire;

#[cfg(test)]
mod tests;

/// Commands that run before the thread's other clients have their turn.
const BATCH_COMMANDS_MAX: usize = 1024;
/// Bytes of replies after which the same.
const BATCH_BYTES_MAX: usize = 256 << 10;
/// Time that a client may take next to nothing while replies wait.
const STALL_MAX: Duration = Duration::from_secs(60);
/// Bytes that a client has to take in that time, where so many wait.
const STALL_BYTES_MIN: usize = 64 << 10;
/// Bytes of replies that wait for the thread's other clients; longer ones fill a buffer that the others
/// could use.
const HELD_BACK_MAX: usize = 4 << 10;
/// Bytes of input beyond which a connection that waits for the end of a pause reads no more.
const PAUSE_INPUT_MAX: usize = 64 << 10;
/// Time that a client who broke the protocol has to read why.
const FAREWELL_MAX: Duration = Duration::from_secs(1);
/// Words of a command that need no allocation.
const WORDS_ON_STACK: usize = 8;
/// One command in so many is timed.
const TIMED_EVERY: u32 = 64;
/// Longer than any connection.
const FOREVER: Duration = Duration::from_secs(60 * 60 * 24 * 365);

/// Goes on when all that was ready before has had its turn; unlike a yield, not after another look at
/// the sockets.
fn let_others() -> impl Future<Output = ()> {
    let mut had_theirs = false;
    poll_fn(move |cx| {
        if std::mem::replace(&mut had_theirs, true) {
            return Poll::Ready(());
        }
        cx.waker().wake_by_ref();
        Poll::Pending
    })
}

/// What is to be done after a batch.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Turn {
    /// Nothing whole is left.
    Wait,
    /// More may be whole; others first.
    Yield,
    /// The client asked to end, or was told to.
    Close,
    /// What it sends cannot be understood.
    Broken,
    /// The next command has to wait until others let it run.
    Pause,
}

/// What woke a connection.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Event {
    /// Bytes have come.
    Input,
    /// No more will come.
    End,
    /// Something was posted, or the client is to end.
    Woken,
    /// There is room for replies again.
    Room,
    /// It has been silent for too long.
    Idle,
    /// It has not listened for too long.
    Stalled,
}

/// One client's connection.
pub(crate) struct Connection<'a, S> {
    front: &'a Front,
    lane: usize,
    session: Session,
    parser: Parser,
    words: Words,
    wire: Wire<S>,
    /// Bytes that the request at hand lacks at least.
    missing: usize,
    /// Commands run, wrapping.
    ran: u32,
    /// No more input will come.
    ended: bool,
    /// When it last sent something, or its patience was changed; kept only where there is an idle
    /// time-out.
    active: Instant,
    /// Silence after which it ends, zero for never, as it was when last looked at.
    idle_timeout: Duration,
    /// Since when it has taken next to nothing of what waits, and how many bytes it has taken since.
    stalled: Option<(Instant, usize)>,
    excess: Excess<'a>,
}

impl<'a, S: AsyncRead + AsyncWrite + Unpin> Connection<'a, S> {
    /// A connection of `client` over `stream`, on the thread with this lane.
    pub(crate) fn new(front: &'a Front, client: Arc<Client>, stream: S, lane: usize) -> Self {
        let service = front.service();
        let excess = Excess::new(front, Arc::clone(&client));
        Self {
            front,
            lane,
            session: Session::new(client, service),
            parser: Parser::new(&service.settings.limits),
            words: Words::default(),
            wire: Wire::new(stream),
            missing: 1,
            ran: 0,
            ended: false,
            active: Instant::now(),
            idle_timeout: service.tunables.idle_timeout(),
            stalled: None,
            excess,
        }
    }

    /// Talks until one of the two ends it.
    pub(crate) async fn run(mut self) {
        let client = Arc::clone(&self.session.client);
        // Whatever breaks the socket ends the conversation; there is nobody left to tell.
        let _ = self.talk(&client).await;
        self.wire.count(&self.front.service().counters, 0);
    }

    async fn talk(&mut self, client: &Client) -> std::io::Result<()> {
        let mut woken = pin!(client.woken());
        let mut timer = pin!(sleep_until(Instant::now() + FOREVER));
        loop {
            let turn = if client.is_closing() {
                return self.close(client).await;
            } else if self.may_run() {
                // What was posted before the commands came is read before their replies.
                client.collect(self.wire.output());
                let turn = self.batch();
                client.collect(self.wire.output());
                turn
            } else {
                Turn::Wait
            };
            match turn {
                // Too much waits for it, so that it will not hear the rest.
                Turn::Close if client.is_overrun() => return self.close(client).await,
                Turn::Close | Turn::Broken => {
                    // From here on it hears nothing more, and whoever sends it something is to know.
                    client.close();
                    // Unread input would take what is still on its way to the client.
                    return self.farewell().await;
                }
                Turn::Yield => {
                    poll_fn(|cx| Poll::Ready(self.send(cx))).await?;
                    tokio::task::yield_now().await;
                    continue;
                }
                Turn::Pause => {
                    let waited = self.wait_for_others(woken.as_mut(), timer.as_mut()).await?;
                    self.active = Instant::now();
                    match waited {
                        Event::Woken => woken.set(client.woken()),
                        Event::End => return self.flush().await,
                        Event::Stalled => return self.give_up(),
                        Event::Input | Event::Room | Event::Idle => {}
                    }
                    continue;
                }
                Turn::Wait if self.ended && self.may_run() => return self.flush().await,
                Turn::Wait => {}
            }
            if (1..=HELD_BACK_MAX).contains(&self.wire.waiting()) && self.stalled.is_none() {
                self.wire.make_small();
                let_others().await;
            }
            let event = poll_fn(|cx| {
                let event = self.poll_event(cx, timer.as_mut());
                if event.is_pending() && woken.as_mut().poll(cx).is_ready() {
                    woken.set(client.woken());
                    return Poll::Ready(Ok(Event::Woken));
                }
                event
            });
            match event.await? {
                Event::Input | Event::Woken | Event::Room => {}
                Event::End => self.ended = true,
                Event::Idle => return self.flush().await,
                Event::Stalled => return self.give_up(),
            }
        }
    }

    /// Ends a conversation with somebody who does not listen.
    fn give_up(&self) -> std::io::Result<()> {
        self.front.service().counters.slow_clients.fetch_add(1, Relaxed);
        Ok(())
    }

    /// Runs what has come whole, up to a batch.
    fn batch(&mut self) -> Turn {
        if self.wire.has_input() {
            let before = self.ran;
            let turn = self.run_input();
            // Who pipelines sends enough at a time: nobody need wait awake for more.
            if self.ran.wrapping_sub(before) == 1 {
                lookout::note();
            }
            commands::settle(self.front.service(), &mut self.session);
            turn
        } else {
            Turn::Wait
        }
    }

    fn run_input(&mut self) -> Turn {
        let Self { front, session, parser, words, wire, ran, .. } = self;
        let service = front.service();
        let (input, used, output) = wire.ends();
        let bytes_max = output.len() + BATCH_BYTES_MAX;
        parser.set_bulk_bytes_max(service.tunables.bulk_bytes_max());
        let mut lane: Option<Shared<'_>> = None;
        // The end of the input that was looked through for keys.
        let mut seen = 0;
        for _ in 0..BATCH_COMMANDS_MAX {
            let trust = if session.role.is_some() { Trust::Known } else { Trust::Stranger };
            parser.set_trust(trust);
            let rest = input.get(*used..).unwrap_or_default();
            let len = match parser.parse(rest, words) {
                Ok(Parsed::Request(len)) => len,
                Ok(Parsed::Nothing(len)) => {
                    *used += len;
                    continue;
                }
                Ok(Parsed::Incomplete(missing)) => {
                    self.missing = missing;
                    return Turn::Wait;
                }
                Err(error) => {
                    Reply::new(output, session.protocol).error(&error.to_string());
                    return Turn::Broken;
                }
            };
            if *used >= seen && rest.len() > len && trust == Trust::Known {
                seen = *used + commands::expect(service, session, rest);
            }
            *used += len;
            let mut few: [&[u8]; WORDS_ON_STACK] = [&[]; WORDS_ON_STACK];
            let many: Vec<&[u8]>;
            let found = words.iter(rest);
            let call = match few.get_mut(..found.len()) {
                Some(few) => {
                    few.iter_mut().zip(found).for_each(|(slot, word)| *slot = word);
                    &*few
                }
                None => {
                    many = found.collect();
                    &many[..]
                }
            };
            *ran = ran.wrapping_add(1);
            let timed = (*ran % TIMED_EVERY == 0).then(Instant::now);
            let flow = if commands::is_alone(session, call) {
                drop(lane.take());
                let _alone = service.lanes.alone();
                commands::execute(service, session, call, output)
            } else {
                lane.get_or_insert_with(|| service.lanes.shared(self.lane));
                commands::execute(service, session, call, output)
            };
            if let Some(start) = timed {
                service.latency.note_times(start.elapsed(), u64::from(TIMED_EVERY));
            }
            match flow {
                Flow::Continue => {}
                Flow::Close => return Turn::Close,
                Flow::Pause | Flow::Again => {
                    *used -= len;
                    return if flow == Flow::Pause { Turn::Pause } else { Turn::Yield };
                }
            }
            if output.len() > bytes_max {
                break;
            }
        }
        Turn::Yield
    }

    /// Sends what it can until the pause is over, or the client is woken, has gone, or does not listen.
    async fn wait_for_others(
        &mut self,
        mut woken: Pin<&mut impl Future<Output = ()>>,
        mut timer: Pin<&mut Sleep>,
    ) -> std::io::Result<Event> {
        let front = self.front;
        let mut over = pin!(front.service().pause.over());
        poll_fn(|cx| {
            self.send(cx)?;
            // Only who reads sees that the client has gone.
            while self.wire.unread() < PAUSE_INPUT_MAX
                && let Poll::Ready(len) = self.wire.poll_receive(cx, 1)?
            {
                if len == 0 {
                    return Poll::Ready(Ok(Event::End));
                }
            }
            if woken.as_mut().poll(cx).is_ready() {
                return Poll::Ready(Ok(Event::Woken));
            }
            if let Some((since, _)) = self.stalled {
                timer.as_mut().reset(since + STALL_MAX);
                if timer.as_mut().poll(cx).is_ready() {
                    return Poll::Ready(Ok(Event::Stalled));
                }
            }
            over.as_mut().poll(cx).map(|()| Ok(Event::Room))
        })
        .await
    }

    /// Sends what it can, then sees whether there is something to do.
    fn poll_event(
        &mut self,
        cx: &mut Context<'_>,
        mut timer: Pin<&mut Sleep>,
    ) -> Poll<std::io::Result<Event>> {
        let could_run = self.may_run();
        self.send(cx)?;
        if !could_run && self.may_run() {
            return Poll::Ready(Ok(Event::Room));
        }
        if self.may_run()
            && !self.ended
            && let Poll::Ready(len) = self.wire.poll_receive(cx, self.missing)?
        {
            if self.has_idle_timeout() {
                self.active = Instant::now();
            }
            self.wire.count(&self.front.service().counters, Wire::<S>::COUNT_EVERY_BYTES);
            self.excess.hold(self.wire.held_bytes());
            return Poll::Ready(Ok(if len == 0 { Event::End } else { Event::Input }));
        }
        let idle_timeout = self.front.service().tunables.idle_timeout();
        if idle_timeout != self.idle_timeout {
            (self.idle_timeout, self.active) = (idle_timeout, Instant::now());
        }
        while let Some((deadline, event)) = self.deadline() {
            if timer.is_elapsed() || deadline < timer.deadline() {
                timer.as_mut().reset(deadline);
            }
            if timer.as_mut().poll(cx).is_pending() {
                break;
            }
            if Instant::now() < deadline {
                timer.as_mut().reset(deadline);
            } else if event == Event::Idle && self.session.subscriptions.any() {
                // Who listens to others need not speak.
                self.active = Instant::now();
            } else {
                return Poll::Ready(Ok(event));
            }
        }
        if !self.wire.has_input() {
            self.words.rest();
        }
        self.wire.rest();
        let (len, room) = self.wire.held();
        self.session.client.note_query(len, room);
        Poll::Pending
    }

    /// Writes what the client takes at once, and notes since when it takes nothing.
    fn send(&mut self, cx: &mut Context<'_>) -> std::io::Result<()> {
        if self.wire.waiting() == 0 && !self.wire.is_unflushed() {
            return Ok(());
        }
        let len = self.wire.poll_send(cx)?;
        let waiting = self.wire.waiting();
        if waiting == 0 {
            self.stalled = None;
        } else {
            let taken = self.stalled.map_or(usize::MAX, |(_, before)| before + len);
            if taken >= STALL_BYTES_MIN {
                self.stalled = Some((Instant::now(), 0));
            } else if let Some((_, before)) = &mut self.stalled {
                *before = taken;
            }
        }
        self.excess.set(waiting);
        self.excess.hold(self.wire.held_bytes());
        Ok(())
    }

    /// True while so little waits for the client that it may ask for more.
    fn may_run(&self) -> bool {
        self.excess.may_grow(self.wire.waiting())
    }

    fn has_idle_timeout(&self) -> bool {
        !self.idle_timeout.is_zero()
    }

    /// When patience ends, and what for.
    fn deadline(&self) -> Option<(Instant, Event)> {
        if let Some((since, _)) = self.stalled {
            return Some((since + STALL_MAX, Event::Stalled));
        }
        self.has_idle_timeout().then(|| (self.active + self.idle_timeout, Event::Idle))
    }

    /// Ends what another thread told to end, or for which too much waits: at once, unless the whole
    /// server stops, which still answers what has come.
    async fn close(&mut self, client: &Client) -> std::io::Result<()> {
        if client.is_overrun() {
            self.front.service().counters.slow_clients.fetch_add(1, Relaxed);
        }
        if client.is_overrun() || !self.front.is_draining() {
            return poll_fn(|cx| Poll::Ready(self.send(cx))).await;
        }
        while self.may_run() && self.batch() == Turn::Yield {
            tokio::task::yield_now().await;
        }
        client.collect(self.wire.output());
        self.flush().await
    }

    /// Writes everything, as long as the client takes it, and says that nothing follows.
    async fn flush(&mut self) -> std::io::Result<()> {
        let sent = poll_fn(|cx| {
            self.send(cx)?;
            let done = self.wire.waiting() == 0 && !self.wire.is_unflushed();
            if done { Poll::Ready(Ok::<(), std::io::Error>(())) } else { Poll::Pending }
        });
        if let Ok(sent) = timeout(STALL_MAX, sent).await {
            sent?;
            return self.wire.stream().shutdown().await;
        }
        self.front.service().counters.slow_clients.fetch_add(1, Relaxed);
        Ok(())
    }

    /// As `flush`; then waits for the client to go, for closing a socket with unread input would
    /// throw away what the client has not read.
    async fn farewell(&mut self) -> std::io::Result<()> {
        self.flush().await?;
        let discard = poll_fn(|cx| {
            loop {
                self.wire.discard_input();
                match self.wire.poll_receive(cx, 1) {
                    Poll::Ready(Ok(len)) if len > 0 => {}
                    Poll::Ready(_) => return Poll::Ready(()),
                    Poll::Pending => return Poll::Pending,
                }
            }
        });
        let _ = timeout(FAREWELL_MAX, discard).await;
        Ok(())
    }
}
