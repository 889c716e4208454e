;; expect: refused features
;; Its memory has 64-bit addresses.
(module
  (@custom "ostler.policy" "{\"abi\":1,\"name\":\"memory64\",\"version\":\"1.0.0\",\"kinds\":[\"eviction\"],\"features\":[],"
    "\"events\":[\"hit\"],\"params\":[],\"bytes_per_slot\":16,\"base_bytes\":131072}")
  (memory (export "memory") i64 1)
  (func (export "ostler_layout") (result i32) (i32.const 64))
  (func (export "ostler_init") (param i64 i32 i64) (result i32) (i32.const 0))
  (func (export "ostler_step") (param i32) (result i32) (i32.const 0)))
