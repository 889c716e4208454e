//! What is counted while contenders play: a table of stretches of time by groups of keys.
//!
//! Every request belongs to one cell: the stretch it falls in and the group its key hashes to. Cells
//! hold requests, weight, and for each contender misses and missed weight. Two neighbouring stretches
//! are put together whenever there are too many, so a trace of any length takes the same memory:
//! 1 MiB, and as much for each contender.

use ostler_abi::hash_u64;

use super::Outcome;
use crate::trace::Request;

/// Groups that keys are dealt to by hash.
pub(super) const KEY_GROUPS: usize = 64;

/// Most stretches of time; a power of two, so that halving is exact.
pub(super) const STRETCHES_MAX: usize = 1024;

/// Seed of the hash that deals keys to groups: none of those that caches, policies and samples use.
const GROUP_SEED: u64 = 0x6b65_7967_726f_7570;

/// The group of a key.
#[inline]
fn group_of(key: u64) -> u8 {
    const _: () = assert!(KEY_GROUPS == 1 << 6);
    (hash_u64(key, GROUP_SEED) >> 58) as u8
}

/// One count, by stretch and group.
#[derive(Clone, Debug)]
pub(super) struct Counts {
    rows: Vec<[u64; KEY_GROUPS]>,
}

impl Counts {
    fn new() -> Self {
        Self { rows: vec![[0; KEY_GROUPS]] }
    }

    /// By stretch, the counts of all groups.
    pub(super) fn rows(&self) -> &[[u64; KEY_GROUPS]] {
        &self.rows
    }

    #[inline]
    fn last(&mut self) -> &mut [u64; KEY_GROUPS] {
        self.rows.last_mut().expect("invariant: there is always a stretch under way")
    }

    /// Begins a new stretch.
    fn begin(&mut self) {
        self.rows.push([0; KEY_GROUPS]);
    }

    /// Puts neighbours together.
    fn halve(&mut self) {
        for to in 0..self.rows.len() / 2 {
            let (first, second) = (self.rows[2 * to], self.rows[2 * to + 1]);
            self.rows[to] = std::array::from_fn(|group| first[group] + second[group]);
        }
        self.rows.truncate(self.rows.len() / 2);
    }
}

/// Requests and their weight: of all requests, or of the missed ones.
#[derive(Clone, Debug)]
pub(super) struct Tally {
    pub(super) requests: Counts,
    pub(super) weight: Counts,
}

impl Tally {
    fn new() -> Self {
        Self { requests: Counts::new(), weight: Counts::new() }
    }

    fn both(&mut self) -> [&mut Counts; 2] {
        [&mut self.requests, &mut self.weight]
    }
}

/// A request as the table sees it.
#[derive(Clone, Copy, Debug)]
struct Place {
    group: u8,
    weight: u32,
}

/// The table.
#[derive(Clone, Debug)]
pub(super) struct Grid {
    /// Requests of a complete stretch; a power of two.
    stretch_requests: u64,
    /// Requests in the last stretch so far.
    in_stretch: u64,
    all: Tally,
    /// What each contender missed.
    missed: Vec<Tally>,
    /// The block's requests, kept so that nothing is allocated per block.
    places: Vec<Place>,
}

impl Grid {
    pub(super) fn new(contenders: usize) -> Self {
        Self {
            stretch_requests: 1,
            in_stretch: 0,
            all: Tally::new(),
            missed: vec![Tally::new(); contenders],
            places: Vec::new(),
        }
    }

    /// Counts a block: its requests and, by contender, what each of them found.
    pub(super) fn add(
        &mut self,
        block: &[Request],
        weight_of: impl Fn(&Request) -> u32,
        outcomes: &[Vec<Outcome>],
    ) {
        let mut places = std::mem::take(&mut self.places);
        places.clear();
        let requests = block.iter().filter(|request| request.is_request());
        places.extend(
            requests
                .map(|request| Place { group: group_of(request.key), weight: weight_of(request) }),
        );
        let mut done = 0;
        while done < places.len() {
            if self.in_stretch == self.stretch_requests {
                self.begin();
            }
            let room =
                usize::try_from(self.stretch_requests - self.in_stretch).unwrap_or(usize::MAX);
            let end = places.len().min(done.saturating_add(room));
            self.add_to_last(&places[done..end], |contender| &outcomes[contender][done..end]);
            self.in_stretch += (end - done) as u64;
            done = end;
        }
        self.places = places;
    }

