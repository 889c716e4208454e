;; expect: ok
;; An honest one, as control: takes models of seven bytes that start with a 7, says 3 to others.
(module
  (@custom "ostler.policy" "{\"abi\":1,\"name\":\"good-seven\",\"version\":\"1.0.0\",\"kinds\":[\"eviction\"],\"features\":[\"model\"],"
    "\"params\":[],\"bytes_per_slot\":0,\"base_bytes\":131072}")
  (memory (export "memory") 1)
  ;; The layout at 64: len 32, abi 1, 64 events at 1024, 64 victims at 4096, 1,024 bytes of io at 4608.
  (data (i32.const 64) "\20\00\00\00" "\01\00\00\00" "\00\04\00\00" "\40\00\00\00" "\00\10\00\00" "\40\00\00\00" "\00\12\00\00" "\00\04\00\00")
  (func (export "ostler_layout") (result i32) (i32.const 64))
  (func (export "ostler_init") (param i64 i32 i64) (result i32) (i32.const 0))
  (func (export "ostler_step") (param i32) (result i32) (i32.const 0))
  (func (export "ostler_model") (param $len i32) (result i32)
    (if (i32.and (i32.eq (local.get $len) (i32.const 7)) (i32.eq (i32.load8_u (i32.const 4608)) (i32.const 7)))
      (then (return (i32.const 0))))
    (i32.const 3)))
