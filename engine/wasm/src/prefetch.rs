//! A running prefetch policy: accesses and keys in, checked asks out.
//!
//! Off the path of the requests, so everything is copied: nothing here is unsafe. Every bound of an
//! answer is checked before any ask of it counts; a call that breaks one contributes none.

use ostler_abi::{
    ACCESS_BYTES, ASK_BYTES, Access, Ask, Asks, CONFIDENCE_MAX, KEY_BYTES_MAX, NO_KEY, Setup,
    feature,
};
use ostler_core::{PolicyFault, PrefetchInstance};

use crate::module::PolicyModule;
use crate::sandbox::Guest;

/// A running prefetch policy.
pub struct WasmPrefetch {
    guest: Guest,
    accesses_cap: usize,
    asks_cap: usize,
    /// It gets the bytes of keys.
    wants_keys: bool,
}

impl WasmPrefetch {
    pub(crate) fn try_new(
        module: &PolicyModule,
        setup: Setup,
        params: &str,
    ) -> Result<Self, PolicyFault> {
        let guest = Guest::try_new(module, Setup { slots: 0, ..setup }, params)?;
        Ok(Self {
            accesses_cap: guest.regions.events.len() / ACCESS_BYTES,
            asks_cap: guest.regions.victims.len() / ASK_BYTES,
            wants_keys: module.manifest().requires(feature::KEYS),
            guest,
        })
    }

    /// The module that this is an instance of.
    #[must_use]
    pub fn module(&self) -> &PolicyModule {
        &self.guest.module
    }

    /// Writes as many accesses as fit, with their keys. Returns how many.
    fn write(&mut self, accesses: &[Access], keys: &[u8]) -> usize {
        let Guest { sandbox, memory, regions, .. } = &mut self.guest;
        let bytes = memory.data_mut(&mut sandbox.store);
        let (mut written, mut keys_len) = (0, 0);
        for access in accesses.iter().take(self.accesses_cap) {
            let key = access.key(keys).filter(|key| self.wants_keys && key.len() <= KEY_BYTES_MAX);
            let key = key.unwrap_or_default();
            let Some(place) = regions.keys.of_mut(bytes).get_mut(keys_len..keys_len + key.len())
            else {
                break;
            };
            place.copy_from_slice(key);
            let key_at = if key.is_empty() { NO_KEY } else { keys_len as u32 };
            let record = Access { key_at, key_len: key.len() as u32, ..*access };
            let at = written * ACCESS_BYTES;
            regions.events.of_mut(bytes)[at..at + ACCESS_BYTES].copy_from_slice(&record.to_bytes());
            keys_len += key.len();
            written += 1;
        }
        written
    }

    fn serve(
        &mut self,
        accesses: &[Access],
        keys: &[u8],
        asks: &mut Asks<'_>,
    ) -> Result<(), PolicyFault> {
        let mut rest = accesses;
        while !rest.is_empty() {
            let written = self.write(rest, keys);
            let returned = self.guest.call(written)?;
            let count = usize::try_from(returned).ok().filter(|&count| count <= self.asks_cap);
            let Some(count) = count else {
                let cap = self.asks_cap;
                return Err(bad(format!("{returned} asks, the window holds {cap}")));
            };
            let bytes = self.guest.memory.data(&self.guest.sandbox.store);
            let regions = &self.guest.regions;
            read_asks(&regions.victims.of(bytes)[..count * ASK_BYTES], regions.io.of(bytes), asks)?;
            rest = &rest[written..];
        }
        Ok(())
    }
}

impl PrefetchInstance for WasmPrefetch {
    fn predict(
        &mut self,
        accesses: &[Access],
        keys: &[u8],
        asks: &mut Asks<'_>,
    ) -> Result<(), PolicyFault> {
        self.guest.check_fault()?;
        let served = self.serve(accesses, keys, asks).inspect_err(|_| asks.clear());
        self.guest.keep_fault(served)
    }

    fn take_log(&mut self) -> Vec<String> {
        self.guest.take_lines()
    }

    fn memory_bytes(&self) -> u64 {
        self.guest.memory_bytes()
    }

    fn guest_ns(&self) -> u64 {
        self.guest.sandbox.meter.guest_ns()
    }
}

