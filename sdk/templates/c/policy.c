/* clock-c: CLOCK (second chance), written in C against Ostler's contract.
 *
 * Idea: entries stand in a queue in order of arrival, each with one bit. A hit sets the bit. The
 * hand looks at the oldest entry: a set bit is cleared and the entry goes back to the young end; an
 * entry without the bit is the victim.
 *
 * Paper: F. J. Corbato, "A paging experiment with the Multics system", MIT Project MAC, 1968.
 *
 * Parameters: none. Memory: 16 bytes a slot. Cost: O(1) an event; the hand pays one step for each
 * bit that a hit set. Weights: as many victims go as the newcomer needs. */
#include "ostler.h"

#define EVENTS_CAP 256
#define VICTIMS_CAP 256
#define IO_CAP 256
#define PAGE_BYTES 65536u

/* One slot. A resident weighs at least 1, so weight 0 stands for "not resident". */
struct entry {
    uint32_t older; /* neighbours in the queue, OSTLER_NO_SLOT at its ends */
    uint32_t younger;
    uint32_t weight;
    uint32_t referenced; /* the bit */
};

/* What the host writes and reads. The layout must name addresses, so it is filled in when asked. */
static struct ostler_record events[EVENTS_CAP];
static uint32_t victims[VICTIMS_CAP];
static uint8_t io[IO_CAP];
static struct ostler_layout layout;

/* The entries are one array behind everything the linker placed. It only ever grows at its end, and
 * that is the end of the linear memory, so growing copies nothing. */
extern struct entry __heap_base[];
static struct entry *const entries = __heap_base;
static uint32_t slots; /* slot numbers are below this */

static uint64_t capacity; /* sum of weights that may be resident */
static uint64_t used;     /* sum of the residents' weights */
static uint32_t oldest = OSTLER_NO_SLOT;
static uint32_t youngest = OSTLER_NO_SLOT;

/* The batch being served. The host leaves the window alone until an answer is not full, so a batch
 * that pauses for want of room needs two numbers, and no copy. */
static uint32_t batch_len;
static uint32_t batch_next;
static uint32_t victims_len; /* victims written in this call */
static int begun;            /* the event at batch_next was begun in an earlier call */

static void push_youngest(uint32_t slot) {
    entries[slot].older = youngest;
    entries[slot].younger = OSTLER_NO_SLOT;
    if (youngest == OSTLER_NO_SLOT) {
        oldest = slot;
    } else {
        entries[youngest].younger = slot;
    }
    youngest = slot;
}

static void unlink_entry(uint32_t slot) {
    uint32_t older = entries[slot].older, younger = entries[slot].younger;
    if (older == OSTLER_NO_SLOT) {
        oldest = younger;
    } else {
        entries[older].younger = younger;
    }
    if (younger == OSTLER_NO_SLOT) {
        youngest = older;
    } else {
        entries[younger].older = older;
    }
}

static int is_resident(uint32_t slot) {
    return slot < slots && entries[slot].weight != 0;
}

static void enter(uint32_t slot, uint32_t weight) {
    entries[slot].weight = weight;
    entries[slot].referenced = 0;
    used += weight;
    push_youngest(slot);
}

static void leave(uint32_t slot) {
    unlink_entry(slot);
    used -= entries[slot].weight;
    entries[slot].weight = 0;
}

/* The policy itself: which resident goes next. Ends, since every step clears a bit. */
static uint32_t choose(void) {
    while (entries[oldest].referenced) {
        uint32_t spared = oldest;
        entries[spared].referenced = 0;
        unlink_entry(spared);
        push_youngest(spared);
    }
    return oldest;
}

/* Evicts until `incoming` fits beside the residents. False where the answer is full: the host
 * takes these victims and calls again. */
static int make_room(uint64_t incoming) {
    while (used + incoming > capacity) {
        if (victims_len == VICTIMS_CAP) {
            return 0;
        }
        uint32_t victim = choose();
        leave(victim);
        victims[victims_len++] = victim;
    }
    return 1;
}

/* A newcomer: evict, then insert. One that cannot fit at all is its own victim: rejected. */
static int insert(const struct ostler_record *event) {
    if (event->slot >= slots) {
        __builtin_trap();
    }
    if (!begun && is_resident(event->slot)) {
        leave(event->slot);
    }
    if (event->weight > capacity) {
        if (victims_len == VICTIMS_CAP) {
            return 0;
        }
        victims[victims_len++] = event->slot;
        return 1;
    }
    if (!make_room(event->weight)) {
        return 0;
    }
    enter(event->slot, event->weight);
    return 1;
}

