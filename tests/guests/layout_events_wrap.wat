;; expect: fault bad_layout
;; Its event window begins near 4 GiB, so that its end wraps around in 32 bits.
(module
  (@custom "ostler.policy" "{\"abi\":1,\"name\":\"layout-events-wrap\",\"version\":\"1.0.0\",\"kinds\":[\"eviction\"],\"features\":[],"
    "\"events\":[\"hit\"],\"params\":[],\"bytes_per_slot\":16,\"base_bytes\":131072}")
  (memory (export "memory") 1)
  (data (i32.const 64)
    "\20\00\00\00" "\01\00\00\00"
    "\f8\ff\ff\ff" "\40\00\00\00"
    "\00\10\00\00" "\40\00\00\00"
    "\00\12\00\00" "\00\02\00\00")
  (func (export "ostler_layout") (result i32) (i32.const 64))
  (func (export "ostler_init") (param i64 i32 i64) (result i32) (i32.const 0))
  (func (export "ostler_step") (param i32) (result i32) (i32.const 0)))
