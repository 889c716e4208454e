//! Doubly linked lists over slots: the queues of most policies.
//!
//! All lists of a policy share one array of links, because a slot is in at most one of them at a
//! time. A list is its two ends, its length and its weight; moving a slot between lists touches the
//! slot, its neighbours and the ends, never an allocator.

use ostler_abi::NO_SLOT;

use crate::PerSlot;

/// The neighbours of a slot in its list. `prev` is nearer the head.
#[derive(Clone, Copy, Debug, Default)]
struct Link {
    prev: u32,
    next: u32,
}

/// The links that one or more [`List`]s share. 8 bytes a slot.
#[derive(Clone, Debug)]
pub struct Links {
    links: PerSlot<Link>,
}

/// One list: head, tail, length, weight. The slots' links live in [`Links`].
///
/// Which list a slot is in is not recorded here; a policy with several lists keeps that itself.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct List {
    head: u32,
    tail: u32,
    len: u32,
    weight: u64,
}

impl Default for List {
    fn default() -> Self {
        Self::new()
    }
}

impl List {
    /// An empty list.
    #[must_use]
    pub const fn new() -> Self {
        Self { head: NO_SLOT, tail: NO_SLOT, len: 0, weight: 0 }
    }

    /// The first slot, where [`Links::push_head`] puts one, or [`NO_SLOT`].
    #[inline]
    #[must_use]
    pub const fn head(&self) -> u32 {
        self.head
    }

    /// The last slot, or [`NO_SLOT`].
    #[inline]
    #[must_use]
    pub const fn tail(&self) -> u32 {
        self.tail
    }

    /// Slots in the list.
    #[inline]
    #[must_use]
    pub const fn len(&self) -> u32 {
        self.len
    }

    /// True where no slot is in the list.
    #[inline]
    #[must_use]
    pub const fn is_empty(&self) -> bool {
        self.len == 0
    }

    /// Sum of the weights given to `push_…` and `reweigh` for the slots in the list.
    #[inline]
    #[must_use]
    pub const fn weight(&self) -> u64 {
        self.weight
    }

    /// Accounts for a slot of this list whose weight changed from `old` to `new`.
    #[inline]
    pub fn reweigh(&mut self, old: u32, new: u32) {
        self.weight = self.weight - u64::from(old) + u64::from(new);
    }
}

impl Links {
    /// Links for slots below `slots`.
    #[must_use]
    pub fn new(slots: u32) -> Self {
        Self { links: PerSlot::new(slots) }
    }

    /// Makes room for slots below `slots`. O(new slots).
    pub fn grow(&mut self, slots: u32) {
        self.links.grow(slots);
    }

    /// The slot after `slot` towards the tail, or [`NO_SLOT`].
    #[inline]
    #[must_use]
    pub fn next(&self, slot: u32) -> u32 {
        self.links[slot].next
    }

    /// The slot before `slot` towards the head, or [`NO_SLOT`].
    #[inline]
    #[must_use]
    pub fn prev(&self, slot: u32) -> u32 {
        self.links[slot].prev
    }

    /// Puts `slot`, which is in no list, at the head. O(1).
    #[inline]
    pub fn push_head(&mut self, list: &mut List, slot: u32, weight: u32) {
        let head = list.head;
        self.links[slot] = Link { prev: NO_SLOT, next: head };
        if head == NO_SLOT {
            list.tail = slot;
        } else {
            self.links[head].prev = slot;
        }
        list.head = slot;
        list.len += 1;
        list.weight += u64::from(weight);
    }

    /// Puts `slot`, which is in no list, at the tail. O(1).
    #[inline]
    pub fn push_tail(&mut self, list: &mut List, slot: u32, weight: u32) {
        let tail = list.tail;
        self.links[slot] = Link { prev: tail, next: NO_SLOT };
        if tail == NO_SLOT {
            list.head = slot;
        } else {
            self.links[tail].next = slot;
        }
        list.tail = slot;
        list.len += 1;
        list.weight += u64::from(weight);
    }

