;; expect: refused exports
;; Exports a name that is kept for a later version.
(module
  (@custom "ostler.policy" "{\"abi\":1,\"name\":\"export-reserved\",\"version\":\"1.0.0\",\"kinds\":[\"eviction\"],\"features\":[],"
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
  (func (export "ostler_step") (param i32) (result i32) (i32.const 0))
  (func (export "ostler_save") (param i32) (result i32) (i32.const 0)))