    fn add_to_last<'a>(&mut self, places: &[Place], outcomes: impl Fn(usize) -> &'a [Outcome]) {
        let [requests, weight] = self.all.both().map(Counts::last);
        for place in places {
            requests[usize::from(place.group)] += 1;
            weight[usize::from(place.group)] += u64::from(place.weight);
        }
        for (contender, tally) in self.missed.iter_mut().enumerate() {
            let [misses, weight] = tally.both().map(Counts::last);
            for (place, outcome) in places.iter().zip(outcomes(contender)) {
                let missed = u64::from(outcome.is_miss());
                misses[usize::from(place.group)] += missed;
                weight[usize::from(place.group)] += missed * u64::from(place.weight);
            }
        }
    }

    fn begin(&mut self) {
        let is_full = self.all.requests.rows.len() == STRETCHES_MAX;
        for tally in std::iter::once(&mut self.all).chain(&mut self.missed) {
            for counts in tally.both() {
                if is_full {
                    counts.halve();
                }
                counts.begin();
            }
        }
        self.in_stretch = 0;
        if is_full {
            self.stretch_requests *= 2;
        }
    }

    /// Requests of a complete stretch; the last one may have fewer.
    pub(super) fn stretch_requests(&self) -> u64 {
        self.stretch_requests
    }

    /// All requests.
    pub(super) fn all(&self) -> &Tally {
        &self.all
    }

    /// What a contender missed.
    pub(super) fn missed(&self, contender: usize) -> &Tally {
        &self.missed[contender]
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn total(counts: &Counts) -> u64 {
        counts.rows().iter().flatten().sum()
    }

    #[test]
    fn stretches_are_put_together_and_nothing_is_lost() {
        let mut grid = Grid::new(1);
        // Blocks of odd lengths, so that stretches end inside of blocks.
        let (mut count, mut missed, mut weight) = (0u64, 0u64, 0u64);
        for block_len in (0..200).map(|index| index % 97) {
            let keys = count..count + block_len;
            let block: Vec<Request> = keys.map(|key| Request::get(0, key, 3)).collect();
            let outcome = |request: &Request| match request.key % 3 {
                0 => Outcome::Miss,
                _ => Outcome::Hit,
            };
            let outcomes: Vec<Outcome> = block.iter().map(outcome).collect();
            missed += outcomes.iter().filter(|outcome| outcome.is_miss()).count() as u64;
            grid.add(&block, Request::weight_bytes, &[outcomes]);
            count += block_len;
            weight += 3 * block_len;
        }
        assert_eq!(total(&grid.all().requests), count);
        assert_eq!(total(&grid.all().weight), weight);
        assert_eq!(total(&grid.missed(0).requests), missed);
        assert_eq!(total(&grid.missed(0).weight), 3 * missed);
        let rows = grid.all().requests.rows();
        assert!((STRETCHES_MAX / 2..=STRETCHES_MAX).contains(&rows.len()), "{}", rows.len());
        let lengths: Vec<u64> = rows.iter().map(|row| row.iter().sum()).collect();
        let (last, complete) = lengths.split_last().unwrap();
        assert!(complete.iter().all(|&length| length == grid.stretch_requests()));
        assert!((1..=grid.stretch_requests()).contains(last));
    }

    #[test]
    fn deletes_are_not_counted() {
        let mut grid = Grid::new(1);
        let delete = Request::get(0, 7, 1).with_operation(crate::Operation::Delete);
        grid.add(&[delete, Request::get(0, 7, 5)], |_| 1, &[vec![Outcome::Miss]]);
        assert_eq!((total(&grid.all().requests), total(&grid.missed(0).weight)), (1, 1));
    }

    #[test]
    fn groups_are_about_even() {
        let mut sizes = [0u32; KEY_GROUPS];
        (0..64_000).for_each(|key| sizes[usize::from(group_of(key))] += 1);
        assert!(sizes.iter().all(|&size| (850..1150).contains(&size)), "{sizes:?}");
    }
}
