/* The contract between Ostler and a policy, version 1, as C declarations.
 *
 * ABI.md in Ostler's sdk folder tells the whole contract; this header only gives its numbers names.
 * Compile with -ffreestanding for wasm32: nothing here needs a C library. */
#ifndef OSTLER_H
#define OSTLER_H

#include <stdint.h>

#define OSTLER_ABI 1
#define OSTLER_NO_SLOT UINT32_MAX

/* Puts before a function's definition what makes it an export of the module. */
#define OSTLER_EXPORT(name) __attribute__((export_name(#name)))

/* What a record reports. A guest ignores every other number. */
enum ostler_kind {
    OSTLER_HIT = 0,      /* a resident entry was read `count` times */
    OSTLER_INSERT = 1,   /* a new entry took `slot` */
    OSTLER_UPDATE = 2,   /* a resident entry was overwritten: an access, with the new weight */
    OSTLER_REMOVE = 3,   /* the user removed the entry */
    OSTLER_EXPIRE = 4,   /* time removed the entry */
    OSTLER_ADOPT = 5,    /* the entry was resident before this policy took over */
    OSTLER_CAPACITY = 6, /* the new capacity is in `key_hash` */
    OSTLER_MISS = 7,     /* a request found nothing; may be lost */
    OSTLER_SLOTS = 8,    /* slot numbers below `slot` may be used from now on */
    OSTLER_RESET = 9     /* forget everything: nothing is resident */
};

/* Bits of `flags`. */
enum ostler_flag {
    OSTLER_PREFETCHED = 1, /* a prefetch policy brought the entry in */
    OSTLER_WARMED = 2      /* a warming policy brought the entry in */
};

/* One observed operation, as the host writes it into the event window. */
struct ostler_record {
    uint64_t key_hash; /* hash of the key, stable for the life of the cache */
    uint64_t time_ms;  /* milliseconds since the cache started */
    uint32_t slot;     /* the entry's slot, or OSTLER_NO_SLOT */
    uint32_t weight;   /* in the cache's unit, at least 1 */
    uint32_t cost_us;  /* what it cost to load, microseconds; 0 if unknown */
    uint8_t count;     /* hits this record stands for, 1 to 255 */
    uint8_t class_;    /* the caller's request class, 0 if none */
    uint8_t kind;      /* an ostler_kind */
    uint8_t flags;     /* ostler_flag bits; the others are zero */
};

_Static_assert(sizeof(struct ostler_record) == 32, "a record is 32 bytes");

/* What ostler_layout returns the address of. The pointers are addresses in the linear memory. */
struct ostler_layout {
    uint32_t len;         /* bytes of this struct: 32 */
    uint32_t abi;         /* OSTLER_ABI */
    uint32_t events_ptr;  /* the event window, a multiple of 8 */
    uint32_t events_cap;  /* records that fit there, 1 to 4,096 */
    uint32_t victims_ptr; /* uint32_t slots, a multiple of 4 */
    uint32_t victims_cap; /* victims that fit there, 1 to 65,536 */
    uint32_t io_ptr;      /* the io buffer */
    uint32_t io_cap;      /* its bytes, 256 to 1,048,576 */
};

_Static_assert(sizeof(struct ostler_layout) == 32, "a layout is 32 bytes");

/* The three exports that a policy defines. */
const struct ostler_layout *ostler_layout(void);
int32_t ostler_init(int64_t capacity, int32_t slots, int64_t seed);
int32_t ostler_step(int32_t n);

/* The one import that a policy may use: a line of text for the operator. The host bounds how long
 * and how often. A module that never calls it does not import it. */
__attribute__((import_module("ostler"), import_name("log"))) void ostler_log(const char *text,
                                                                              uint32_t bytes);

#endif
