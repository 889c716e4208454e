;; expect: ok
;; An honest one, as control: ranks by the number of accesses.
(module
  (@custom "ostler.policy" "{\"abi\":1,\"name\":\"good-accesses\",\"version\":\"1.0.0\",\"kinds\":[\"warming\"],\"features\":[],"
    "\"params\":[],\"bytes_per_slot\":0,\"base_bytes\":131072}")
  (memory (export "memory") 1)
  ;; The layout at 64: len 32, abi 1, 8 candidates at 1024, 8 scores at 2048, 1,024 bytes of io at 4096.
  (data (i32.const 64) "\20\00\00\00" "\01\00\00\00" "\00\04\00\00" "\08\00\00\00" "\00\08\00\00" "\08\00\00\00" "\00\10\00\00" "\00\04\00\00")
  (func (export "ostler_layout") (result i32) (i32.const 64))
  (func (export "ostler_init") (param i64 i32 i64) (result i32) (i32.const 0))
  (func (export "ostler_rank") (param $n i32) (result i32) (local $i i32)
    ;; The score of a candidate is its number of accesses, and 1 more for a budget.
    (block $done
      (loop $next
        (br_if $done (i32.ge_u (local.get $i) (local.get $n)))
        (i32.store
          (i32.add (i32.const 2048) (i32.mul (local.get $i) (i32.const 4)))
          (i32.add
            (i32.load (i32.add (i32.const 1048) (i32.mul (local.get $i) (i32.const 96))))
            (i64.ne (i64.load (i32.const 4120)) (i64.const 0))))
        (local.set $i (i32.add (local.get $i) (i32.const 1)))
        (br $next)))
    (local.get $n)))
