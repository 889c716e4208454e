//! What prefetching may cost: a token bucket filled by misses and throttled by measured accuracy.
//!
//! Idea: a miss costs one fetch, so the budget is told in asks a miss. What was fetched has to prove
//! itself: it is useful once it is hit, wasted once it left unused. Two rules close the bucket:
//! - too many that are neither yet: at most `unproven_max`, and four for every one that was useful
//!   lately, so a policy that has shown nothing cannot fill the cache;
//! - too few that were useful among those decided lately: then prefetching is off until probes, one
//!   in `probe_misses` misses, show that it is worth while again.
//!
//! A late one is no verdict: its demand shared the fetch, which cost nothing and gained nothing.
//! All arithmetic is in whole numbers, so replay gives the same on every machine.

/// One token, in the unit of the bucket.
const TOKEN: u64 = 1 << 16;
/// Unproven prefetches allowed for each one that was useful lately.
const UNPROVEN_PER_USEFUL: u64 = 4;
/// Most verdicts that count; above, all are halved, so that what is newer counts more.
const VERDICTS_MAX: u32 = 1024;
/// Fewest verdicts that switch prefetching off.
const VERDICTS_OFF: u32 = 32;
/// Fewest verdicts on probes that switch it on again.
const VERDICTS_ON: u32 = 8;

/// The limits of a [`Bucket`].
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct BucketConfig {
    /// Asks earned by each miss, in 65,536ths of one: 65,536 is one ask a miss.
    pub asks_per_miss: u32,
    /// Most asks that may be saved up.
    pub saved_max: u32,
    /// Most prefetches that may be undecided where none was useful lately.
    pub unproven_max: u32,
    /// Accuracy in percent below which prefetching goes off. It comes on again at the same.
    pub accuracy_min_percent: u32,
    /// Misses between two probes while it is closed.
    pub probe_misses: u32,
}

impl Default for BucketConfig {
    fn default() -> Self {
        Self {
            asks_per_miss: 1 << 16,
            saved_max: 64,
            unproven_max: 64,
            accuracy_min_percent: 33,
            probe_misses: 512,
        }
    }
}

/// The token bucket. See the file's header.
#[derive(Clone, Debug)]
pub struct Bucket {
    config: BucketConfig,
    tokens: u64,
    /// Misses since the last ask was paid while the bucket was closed, or since it closed.
    misses_closed: u32,
    off: bool,
    useful: u32,
    wasted: u32,
    /// Paid for, and neither useful nor wasted nor late yet.
    unproven: u64,
}

impl Bucket {
    /// An empty bucket.
    #[must_use]
    pub fn new(config: BucketConfig) -> Self {
        Self { config, tokens: 0, misses_closed: 0, off: false, useful: 0, wasted: 0, unproven: 0 }
    }

    /// A demand missed: the budget grows.
    pub fn miss(&mut self) {
        let saved_max = u64::from(self.config.saved_max) * TOKEN;
        self.tokens = (self.tokens + u64::from(self.config.asks_per_miss)).min(saved_max);
        self.misses_closed = self.misses_closed.saturating_add(1);
    }

    /// Pays for one prefetch; false where the budget does not allow it.
    #[must_use]
    pub fn pay(&mut self) -> bool {
        if !self.can_pay() {
            return false;
        }
        self.misses_closed = 0;
        self.tokens -= TOKEN;
        self.unproven += 1;
        true
    }

    /// True where [`pay`](Self::pay) would.
    #[must_use]
    pub fn can_pay(&self) -> bool {
        self.tokens >= TOKEN && (self.is_open() || self.misses_closed >= self.config.probe_misses)
    }

    /// A prefetched entry was hit for the first time.
    pub fn useful(&mut self) {
        self.useful += 1;
        self.decided();
    }

    /// A prefetched entry left unused, or its fetch brought nothing.
    pub fn wasted(&mut self) {
        self.wasted += 1;
        self.decided();
    }

    /// A demand came while the fetch was under way: it will not be decided.
    pub fn late(&mut self) {
        self.unproven = self.unproven.saturating_sub(1);
    }

    /// True while the only asks paid are probes, because too few were useful.
    #[must_use]
    pub const fn is_off(&self) -> bool {
        self.off
    }

    fn is_open(&self) -> bool {
        let unproven_max =
            u64::from(self.config.unproven_max) + UNPROVEN_PER_USEFUL * u64::from(self.useful);
        !self.off && self.unproven < unproven_max
    }

