;; expect: ok
;; An honest FIFO that traps where a NaN is not the canonical one: NaNs are the same everywhere.
(module
  (@custom "ostler.policy" "{\"abi\":1,\"name\":\"nan-canonical\",\"version\":\"1.0.0\",\"kinds\":[\"eviction\"],\"features\":[],"
    "\"events\":[\"hit\"],\"params\":[],\"bytes_per_slot\":16,\"base_bytes\":131072}")
  (memory (export "memory") 1)
  ;; The layout at 64: len 32, abi 1, 64 events at 1024, 64 victims at 4096, 512 bytes of io at 4608.
  (data (i32.const 64)
    "\20\00\00\00" "\01\00\00\00"
    "\00\04\00\00" "\40\00\00\00"
    "\00\10\00\00" "\40\00\00\00"
    "\00\12\00\00" "\00\02\00\00")
  (func (export "ostler_layout") (result i32) (i32.const 64))
  ;; Per slot, from 65536 on, 16 bytes: previous, next (both -1 at the ends), weight, resident.
  (global $head (mut i32) (i32.const -1))
  (global $tail (mut i32) (i32.const -1))
  (global $used (mut i64) (i64.const 0))
  (global $capacity (mut i64) (i64.const 0))
  (global $victims (mut i32) (i32.const 0))

  (func $entry (param $slot i32) (result i32)
    (i32.add (i32.const 65536) (i32.shl (local.get $slot) (i32.const 4))))

  ;; Makes room for slots below $bound.
  (func $reserve (param $bound i32)
    (local $pages i32)
    (local.set $pages
      (i32.sub
        (i32.shr_u (i32.add (call $entry (local.get $bound)) (i32.const 65535)) (i32.const 16))
        (memory.size)))
    (if (i32.gt_s (local.get $pages) (i32.const 0))
      (then
        (if (i32.lt_s (memory.grow (local.get $pages)) (i32.const 0)) (then unreachable)))))

  (func $push (param $slot i32) (param $weight i32)
    (local $entry i32)
    (local.set $entry (call $entry (local.get $slot)))
    (i32.store (local.get $entry) (global.get $tail))
    (i32.store offset=4 (local.get $entry) (i32.const -1))
    (i32.store offset=8 (local.get $entry) (local.get $weight))
    (i32.store offset=12 (local.get $entry) (i32.const 1))
    (if (i32.eq (global.get $tail) (i32.const -1))
      (then (global.set $head (local.get $slot)))
      (else (i32.store offset=4 (call $entry (global.get $tail)) (local.get $slot))))
    (global.set $tail (local.get $slot))
    (global.set $used
      (i64.add (global.get $used) (i64.extend_i32_u (local.get $weight)))))

  (func $unlink (param $slot i32)
    (local $entry i32) (local $previous i32) (local $next i32)
    (local.set $entry (call $entry (local.get $slot)))
    (local.set $previous (i32.load (local.get $entry)))
    (local.set $next (i32.load offset=4 (local.get $entry)))
    (if (i32.eq (local.get $previous) (i32.const -1))
      (then (global.set $head (local.get $next)))
      (else (i32.store offset=4 (call $entry (local.get $previous)) (local.get $next))))
    (if (i32.eq (local.get $next) (i32.const -1))
      (then (global.set $tail (local.get $previous)))
      (else (i32.store (call $entry (local.get $next)) (local.get $previous))))
    (i32.store offset=12 (local.get $entry) (i32.const 0))
    (global.set $used
      (i64.sub (global.get $used) (i64.extend_i32_u (i32.load offset=8 (local.get $entry))))))

  ;; Chooses the oldest until the rest fits, as far as the buffer of 64 reaches.
  (func $evict
    (local $slot i32)
    (block $done
      (loop $next
        (br_if $done (i64.le_u (global.get $used) (global.get $capacity)))
        (br_if $done (i32.ge_u (global.get $victims) (i32.const 64)))
        (local.set $slot (global.get $head))
        (br_if $done (i32.eq (local.get $slot) (i32.const -1)))
        (call $unlink (local.get $slot))
        (i32.store offset=4096 (i32.shl (global.get $victims) (i32.const 2)) (local.get $slot))
        (global.set $victims (i32.add (global.get $victims) (i32.const 1)))
        (br $next))))

  (func $event (param $record i32)
    (local $slot i32) (local $weight i32) (local $kind i32) (local $resident i32)
    (local.set $slot (i32.load offset=16 (local.get $record)))
    (local.set $weight (i32.load offset=20 (local.get $record)))
    (local.set $kind (i32.load8_u offset=30 (local.get $record)))
    ;; 1 insert, 5 adopt
    (if (i32.or (i32.eq (local.get $kind) (i32.const 1)) (i32.eq (local.get $kind) (i32.const 5)))
      (then
        (call $push (local.get $slot) (local.get $weight))
        (call $evict)
        (return)))
    ;; 2 update, 3 remove, 4 expire: only of an entry not chosen before
    (if (i32.le_u (i32.sub (local.get $kind) (i32.const 2)) (i32.const 2))
      (then
        (if (i32.eqz (i32.load offset=12 (call $entry (local.get $slot)))) (then (return)))
        (if (i32.eq (local.get $kind) (i32.const 2))
          (then
            (global.set $used
              (i64.add
                (i64.sub (global.get $used)
                  (i64.load32_u offset=8 (call $entry (local.get $slot))))
                (i64.extend_i32_u (local.get $weight))))
            (i32.store offset=8 (call $entry (local.get $slot)) (local.get $weight))
            (call $evict))
          (else (call $unlink (local.get $slot))))
        (return)))
    ;; 6 capacity
    (if (i32.eq (local.get $kind) (i32.const 6))
      (then
        (global.set $capacity (i64.load (local.get $record)))
        (call $evict)
        (return)))
    ;; 8 slots
    (if (i32.eq (local.get $kind) (i32.const 8))
      (then (call $reserve (local.get $slot)) (return)))
    ;; 9 reset
    (if (i32.eq (local.get $kind) (i32.const 9))
      (then
        (loop $next
          (if (i32.ne (global.get $head) (i32.const -1))
            (then (call $unlink (global.get $head)) (br $next)))))))

  (global $one (mut f64) (f64.const -1))
  (func (export "ostler_init") (param $capacity i64) (param $slots i32) (param i64) (result i32)
    (global.set $capacity (local.get $capacity))
    (call $reserve (local.get $slots))
    (i32.const 0))
  (func (export "ostler_step") (param $n i32) (result i32)
    (local $record i32)
    (global.set $victims (i32.const 0))
    ;; The square root of a negative number, and an operation on a NaN with a payload.
    (if
      (i32.or
        (i64.ne (i64.reinterpret_f64 (f64.sqrt (global.get $one)))
          (i64.const 0x7ff8000000000000))
        (i64.ne
          (i64.reinterpret_f64 (f64.add (f64.const -nan:0x8000000001234) (global.get $one)))
          (i64.const 0x7ff8000000000000)))
      (then unreachable))
    (local.set $record (i32.const 1024))
    (block $done
      (loop $next
        (br_if $done (i32.eqz (local.get $n)))
        (call $event (local.get $record))
        (local.set $record (i32.add (local.get $record) (i32.const 32)))
        (local.set $n (i32.sub (local.get $n) (i32.const 1)))
        (br $next)))
    (call $evict)
    (global.get $victims)))
