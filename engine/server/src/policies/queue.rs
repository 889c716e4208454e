//! One thread that does the uploads, one after the other, and a queue before it that has an end:
//! compiling takes up to a second, and must neither run on a thread that serves nor pile up.

use std::io;
use std::sync::mpsc::{Receiver, SyncSender, TrySendError, sync_channel};

/// A piece of work.
type Job = Box<dyn FnOnce() + Send>;

/// The queue before the thread. The thread ends when the queue is dropped and the last job is done.
pub(super) struct Queue {
    jobs: SyncSender<Job>,
}

/// The queue is full.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Full;

impl Queue {
    /// A queue for `waiting_max` jobs beside the one that runs.
    pub(super) fn try_start(waiting_max: usize) -> io::Result<Self> {
        let (jobs, inbox) = sync_channel(waiting_max);
        std::thread::Builder::new().name("ostler-compile".into()).spawn(move || work(inbox))?;
        Ok(Self { jobs })
    }

    /// Runs `job` on the thread; what it returns arrives at the receiver. A job that panics drops the
    /// sender.
    pub(super) fn run<T: Send + 'static>(
        &self,
        job: impl FnOnce() -> T + Send + 'static,
    ) -> Result<tokio::sync::oneshot::Receiver<T>, Full> {
        let (sender, receiver) = tokio::sync::oneshot::channel();
        let job = Box::new(move || {
            // A caller that went away wants no answer, and the upload counts all the same.
            let _ = sender.send(job());
        });
        match self.jobs.try_send(job) {
            Ok(()) => Ok(receiver),
            Err(TrySendError::Full(_) | TrySendError::Disconnected(_)) => Err(Full),
        }
    }
}

fn work(inbox: Receiver<Job>) {
    for job in inbox {
        if std::panic::catch_unwind(std::panic::AssertUnwindSafe(job)).is_err() {
            tracing::error!("the compiler panicked on an upload");
        }
    }
}

#[cfg(test)]
mod tests {
    use std::sync::mpsc::channel;

    use super::*;

    #[test]
    fn jobs_run_in_order_and_a_full_queue_says_so() {
        let queue = Queue::try_start(2).unwrap();
        let (entered, started) = channel();
        let (go, gate) = channel::<()>();
        let first = queue.run(move || {
            entered.send(()).unwrap();
            gate.recv().unwrap();
            1
        });
        started.recv().unwrap();
        let second = queue.run(|| 2);
        let third = queue.run(|| 3);
        assert_eq!(queue.run(|| 4).unwrap_err(), Full);
        go.send(()).unwrap();
        for (job, expected) in [first, second, third].into_iter().zip(1..) {
            assert_eq!(job.unwrap().blocking_recv(), Ok(expected));
        }
        assert_eq!(queue.run(|| 5).unwrap().blocking_recv(), Ok(5));
    }

    #[test]
    fn a_job_that_panics_takes_nobody_with_it() {
        let queue = Queue::try_start(2).unwrap();
        let broken = queue.run(|| Vec::<u8>::new()[0]).unwrap();
        assert!(broken.blocking_recv().is_err());
        assert_eq!(queue.run(|| 1).unwrap().blocking_recv(), Ok(1));
    }
}