    fn decided(&mut self) {
        self.unproven = self.unproven.saturating_sub(1);
        let verdicts = self.useful + self.wasted;
        let accurate = u64::from(self.useful) * 100
            >= u64::from(verdicts) * u64::from(self.config.accuracy_min_percent);
        if self.off != accurate {
            // As it should be: on and accurate, or off and not.
        } else if verdicts >= if self.off { VERDICTS_ON } else { VERDICTS_OFF } {
            self.off = !self.off;
            (self.useful, self.wasted) = (0, 0);
            self.misses_closed = 0;
        }
        let verdicts_max = if self.off { VERDICTS_OFF } else { VERDICTS_MAX };
        if self.useful + self.wasted > verdicts_max {
            self.useful /= 2;
            self.wasted /= 2;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;
    use proptest::test_runner::RngSeed;

    fn paid(bucket: &mut Bucket, asks: u32) -> u32 {
        (0..asks).filter(|_| bucket.pay()).count() as u32
    }

    #[test]
    fn a_miss_earns_what_the_budget_says_and_savings_are_bounded() {
        for (asks_per_miss, misses, asks) in [
            (1 << 16, 0, 0),
            (1 << 16, 3, 3),
            (1 << 15, 3, 1),
            (3 << 16, 2, 6),
            (1 << 16, 1000, 64),
            (0, 1000, 0),
        ] {
            let mut bucket = Bucket::new(BucketConfig {
                asks_per_miss,
                unproven_max: 100,
                ..Default::default()
            });
            (0..misses).for_each(|_| bucket.miss());
            assert_eq!(paid(&mut bucket, 100), asks, "{asks_per_miss} {misses}");
        }
    }

    #[test]
    fn what_has_proved_nothing_is_bounded_but_for_probes() {
        let config = BucketConfig { unproven_max: 4, probe_misses: 10, ..Default::default() };
        let mut bucket = Bucket::new(config);
        let each_miss = |bucket: &mut Bucket, misses: u32| {
            (0..misses)
                .map(|_| {
                    bucket.miss();
                    paid(bucket, 1)
                })
                .sum::<u32>()
        };
        assert_eq!(each_miss(&mut bucket, 4), 4);
        assert_eq!(each_miss(&mut bucket, 100), 10, "one in ten");
        bucket.useful();
        assert_eq!(bucket.unproven, 13);
        for _ in 0..10 {
            bucket.late();
        }
        assert_eq!(each_miss(&mut bucket, 9), 5, "4 and 4 for the useful one, less 3");
    }

    #[test]
    fn it_goes_off_where_most_is_wasted_and_on_where_probes_are_useful() {
        let mut bucket = Bucket::new(BucketConfig::default());
        for _ in 0..VERDICTS_OFF - 1 {
            bucket.wasted();
        }
        assert!(!bucket.is_off());
        bucket.wasted();
        assert!(bucket.is_off());
        for _ in 0..511 {
            bucket.miss();
            assert!(!bucket.pay());
        }
        bucket.miss();
        assert!(bucket.pay() && !bucket.pay());
        for _ in 0..VERDICTS_ON {
            assert!(bucket.is_off());
            bucket.useful();
        }
        assert!(!bucket.is_off() && bucket.pay());
    }

    proptest! {
        #![proptest_config(ProptestConfig {
            rng_seed: RngSeed::Fixed(1),
            failure_persistence: None,
            ..ProptestConfig::default()
        })]

        /// A plain model: what was paid never exceeds what was earned and the rules allow.
        #[test]
        fn budget_and_rules_hold(
            (asks_per_miss, saved_max) in (0u32..1 << 18, 0u32..8),
            (unproven_max, probe_misses) in (0u32..8, 1u32..8),
            steps in prop::collection::vec(0u8..6, 0..400),
        ) {
            let config = BucketConfig {
                asks_per_miss, saved_max, unproven_max, probe_misses, ..Default::default()
            };
            let mut bucket = Bucket::new(config);
            let (mut tokens, mut unproven, mut misses) = (0u64, 0u64, 0u32);
            for step in steps {
                match step {
                    0 | 1 => {
                        bucket.miss();
                        misses += 1;
                        let saved = u64::from(saved_max) << 16;
                        tokens = (tokens + u64::from(asks_per_miss)).min(saved);
                    }
                    2 => {
                        let unproven_max =
                            u64::from(unproven_max) + 4 * u64::from(bucket.useful);
                        let open = !bucket.is_off() && unproven < unproven_max;
                        let pays = tokens >= 1 << 16 && (open || misses >= probe_misses);
                        prop_assert_eq!(bucket.can_pay(), pays);
                        prop_assert_eq!(bucket.pay(), pays);
                        if pays {
                            (tokens, unproven, misses) = (tokens - (1 << 16), unproven + 1, 0);
                        }
                    }
                    _ if unproven == 0 => {}
                    3 | 4 => {
                        let off = bucket.is_off();
                        if step == 3 { bucket.useful() } else { bucket.wasted() }
                        unproven -= 1;
                        misses = if off == bucket.is_off() { misses } else { 0 };
                    }
                    _ => {
                        bucket.late();
                        unproven -= 1;
                    }
                }
                prop_assert_eq!((bucket.tokens, bucket.unproven), (tokens, unproven));
                prop_assert!(bucket.useful + bucket.wasted <= VERDICTS_MAX);
            }
        }
    }
}