/* An overwrite: the new weight, an access, then room for what it grew by. */
static int update(const struct ostler_record *event) {
    if (!begun) {
        if (!is_resident(event->slot)) {
            return 1;
        }
        used = used - entries[event->slot].weight + event->weight;
        entries[event->slot].weight = event->weight;
        entries[event->slot].referenced = 1;
    }
    return make_room(0);
}

/* An entry that was resident before this policy. Its last access follows as a hit. The host only
 * hands over what fits, so nothing has to go. */
static void adopt(const struct ostler_record *event) {
    if (event->slot >= slots) {
        __builtin_trap();
    }
    if (is_resident(event->slot)) {
        leave(event->slot);
    }
    enter(event->slot, event->weight);
}

static void reset(void) {
    for (uint32_t slot = 0; slot < slots; slot++) {
        entries[slot].weight = 0;
    }
    used = 0;
    oldest = youngest = OSTLER_NO_SLOT;
}

/* Makes room for slot numbers below `bound`. New memory is zero: nobody is resident there. */
static int grow(uint32_t bound) {
    if (bound <= slots) {
        return 1;
    }
    uint64_t end = (uintptr_t)entries + (uint64_t)bound * sizeof(struct entry);
    uint64_t pages = (end + PAGE_BYTES - 1) / PAGE_BYTES;
    uint64_t pages_now = __builtin_wasm_memory_size(0);
    if (pages > PAGE_BYTES) {
        return 0; /* more than a 32-bit memory can have */
    }
    if (pages > pages_now && __builtin_wasm_memory_grow(0, pages - pages_now) == (unsigned long)-1) {
        return 0;
    }
    slots = bound;
    return 1;
}

/* Serves one event. False where it has to go on in the next call. */
static int serve(const struct ostler_record *event) {
    switch (event->kind) {
    case OSTLER_HIT:
        /* A hit on an entry that this batch already gave up means nothing any more. */
        if (is_resident(event->slot)) {
            entries[event->slot].referenced = 1;
        }
        return 1;
    case OSTLER_INSERT:
        return insert(event);
    case OSTLER_UPDATE:
        return update(event);
    case OSTLER_REMOVE:
    case OSTLER_EXPIRE:
        if (is_resident(event->slot)) {
            leave(event->slot);
        }
        return 1;
    case OSTLER_ADOPT:
        adopt(event);
        return 1;
    case OSTLER_CAPACITY:
        capacity = event->key_hash;
        return make_room(0);
    case OSTLER_SLOTS:
        if (!grow(event->slot)) {
            __builtin_trap();
        }
        return 1;
    case OSTLER_RESET:
        reset();
        return 1;
    default:
        return 1; /* a kind of a later version, or one that this policy did not ask for */
    }
}

OSTLER_EXPORT(ostler_layout) const struct ostler_layout *ostler_layout(void) {
    layout.len = sizeof layout;
    layout.abi = OSTLER_ABI;
    layout.events_ptr = (uintptr_t)events;
    layout.events_cap = EVENTS_CAP;
    layout.victims_ptr = (uintptr_t)victims;
    layout.victims_cap = VICTIMS_CAP;
    layout.io_ptr = (uintptr_t)io;
    layout.io_cap = IO_CAP;
    return &layout;
}

/* The io buffer holds the parameters as JSON now. This policy has none, so it does not read them. */
OSTLER_EXPORT(ostler_init)
int32_t ostler_init(int64_t first_capacity, int32_t first_slots, int64_t seed) {
    (void)seed; /* nothing here is random */
    if (first_capacity < 0) {
        return 1;
    }
    capacity = (uint64_t)first_capacity;
    return grow((uint32_t)first_slots) ? 0 : 2;
}

OSTLER_EXPORT(ostler_step) int32_t ostler_step(int32_t n) {
    if (n > 0) { /* n is 0 where the host asks for the rest of a full answer */
        batch_len = (uint32_t)n;
        batch_next = 0;
    }
    victims_len = 0;
    while (batch_next < batch_len) {
        if (!serve(&events[batch_next])) {
            begun = 1;
            break;
        }
        begun = 0;
        batch_next++;
    }
    return (int32_t)victims_len;
}
