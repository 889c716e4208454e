//! Policy modules made of many functions of one shape.

use wasm_encoder::{
    CodeSection, ConstExpr, CustomSection, ExportKind, ExportSection, Function, FunctionSection,
    GlobalSection, GlobalType, Instruction as I, MemorySection, MemoryType, Module, RefType,
    TableSection, TableType, TypeSection, ValType,
};

use crate::shapes::{CARRIED, NOTHING, Shape, WIDE_PARAMS, WIDE_RESULTS, memarg};

const MANIFEST: &[u8] = br#"{"abi":1,"name":"worst","version":"1","kinds":["eviction"],
    "bytes_per_slot":1,"base_bytes":65536}"#;

fn body(shape: &Shape) -> Function {
    let (count, ty) = shape.locals;
    let mut function = Function::new([(1, ValType::I32), (count, ty)]);
    for instruction in (shape.before)() {
        function.instruction(&instruction);
    }
    let mut after = Function::new([]);
    for instruction in (shape.after)() {
        after.instruction(&instruction);
    }
    let mut unit_len = 0;
    for i in 0.. {
        let start = function.byte_len();
        if start + unit_len + after.byte_len() + 16 > shape.body_bytes {
            break;
        }
        for instruction in (shape.repeat)(i) {
            function.instruction(&instruction);
        }
        unit_len = unit_len.max(function.byte_len() - start);
    }
    for instruction in (shape.after)() {
        function.instruction(&instruction);
    }
    // What was computed is used, or the compiler would leave it out.
    for instruction in [I::LocalGet(0), I::LocalGet(0), I::I32Store8(memarg(0)), I::End] {
        function.instruction(&instruction);
    }
    function
}

/// A policy module with `count` functions of this shape.
pub(crate) fn module(shape: &Shape, count: u32) -> Vec<u8> {
    let mut module = Module::new();
    module.section(&CustomSection { name: "ostler.policy".into(), data: MANIFEST.into() });
    let mut types = TypeSection::new();
    types.ty().function([], []);
    types.ty().function([ValType::I32; WIDE_PARAMS], [ValType::I32; WIDE_RESULTS]);
    types.ty().function([ValType::I32; CARRIED], [ValType::I32; CARRIED]);
    types.ty().function([], [ValType::I32]);
    types.ty().function([ValType::I64, ValType::I32, ValType::I64], [ValType::I32]);
    types.ty().function([ValType::I32], [ValType::I32]);
    module.section(&types);
    let mut functions = FunctionSection::new();
    for _ in 0..count {
        functions.function(NOTHING);
    }
    let mut exports = ExportSection::new();
    exports.export("memory", ExportKind::Memory, 0);
    for (i, name) in (0..).zip(["ostler_layout", "ostler_init", "ostler_step"]) {
        functions.function(3 + i);
        exports.export(name, ExportKind::Func, count + i);
    }
    module.section(&functions);
    let mut tables = TableSection::new();
    tables.table(TableType {
        element_type: RefType::FUNCREF,
        minimum: 4,
        maximum: None,
        table64: false,
        shared: false,
    });
    module.section(&tables);
    let mut memories = MemorySection::new();
    memories.memory(MemoryType {
        minimum: 1,
        maximum: None,
        memory64: false,
        shared: false,
        page_size_log2: None,
    });
    module.section(&memories);
    let mut globals = GlobalSection::new();
    let ty = GlobalType { val_type: ValType::I32, mutable: true, shared: false };
    globals.global(ty, &ConstExpr::i32_const(1024));
    module.section(&globals);
    module.section(&exports);
    let mut code = CodeSection::new();
    let body = body(shape);
    for _ in 0..count {
        code.function(&body);
    }
    for _ in 0..3 {
        let mut stub = Function::new([]);
        stub.instruction(&I::I32Const(0)).instruction(&I::End);
        code.function(&stub);
    }
    module.section(&code);
    module.finish()
}
