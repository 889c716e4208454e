;; expect: fault bad_layout
;; Takes models, and has no room for one.
(module
  (@custom "ostler.policy" "{\"abi\":1,\"name\":\"io-small\",\"version\":\"1.0.0\",\"kinds\":[\"warming\"],\"features\":[\"model\"],"
    "\"params\":[],\"bytes_per_slot\":0,\"base_bytes\":131072}")
  (memory (export "memory") 1)
  ;; The layout at 64: as it should be, but for 1,023 bytes of io.
  (data (i32.const 64) "\20\00\00\00" "\01\00\00\00" "\00\04\00\00" "\08\00\00\00" "\00\08\00\00" "\08\00\00\00" "\00\10\00\00" "\ff\03\00\00")
  (func (export "ostler_layout") (result i32) (i32.const 64))
  (func (export "ostler_init") (param i64 i32 i64) (result i32) (i32.const 0))
  (func (export "ostler_rank") (param $n i32) (result i32)
    (local.get $n)
  )
  (func (export "ostler_model") (param i32) (result i32)
    (i32.const 0)))
