//! What LHD learns: how the chance of a hit, per time it takes up space, falls with an entry's age.
//!
//! Idea: entries are sorted into classes; for each class and age (requests since the last access, in
//! coarse steps) we count how many entries were hit and how many were evicted at that age. From both
//! follows, for an entry that has reached age a, the probability that a hit comes at all and the time
//! it is expected to stay until its next hit or its eviction. Their quotient is the hit density.
//! Counts decay at every refresh, so that the past is forgotten.
//!
//! This file knows classes, ages and counts. It must not know slots, weights or how victims are drawn.

use ostler_policy::PerSlot;

/// Ages that are told apart. An entry that is older, counts as of age `AGES - 1`.
pub(crate) const AGES: u32 = 20_000;
/// Classes by the sum of the last two reuse times: each twice as long as the next one.
const CLASSES: usize = 16;
const CLASS_MAX: u8 = 15;

/// The density of an entry beyond all ages: below any other.
pub(crate) const OUTLIVED: f32 = -1.0;

/// What is left of the counts after a refresh.
const DECAY: f32 = 0.9;
/// Classes are refreshed one by one, as many accesses apart: no single call takes long.
const REFRESH_GAP: u32 = 256;
/// A table with fewer events than this says nothing; densities are 0.
const EVENTS_MIN: f32 = 1e-5;
/// The refreshes before which the step of ages is fitted to the number of residents.
const FITTED_BEFORE: [u32; 2] = [5, 25];
/// Ages per resident at most: the ages cover `AGES / STEPS_PER_RESIDENT` times as many accesses as
/// there are residents, that is 100 times, with an error of half a percent of their number.
const STEPS_PER_RESIDENT: f32 = 200.0;
/// In the density of a class that has learned nothing yet: classes above 0 by this much the better.
const UNLEARNED_BASE: f32 = 17.0;

/// One age of one class.
#[derive(Clone, Copy, Debug, Default)]
struct Age {
    hits: f32,
    evictions: f32,
    /// As of the last refresh.
    density: f32,
}

/// One class. The table reaches as far as the highest age seen.
#[derive(Debug)]
struct Class {
    ages: PerSlot<Age>,
    /// False until the first refresh: densities are guessed.
    learned: bool,
}

/// The densities of all classes and the events from which they are learned.
#[derive(Debug)]
pub(crate) struct Model {
    classes: [Class; CLASSES],
    /// An age is that many accesses, as a power of two.
    age_shift: u32,
    /// Accesses between refreshes.
    period: u32,
    until_refresh: u32,
    /// Refreshes begun.
    refreshes: u32,
    /// The class to refresh next; `CLASSES` where none waits.
    next_class: usize,
    /// Average number of residents at the refreshes, as a decaying sum and the sum of its weights.
    residents_sum: f32,
    residents_mass: f32,
}

impl Class {
    fn age(&mut self, age: u32) -> &mut Age {
        if age as usize >= self.ages.len() {
            self.ages.grow(age + 1);
        }
        &mut self.ages[age]
    }

    /// Ages with a place in the table.
    fn len(&self) -> u32 {
        u32::try_from(self.ages.len()).unwrap_or(AGES).min(AGES)
    }

    /// Lets the counts decay and computes the densities anew, in one pass from old to young: the sums
    /// over all higher ages are what the expectations at an age need.
    fn refresh(&mut self) {
        let (mut hits, mut events, mut lifetime) = (0.0f32, 0.0f32, 0.0f32);
        for age in (0..self.len()).rev() {
            let here = &mut self.ages[age];
            here.hits *= DECAY;
            here.evictions *= DECAY;
            hits += here.hits;
            events += here.hits + here.evictions;
            lifetime += events;
            here.density = if events > EVENTS_MIN { hits / lifetime } else { 0.0 };
        }
        self.learned = true;
    }

    /// Ages become 2^`bits` times longer: that many counts merge into one.
    fn coarsen(&mut self, bits: u32) {
        // The last age holds what outlived all others, so it stays where it is.
        let len = self.len().min(AGES - 1);
        for age in 0..len {
            let first = age.saturating_mul(1 << bits);
            let end = first.saturating_add(1 << bits).min(len);
            let (mut hits, mut evictions) = (0.0, 0.0);
            for merged in first..end {
                hits += self.ages[merged].hits;
                evictions += self.ages[merged].evictions;
            }
            self.ages[age] = Age { hits, evictions, density: 0.0 };
        }
    }