/// Adds the asks that lie in `window` to `asks`; their keys lie in `io`. All are checked before the
/// first is added.
fn read_asks(window: &[u8], io: &[u8], asks: &mut Asks<'_>) -> Result<(), PolicyFault> {
    let (records, _) = window.as_chunks::<ASK_BYTES>();
    for (index, record) in records.iter().enumerate() {
        check_ask(&Ask::from_bytes(record), io)
            .map_err(|reason| bad(format!("ask {index}: {reason}")))?;
    }
    for ask in records.iter().map(Ask::from_bytes) {
        match ask.key(io) {
            Some(key) => asks.ask_key(key, ask.confidence),
            None => asks.ask_hash(ask.key_hash, ask.confidence),
        };
    }
    Ok(())
}

/// What is wrong with an ask.
fn check_ask(ask: &Ask, io: &[u8]) -> Result<(), String> {
    let Ask { key_at, key_len, confidence, .. } = *ask;
    if confidence > CONFIDENCE_MAX {
        return Err(format!("confidence {confidence}, at most {CONFIDENCE_MAX}"));
    }
    if key_at == NO_KEY {
        return Ok(());
    }
    if !(1..=KEY_BYTES_MAX).contains(&(key_len as usize)) {
        return Err(format!("a key of {key_len} bytes, they have 1 to {KEY_BYTES_MAX}"));
    }
    if ask.key(io).is_none() {
        let cap = io.len();
        return Err(format!("a key at {key_at} of {key_len} bytes, the io buffer has {cap}"));
    }
    Ok(())
}

fn bad(reason: String) -> PolicyFault {
    PolicyFault::BadAnswer { reason }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    /// An ask as it was read: the hash, and the key where the guest wrote one.
    type Asked = (u64, Option<Vec<u8>>);

    fn read(window: &[Ask], io: &[u8]) -> Result<Vec<Asked>, PolicyFault> {
        let bytes: Vec<u8> = window.iter().flat_map(|ask| ask.to_bytes()).collect();
        let (mut buffer, mut keys) = (vec![Ask::ZERO; window.len()], vec![0; 1 << 16]);
        let mut asks = Asks::new(&mut buffer, &mut keys);
        read_asks(&bytes, io, &mut asks)?;
        Ok(asks.iter().map(|(ask, key)| (ask.key_hash, key.map(<[u8]>::to_vec))).collect())
    }

    #[test]
    fn every_bound_of_an_ask_is_checked() {
        let io = [7; 300];
        let good = Ask { key_at: 4, key_len: 2, confidence: 9, ..Ask::ZERO };
        let hash = Ask { key_hash: 3, key_at: NO_KEY, key_len: 999, ..Ask::ZERO };
        assert_eq!(read(&[good, hash], &io), Ok(vec![(0, Some(vec![7, 7])), (3, None)]));
        let rows = [
            (Ask { confidence: 65_536, ..good }, "ask 1: confidence 65536, at most 65535"),
            (Ask { confidence: 65_536, ..hash }, "ask 1: confidence 65536"),
            (Ask { key_len: 0, ..good }, "a key of 0 bytes"),
            (Ask { key_len: 257, ..good }, "a key of 257 bytes, they have 1 to 256"),
            (Ask { key_at: 299, ..good }, "a key at 299 of 2 bytes, the io buffer has 300"),
            (Ask { key_at: NO_KEY - 1, key_len: 2, ..good }, "the io buffer has 300"),
        ];
        for (ask, expected) in rows {
            let fault = read(&[good, ask], &io).unwrap_err();
            assert_eq!(fault.kind(), "bad_answer");
            assert!(fault.to_string().contains(expected), "{fault}");
        }
    }

    proptest! {
        /// Whatever the guest wrote: keys of 1 to 256 bytes that lie in the buffer, or a fault.
        #[test]
        fn any_answer_is_within_or_a_fault(
            words in proptest::collection::vec((any::<u64>(), 0u32..400, 0u32..300, 0u32..70_000), 0..8),
            wild in any::<[u32; 4]>(),
        ) {
            let io = [1; 300];
            let near = words.iter().map(|&(key_hash, key_at, key_len, confidence)| {
                Ask { key_hash, key_at, key_len, confidence, reserved: 0 }
            });
            let [key_at, key_len, confidence, reserved] = wild;
            let far = Ask { key_hash: 0, key_at, key_len, confidence, reserved };
            let window: Vec<Ask> = near.chain([far]).collect();
            for window in [&window[..words.len()], &window[..]] {
                if let Ok(asks) = read(window, &io) {
                    prop_assert_eq!(asks.len(), window.len());
                    let keys = asks.into_iter().filter_map(|(_, key)| key);
                    prop_assert!(keys.into_iter().all(|key| (1..=256).contains(&key.len())));
                }
            }
        }
    }
}
