//! A running warming policy: candidates and the outlook in, scores out.
//!
//! Off the path of the requests, so everything is copied: nothing here is unsafe. Any score is a valid
//! one; what can be wrong is how many there are.

use ostler_abi::{CANDIDATE_BYTES, Candidate, ModelRefused, OUTLOOK_BYTES, Outlook, Setup};
use ostler_core::{PolicyFault, WarmingInstance};

use crate::memory::slots;
use crate::module::PolicyModule;
use crate::sandbox::Guest;

/// A running warming policy.
pub struct WasmRanker {
    guest: Guest,
    candidates_cap: usize,
}

impl WasmRanker {
    pub(crate) fn try_new(
        module: &PolicyModule,
        setup: Setup,
        params: &str,
    ) -> Result<Self, PolicyFault> {
        let guest = Guest::try_new(module, Setup { slots: 0, ..setup }, params)?;
        Ok(Self { candidates_cap: guest.regions.events.len() / CANDIDATE_BYTES, guest })
    }

    /// The module that this is an instance of.
    #[must_use]
    pub fn module(&self) -> &PolicyModule {
        &self.guest.module
    }

    /// One call: as many candidates as fit the window.
    fn serve(
        &mut self,
        outlook: &Outlook,
        candidates: &[Candidate],
        scores: &mut [u32],
    ) -> Result<(), PolicyFault> {
        let Guest { sandbox, memory, regions, .. } = &mut self.guest;
        let bytes = memory.data_mut(&mut sandbox.store);
        // The buffer is longer: its least size is that of the contract.
        regions.io.of_mut(bytes)[..OUTLOOK_BYTES].copy_from_slice(&outlook.to_bytes());
        let window = regions.events.of_mut(bytes).chunks_exact_mut(CANDIDATE_BYTES);
        for (place, candidate) in window.zip(candidates) {
            place.copy_from_slice(&candidate.to_bytes());
        }
        let returned = self.guest.call(candidates.len())?;
        if usize::try_from(returned) != Ok(candidates.len()) {
            let count = candidates.len();
            let reason = format!("{returned} scores for {count} candidates");
            return Err(PolicyFault::BadAnswer { reason });
        }
        let bytes = self.guest.memory.data(&self.guest.sandbox.store);
        scores.copy_from_slice(&slots(self.guest.regions.victims.of(bytes))[..scores.len()]);
        Ok(())
    }
}

impl WarmingInstance for WasmRanker {
    fn rank(
        &mut self,
        outlook: &Outlook,
        candidates: &[Candidate],
        scores: &mut [u32],
    ) -> Result<(), PolicyFault> {
        assert_eq!(candidates.len(), scores.len(), "a score for each candidate");
        self.guest.check_fault()?;
        let cap = self.candidates_cap;
        let mut served = Ok(());
        for (candidates, scores) in candidates.chunks(cap).zip(scores.chunks_mut(cap)) {
            served = self.serve(outlook, candidates, scores);
            if served.is_err() {
                break;
            }
        }
        self.guest.keep_fault(served)
    }

    fn model(&mut self, message: &[u8]) -> Result<Result<(), ModelRefused>, PolicyFault> {
        self.guest.model(message)
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