    /// Ages become 2^`bits` times shorter, at most 2^15: each count is spread evenly, and what would lie
    /// beyond the last age goes there.
    fn refine(&mut self, bits: u32) {
        if self.len() == 0 {
            return;
        }
        let end = AGES - 1;
        for age in (end >> bits) + 1..self.len().min(end) {
            let Age { hits, evictions, .. } = self.ages[age];
            let last = self.age(end);
            last.hits += hits;
            last.evictions += evictions;
        }
        let reached = self.len().saturating_mul(1 << bits).min(end);
        let parts = f32::from(1u16 << bits);
        for age in (0..reached).rev() {
            let Age { hits, evictions, .. } = self.ages[age >> bits];
            *self.age(age) = Age { hits: hits / parts, evictions: evictions / parts, density: 0.0 };
        }
    }
}

impl Model {
    /// A model that has learned nothing. Its ages are 2^`age_shift` accesses long at first (at most
    /// 2^16), and it is refreshed every `period` accesses (at least 8,192: the classes take 4,096).
    pub(crate) fn new(age_shift: u32, period: u32) -> Self {
        Self {
            classes: core::array::from_fn(|_| Class { ages: PerSlot::new(0), learned: false }),
            age_shift,
            period,
            until_refresh: period,
            refreshes: 0,
            next_class: CLASSES,
            residents_sum: 0.0,
            residents_mass: 0.0,
        }
    }

    /// The age of an entry whose last access was `accesses` accesses ago.
    #[inline]
    pub(crate) fn age(&self, accesses: u32) -> u32 {
        (accesses >> self.age_shift).min(AGES - 1)
    }

    /// The class of an entry by its last two reuse times, in ages: the shorter, the higher.
    pub(crate) fn class_of(reuse: u32) -> u8 {
        // How often `reuse` must be doubled to reach all ages.
        let doublings = AGES.div_ceil(reuse.max(1)).next_power_of_two().trailing_zeros();
        u8::try_from(doublings).unwrap_or(u8::MAX).min(CLASS_MAX)
    }

    /// Expected hits per access and entry, at `age` in `class`; [`OUTLIVED`] beyond all ages.
    #[inline]
    #[expect(clippy::cast_precision_loss, reason = "ages are below 2^24, so exact")]
    pub(crate) fn density(&self, class: u8, age: u32) -> f32 {
        if age == AGES - 1 {
            return OUTLIVED;
        }
        let table = &self.classes[usize::from(class)];
        if !table.learned {
            return (UNLEARNED_BASE + f32::from(class)) / (age + 1) as f32;
        }
        if (age as usize) < table.ages.len() { table.ages[age].density } else { 0.0 }
    }

    /// An entry of `class` was hit at `age`.
    #[inline]
    pub(crate) fn note_hit(&mut self, class: u8, age: u32) {
        self.classes[usize::from(class)].age(age).hits += 1.0;
    }

    /// An entry of `class` was evicted at `age`.
    #[inline]
    pub(crate) fn note_eviction(&mut self, class: u8, age: u32) {
        self.classes[usize::from(class)].age(age).evictions += 1.0;
    }

    /// Refreshes finished or begun.
    #[inline]
    pub(crate) const fn refreshes(&self) -> u32 {
        self.refreshes
    }

    /// An access passed, with `residents` resident. O(1), but every `period` accesses O(`AGES`) for
    /// 16 of them, and twice in a life O(16 × `AGES`).
    #[inline]
    pub(crate) fn tick(&mut self, residents: u32) {
        self.until_refresh -= 1;
        if self.until_refresh == 0 {
            self.begin_refresh(residents);
        } else if self.next_class < CLASSES && self.until_refresh.is_multiple_of(REFRESH_GAP) {
            self.classes[self.next_class].refresh();
            self.next_class += 1;
        }
    }

    #[expect(clippy::cast_precision_loss, reason = "an average of about 24 bits is enough")]
    fn begin_refresh(&mut self, residents: u32) {
        self.until_refresh = self.period;
        self.residents_sum = self.residents_sum * DECAY + residents as f32;
        self.residents_mass = self.residents_mass * DECAY + 1.0;
        self.next_class = 0;
        if FITTED_BEFORE.contains(&self.refreshes) {
            self.fit_ages();
        }
        self.refreshes += 1;
    }

    /// Chooses the length of an age by the number of residents, and rescales what was counted.
    fn fit_ages(&mut self) {
        let wanted = self.residents_sum / self.residents_mass / STEPS_PER_RESIDENT;
        // The smallest power of two, from 2 on, that is no less.
        let mut shift = 1u32;
        let mut accesses = 2.0f32;
        while accesses < wanted {
            accesses *= 2.0;
            shift += 1;
        }
        let (old, new) = (self.age_shift, shift);
        self.age_shift = new;
        if old == new {
            return;
        }
        // All at once: a density belongs to an age, so old densities would be read at wrong ages.
        for class in &mut self.classes {
            if new > old {
                class.coarsen(new - old);
            } else {
                class.refine(old - new);
            }
            class.refresh();
        }
        self.next_class = CLASSES;
    }
}

#[cfg(test)]
mod tests {
    extern crate std;