    /// Puts `slot`, which is in no list, right before `place` (towards the head), which is in `list`.
    #[inline]
    pub fn insert_before(&mut self, list: &mut List, place: u32, slot: u32, weight: u32) {
        let prev = self.links[place].prev;
        if prev == NO_SLOT {
            self.push_head(list, slot, weight);
            return;
        }
        self.links[slot] = Link { prev, next: place };
        self.links[prev].next = slot;
        self.links[place].prev = slot;
        list.len += 1;
        list.weight += u64::from(weight);
    }

    /// Takes `slot`, which is in `list`, out of it. O(1).
    #[inline]
    pub fn remove(&mut self, list: &mut List, slot: u32, weight: u32) {
        let Link { prev, next } = self.links[slot];
        if prev == NO_SLOT {
            list.head = next;
        } else {
            self.links[prev].next = next;
        }
        if next == NO_SLOT {
            list.tail = prev;
        } else {
            self.links[next].prev = prev;
        }
        list.len -= 1;
        list.weight -= u64::from(weight);
    }

    /// Moves `slot`, which is in `list`, to its head. O(1); no store where it is there already.
    #[inline]
    pub fn move_to_head(&mut self, list: &mut List, slot: u32) {
        let head = list.head;
        let link = &mut self.links[slot];
        let Link { prev, next } = *link;
        if prev == NO_SLOT {
            return;
        }
        *link = Link { prev: NO_SLOT, next: head };
        self.links[head].prev = slot;
        list.head = slot;
        self.links[prev].next = next;
        if next == NO_SLOT {
            list.tail = prev;
        } else {
            self.links[next].prev = prev;
        }
    }

    /// The slots of `list` from head to tail. For tests and for policies that scan; O(length).
    pub fn iter<'a>(&'a self, list: &List) -> impl Iterator<Item = u32> + 'a {
        let mut slot = list.head;
        core::iter::from_fn(move || {
            let here = slot;
            (here != NO_SLOT).then(|| {
                slot = self.links[here].next;
                here
            })
        })
    }

    /// Walks `list` and asserts that both directions, the length and the ends agree. For tests.
    ///
    /// # Panics
    ///
    /// Where an invariant of the list is broken.
    pub fn validate(&self, list: &List) {
        let (mut slot, mut before, mut len) = (list.head, NO_SLOT, 0);
        while slot != NO_SLOT {
            assert_eq!(self.links[slot].prev, before, "slot {slot} points back to the one before");
            before = slot;
            slot = self.links[slot].next;
            len += 1;
            assert!(len <= list.len, "the list is longer than its length, or has a cycle");
        }
        assert_eq!(list.tail, before, "the tail is the last slot");
        assert_eq!(list.len, len, "the length counts the slots");
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use alloc::vec::Vec;

    #[test]
    fn order_length_and_weight_follow_the_operations() {
        let mut links = Links::new(8);
        let mut list = List::new();
        for slot in [1, 2, 3] {
            links.push_head(&mut list, slot, slot * 10);
        }
        links.push_tail(&mut list, 4, 40);
        links.insert_before(&mut list, 1, 5, 50);
        links.insert_before(&mut list, 3, 6, 60);
        let order = |links: &Links, list: &List| links.iter(list).collect::<Vec<_>>();
        assert_eq!(order(&links, &list), [6, 3, 2, 5, 1, 4]);
        assert_eq!(list.weight(), 210);
        links.move_to_head(&mut list, 4);
        links.move_to_head(&mut list, 5);
        links.move_to_head(&mut list, 5);
        assert_eq!(order(&links, &list), [5, 4, 6, 3, 2, 1]);
        links.validate(&list);
        for slot in [5, 1, 3] {
            links.remove(&mut list, slot, slot * 10);
            links.validate(&list);
        }
        assert_eq!(order(&links, &list), [4, 6, 2]);
        assert_eq!((list.head(), list.tail(), list.len(), list.weight()), (4, 2, 3, 120));
        list.reweigh(40, 1);
        assert_eq!(list.weight(), 81);
    }
}
