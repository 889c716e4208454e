;; expect: fault bad_answer
;; Returns fewer scores than none.
(module
  (@custom "ostler.policy" "{\"abi\":1,\"name\":\"negative-count\",\"version\":\"1.0.0\",\"kinds\":[\"warming\"],\"features\":[],"
    "\"params\":[],\"bytes_per_slot\":0,\"base_bytes\":131072}")
  (memory (export "memory") 1)
  ;; The layout at 64: len 32, abi 1, 8 candidates at 1024, 8 scores at 2048, 1,024 bytes of io at 4096.
  (data (i32.const 64) "\20\00\00\00" "\01\00\00\00" "\00\04\00\00" "\08\00\00\00" "\00\08\00\00" "\08\00\00\00" "\00\10\00\00" "\00\04\00\00")
  (func (export "ostler_layout") (result i32) (i32.const 64))
  (func (export "ostler_init") (param i64 i32 i64) (result i32) (i32.const 0))
  (func (export "ostler_rank") (param $n i32) (result i32)
    (i32.const -1)))