    use super::*;
    use std::vec::Vec;

    const PERIOD: u32 = 8192;

    fn tick(model: &mut Model, times: u32, residents: u32) {
        for _ in 0..times {
            model.tick(residents);
        }
    }

    /// (age, hits, evictions) of every age of class 3 that has any.
    fn counts(model: &Model) -> Vec<(u32, f32, f32)> {
        let class = &model.classes[3];
        (0..class.len())
            .map(|age| (age, class.ages[age]))
            .filter(|(_, age)| age.hits + age.evictions > 0.0)
            .map(|(number, age)| (number, age.hits, age.evictions))
            .collect()
    }

    #[test]
    fn classes_double_their_reuse() {
        let cases = [
            // sum of the last two reuse times, class
            (0, 15),
            (1, 15),
            (2, 14),
            (9_999, 2),
            (10_000, 1),
            (19_999, 1),
            (20_000, 0),
            (39_998, 0),
        ];
        for (reuse, class) in cases {
            assert_eq!(Model::class_of(reuse), class, "{reuse}");
        }
    }

    #[test]
    fn densities_are_hits_to_come_over_time_to_come() {
        let mut model = Model::new(0, PERIOD);
        assert_eq!([0, 1, 16].map(|age| model.density(3, age)), [20.0, 10.0, 20.0 / 17.0]);
        for _ in 0..10 {
            model.note_hit(3, 2);
            model.note_eviction(3, 4);
        }
        tick(&mut model, PERIOD + 16 * REFRESH_GAP, 1);
        // Of 20 entries, 10 stay for 2 ages more until hit and 10 for 4 until evicted, this age
        // included: (10 · 3 + 10 · 5) at age 0. The decay cancels.
        let expected = [10.0 / 80.0, 10.0 / 60.0, 10.0 / 40.0, 0.0, 0.0, 0.0];
        for (age, density) in (0..).zip(expected) {
            let learned = model.density(3, age);
            assert!((learned - density).abs() < 1e-6, "{age}: {learned}, not {density}");
        }
        assert_eq!((model.density(3, 19_998), model.density(5, 0)), (0.0, 0.0));
        assert_eq!(model.density(3, 19_999), OUTLIVED);
    }

    #[test]
    fn classes_are_refreshed_one_at_a_time() {
        let mut model = Model::new(0, PERIOD);
        let learned = |model: &Model| model.classes.iter().filter(|class| class.learned).count();
        let mut seen = Vec::new();
        for ticks in [PERIOD - 1, 1, REFRESH_GAP, REFRESH_GAP, 14 * REFRESH_GAP, PERIOD] {
            tick(&mut model, ticks, 1);
            seen.push((model.refreshes(), learned(&model)));
        }
        assert_eq!(seen, [(0, 0), (1, 0), (1, 1), (1, 2), (1, 16), (2, 16)]);
    }

    #[test]
    fn ages_follow_the_number_of_residents() {
        let cases = [
            // residents, first shift, shift after the sixth refresh
            (100, 10, 1),
            (400, 10, 1),
            (401, 10, 2),
            (400_000, 10, 11),
            (400_000, 11, 11),
        ];
        for (residents, first, fitted) in cases {
            let mut model = Model::new(first, PERIOD);
            tick(&mut model, 5 * PERIOD, residents);
            assert_eq!(model.age_shift, first);
            tick(&mut model, PERIOD, residents);
            assert_eq!(model.age_shift, fitted, "{residents} residents");
        }
    }

    #[test]
    fn rescaling_keeps_the_counts() {
        let outlived = AGES - 1;
        let noted = [(0, 4.0, 0.0), (5, 0.0, 8.0), (7, 2.0, 2.0), (15_000, 3.0, 0.0)];
        let mut model = Model::new(0, PERIOD);
        for (age, hits, evictions) in noted {
            *model.classes[3].age(age) = Age { hits, evictions, density: 0.0 };
        }
        *model.classes[3].age(outlived) = Age { hits: 0.0, evictions: 1.0, density: 0.0 };
        model.classes[3].coarsen(2);
        assert_eq!(
            counts(&model),
            [(0, 4.0, 0.0), (1, 2.0, 10.0), (3_750, 3.0, 0.0), (outlived, 0.0, 1.0)]
        );
        model.classes[3].refine(1);
        assert_eq!(
            counts(&model),
            [
                (0, 2.0, 0.0),
                (1, 2.0, 0.0),
                (2, 1.0, 5.0),
                (3, 1.0, 5.0),
                (7_500, 1.5, 0.0),
                (7_501, 1.5, 0.0),
                (outlived, 0.0, 1.0)
            ]
        );
        model.classes[3].refine(2);
        let last = counts(&model).last().copied();
        assert_eq!(last, Some((outlived, 3.0, 1.0)), "what leaves the table is outlived");
    }
}
