;; expect: fault trap
;; Divides by what is in the message.
(module
  (@custom "ostler.policy" "{\"abi\":1,\"name\":\"divide\",\"version\":\"1.0.0\",\"kinds\":[\"eviction\"],\"features\":[\"model\"],"
    "\"params\":[],\"bytes_per_slot\":0,\"base_bytes\":131072}")
  (memory (export "memory") 1)
  ;; The layout at 64: len 32, abi 1, 64 events at 1024, 64 victims at 4096, 1,024 bytes of io at 4608.
  (data (i32.const 64) "\20\00\00\00" "\01\00\00\00" "\00\04\00\00" "\40\00\00\00" "\00\10\00\00" "\40\00\00\00" "\00\12\00\00" "\00\04\00\00")
  (func (export "ostler_layout") (result i32) (i32.const 64))
  (func (export "ostler_init") (param i64 i32 i64) (result i32) (i32.const 0))
  (func (export "ostler_step") (param i32) (result i32) (i32.const 0))
  (func (export "ostler_model") (param $len i32) (result i32)
    (i32.div_u (i32.const 1) (i32.load (i32.const 4608)))))
