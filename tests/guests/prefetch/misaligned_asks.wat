;; expect: fault bad_layout
;; Has its asks where records of 8 bytes do not lie.
(module
  (@custom "ostler.policy" "{\"abi\":1,\"name\":\"misaligned-asks\",\"version\":\"1.0.0\",\"kinds\":[\"prefetch\"],\"features\":[\"keys\"],"
    "\"params\":[],\"bytes_per_slot\":0,\"base_bytes\":131072}")
  (memory (export "memory") 1)
  ;; The layout at 64: as it should be, but for asks at 2052.
  (data (i32.const 64) "\28\00\00\00" "\01\00\00\00" "\00\04\00\00" "\10\00\00\00" "\04\08\00\00" "\04\00\00\00" "\00\10\00\00" "\00\02\00\00" "\00\20\00\00" "\00\02\00\00")
  (func (export "ostler_layout") (result i32) (i32.const 64))
  (func (export "ostler_init") (param i64 i32 i64) (result i32) (i32.const 0))
  (func (export "ostler_predict") (param $n i32) (result i32)
    (i32.const 0)))
