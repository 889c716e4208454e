;; expect: ok
;; Answers with the bytes of the keys: a count, eight asks, the io buffer. Any answer can be had from it.
(module
  (@custom "ostler.policy" "{\"abi\":1,\"name\":\"parrot\",\"version\":\"1.0.0\",\"kinds\":[\"prefetch\"],\"features\":[\"keys\"],"
    "\"params\":[],\"bytes_per_slot\":0,\"base_bytes\":131072}")
  (memory (export "memory") 1)
  ;; The layout at 64: len 40, abi 1, 16 accesses at 1024, 8 asks at 2048, 512 bytes of io at 4096, 1,024 of keys at 8192.
  (data (i32.const 64) "\28\00\00\00" "\01\00\00\00" "\00\04\00\00" "\10\00\00\00" "\00\08\00\00" "\08\00\00\00" "\00\10\00\00" "\00\02\00\00" "\00\20\00\00" "\00\04\00\00")
  (func (export "ostler_layout") (result i32) (i32.const 64))
  (func (export "ostler_init") (param i64 i32 i64) (result i32) (i32.const 0))
  (func (export "ostler_predict") (param $n i32) (result i32)
    ;; Without a key it has nothing to say.
    (if (i32.eq (i32.load (i32.const 1040)) (i32.const -1)) (then (return (i32.const 0))))
    (memory.copy (i32.const 2048) (i32.const 8196) (i32.const 192))
    (memory.copy (i32.const 4096) (i32.const 8388) (i32.const 512))
    (i32.load (i32.const 8192))))
