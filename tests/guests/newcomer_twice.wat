;; expect: fault bad_victim
;; Rejects every newcomer, and names it twice.
(module
  (@custom "ostler.policy" "{\"abi\":1,\"name\":\"newcomer-twice\",\"version\":\"1.0.0\",\"kinds\":[\"eviction\"],\"features\":[],"
    "\"events\":[\"hit\"],\"params\":[],\"bytes_per_slot\":16,\"base_bytes\":131072}")
  (memory (export "memory") 1)
  ;; The layout at 64: len 32, abi 1, 64 events at 1024, 64 victims at 4096, 512 bytes of io at 4608.
  (data (i32.const 64)
    "\20\00\00\00" "\01\00\00\00"
    "\00\04\00\00" "\40\00\00\00"
    "\00\10\00\00" "\40\00\00\00"
    "\00\12\00\00" "\00\02\00\00")
  (func (export "ostler_layout") (result i32) (i32.const 64))
  (func (export "ostler_init") (param i64 i32 i64) (result i32) (i32.const 0))
  ;; The slot of the last record among the first $n that is an insert, or -1.
  (func $newcomer (param $n i32) (result i32)
    (local $record i32)
    (block $none
      (loop $next
        (br_if $none (i32.eqz (local.get $n)))
        (local.set $n (i32.sub (local.get $n) (i32.const 1)))
        (local.set $record
          (i32.add (i32.const 1024) (i32.shl (local.get $n) (i32.const 5))))
        (br_if $next (i32.ne (i32.load8_u offset=30 (local.get $record)) (i32.const 1)))
        (return (i32.load offset=16 (local.get $record)))))
    (i32.const -1))
  (func (export "ostler_step") (param $n i32) (result i32)
    (local $slot i32)
    (local.set $slot (call $newcomer (local.get $n)))
    (if (i32.lt_s (local.get $slot) (i32.const 0)) (then (return (i32.const 0))))
    (i32.store (i32.const 4096) (local.get $slot))
    (i32.store (i32.const 4100) (local.get $slot))
    (i32.const 2)))
