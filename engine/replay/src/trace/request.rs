//! One request of a trace, in 24 bytes.
//!
//! Owns the record that every reader produces and the replay loop consumes. It knows no format.

/// What a record of a trace does to the cache.
///
/// Gets and sets are both *requests*: a hit if the key is resident, otherwise a miss that inserts
/// it. Traces of most formats hold nothing else; only the key-value formats know deletes.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Operation {
    /// A read; on a miss the entry is inserted.
    Get,
    /// A write; counts as a request like a read, the way libCacheSim counts it.
    Set,
    /// A removal by the user: no request, neither hit nor miss.
    Delete,
}

/// Bits of the time word that hold the operation.
const OPERATION_BITS: u32 = 2;

/// One record of a trace. 24 bytes, so a million of them take 24 MB.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Request {
    /// Milliseconds since the first request above, the operation in the two lowest bits.
    time_and_operation: u64,
    /// The key: the trace's own number, or the hash of the trace's string.
    pub key: u64,
    /// Bytes of key and value as far as the trace tells; may be 0, saturates at `u32::MAX`.
    pub size: u32,
    /// What a miss costs to load, microseconds; 0 if the trace does not say.
    pub cost_us: u32,
}

const _: () = assert!(size_of::<Request>() == 24);

impl Request {
    /// The latest time a request can have: 2^62 − 1 milliseconds, 146 million years.
    pub const TIME_MS_MAX: u64 = u64::MAX >> OPERATION_BITS;

    /// A get of `key` with `size` bytes, `time_ms` milliseconds after the first request of the
    /// trace (saturating at [`TIME_MS_MAX`](Self::TIME_MS_MAX)), its cost unknown.
    #[inline]
    #[must_use]
    pub const fn get(time_ms: u64, key: u64, size: u32) -> Self {
        let time_ms = if time_ms > Self::TIME_MS_MAX { Self::TIME_MS_MAX } else { time_ms };
        Self { time_and_operation: time_ms << OPERATION_BITS, key, size, cost_us: 0 }
    }

    /// The same request with another operation.
    #[inline]
    #[must_use]
    pub const fn with_operation(self, operation: Operation) -> Self {
        let code = match operation {
            Operation::Get => 0,
            Operation::Set => 1,
            Operation::Delete => 2,
        };
        let time = self.time_and_operation >> OPERATION_BITS << OPERATION_BITS;
        Self { time_and_operation: time | code, ..self }
    }

    /// The same request with a cost in microseconds.
    #[inline]
    #[must_use]
    pub const fn with_cost_us(self, cost_us: u32) -> Self {
        Self { cost_us, ..self }
    }

    /// The same request at another time, which saturates as in [`get`](Self::get).
    #[inline]
    pub(crate) const fn at(self, time_ms: u64) -> Self {
        let time = Self::get(time_ms, 0, 0).time_and_operation;
        let code = self.time_and_operation & ((1 << OPERATION_BITS) - 1);
        Self { time_and_operation: time | code, ..self }
    }

    /// Milliseconds since the first request of the trace; never goes backwards within a trace.
    #[inline]
    #[must_use]
    pub const fn time_ms(&self) -> u64 {
        self.time_and_operation >> OPERATION_BITS
    }

    /// What the record does.
    #[inline]
    #[must_use]
    pub const fn operation(&self) -> Operation {
        match self.time_and_operation & ((1 << OPERATION_BITS) - 1) {
            0 => Operation::Get,
            1 => Operation::Set,
            _ => Operation::Delete,
        }
    }

    /// Whether the record is a request, that is anything but a delete.
    #[inline]
    #[must_use]
    pub const fn is_request(&self) -> bool {
        !matches!(self.operation(), Operation::Delete)
    }

    /// The weight in byte mode: the size, where 0 counts 1.
    #[inline]
    #[must_use]
    pub const fn weight_bytes(&self) -> u32 {
        if self.size == 0 { 1 } else { self.size }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn time_and_operation_share_a_word_and_keep_apart() {
        for time_ms in [0, 1, 1234, Request::TIME_MS_MAX] {
            for operation in [Operation::Get, Operation::Set, Operation::Delete] {
                let request = Request::get(time_ms, 7, 8).with_cost_us(9).with_operation(operation);
                assert_eq!(request.time_ms(), time_ms);
                assert_eq!(request.operation(), operation);
                assert_eq!((request.key, request.size, request.cost_us), (7, 8, 9));
                assert_eq!(request.with_operation(Operation::Get).operation(), Operation::Get);
                let later = request.at(99);
                assert_eq!((later.time_ms(), later.operation()), (99, operation));
            }
        }
        assert_eq!(Request::get(u64::MAX, 0, 0).time_ms(), Request::TIME_MS_MAX);
    }

    #[test]
    fn deletes_are_no_requests_and_zero_weighs_one() {
        let request = Request::get(0, 1, 0);
        assert!(request.is_request());
        assert!(request.with_operation(Operation::Set).is_request());
        assert!(!request.with_operation(Operation::Delete).is_request());
        assert_eq!(request.weight_bytes(), 1);
        assert_eq!(Request::get(0, 1, 5).weight_bytes(), 5);
    }
}
