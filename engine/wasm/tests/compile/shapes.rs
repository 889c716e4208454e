//! What is hard on a compiler: one shape of function body for each pass that has a weak side.

use wasm_encoder::{BlockType, Instruction as I, MemArg, ValType};

/// The type `() -> ()`, one with as many parameters and results as allowed, and one for blocks.
pub(crate) const NOTHING: u32 = 0;
pub(crate) const WIDE: u32 = 1;
pub(crate) const CARRY: u32 = 2;
/// Parameters and results of the wide type, and both of the block type.
pub(crate) const WIDE_PARAMS: usize = 32;
pub(crate) const WIDE_RESULTS: usize = 16;
pub(crate) const CARRIED: usize = 16;

/// A function body: something before, something repeated until the body is full, something after.
pub(crate) struct Shape {
    pub(crate) name: &'static str,
    /// Body bytes at which it is worst.
    pub(crate) body_bytes: usize,
    /// Locals beside the first, which is an `i32`.
    pub(crate) locals: (u32, ValType),
    pub(crate) before: fn() -> Vec<I<'static>>,
    /// The i-th repetition.
    pub(crate) repeat: fn(u32) -> Vec<I<'static>>,
    pub(crate) after: fn() -> Vec<I<'static>>,
}

fn nothing() -> Vec<I<'static>> {
    Vec::new()
}

pub(crate) fn memarg(align: u32) -> MemArg {
    MemArg { offset: 0, align, memory_index: 0 }
}

/// Changes one of the other locals, another one each time.
fn change(i: u32) -> [I<'static>; 2] {
    [I::LocalGet(1 + (i + 1) % 254), I::LocalSet(1 + i % 254)]
}

fn looped(i: u32) -> Vec<I<'static>> {
    let [get, set] = change(i);
    vec![I::Loop(BlockType::Empty), get, set, I::LocalGet(0), I::BrIf(0), I::End]
}

fn nested(i: u32) -> Vec<I<'static>> {
    let mut nest = vec![I::Loop(BlockType::Empty); 32];
    nest.extend(change(i));
    nest.extend((0..32).flat_map(|_| [I::LocalGet(0), I::BrIf(0), I::End]));
    nest
}

fn loop_that_changes_all() -> Vec<I<'static>> {
    let mut all = vec![I::Loop(BlockType::Empty)];
    all.extend((0..254).flat_map(change));
    all
}

/// The other locals: one, or as many as the limits admit.
const ONE: (u32, ValType) = (1, ValType::I64);
const MANY: (u32, ValType) = (254, ValType::I64);

/// A shape of full size with nothing before and after.
fn shape(name: &'static str, locals: (u32, ValType), repeat: fn(u32) -> Vec<I<'static>>) -> Shape {
    Shape { name, body_bytes: 32_000, locals, before: nothing, repeat, after: nothing }
}

/// Every shape.
pub(crate) fn shapes() -> Vec<Shape> {
    let mut all = control_flow();
    all.extend(calls());
    all.extend(arithmetic());
    all
}

fn control_flow() -> Vec<Shape> {
    vec![
        shape("loops in a row", MANY, looped),
        shape("loops in loops", MANY, nested),
        shape("empty loops", ONE, |_| vec![I::Loop(BlockType::Empty), I::End]),
        Shape {
            before: || vec![I::Loop(BlockType::Empty)],
            after: || vec![I::End],
            ..shape("edges to one loop", ONE, |_| vec![I::LocalGet(0), I::BrIf(0)])
        },
        Shape {
            before: loop_that_changes_all,
            after: || vec![I::End],
            ..shape("edges that carry locals", MANY, |i| {
                let [get, set] = change(i);
                vec![get, set, I::LocalGet(0), I::BrIf(0)]
            })
        },
        Shape {
            before: loop_that_changes_all,
            after: || vec![I::End],
            ..shape("tables of branches", MANY, |_| {
                vec![I::LocalGet(0), I::BrTable(vec![0; 2_000].into(), 0)]
            })
        },
        Shape {
            before: || vec![I::LocalGet(0); CARRIED],
            after: || vec![I::Drop; CARRIED],
            ..shape("blocks that carry values", ONE, |i| {
                let block = if i < 32 { BlockType::FunctionType(CARRY) } else { BlockType::Empty };
                vec![I::Loop(block), I::LocalGet(0), I::BrIf(0), I::End]
            })
        },
    ]
}

fn calls() -> Vec<Shape> {
    vec![
        Shape {
            before: || vec![I::LocalGet(0); WIDE_PARAMS],
            after: || vec![I::Drop; WIDE_PARAMS],
            ..shape("calls with many values", ONE, |_| {
                let mut call =
                    vec![I::LocalGet(0), I::CallIndirect { type_index: WIDE, table_index: 0 }];
                call.extend(vec![I::LocalGet(0); WIDE_PARAMS - WIDE_RESULTS]);
                call
            })
        },
        shape("indirect calls", ONE, |_| {
            vec![I::LocalGet(0), I::CallIndirect { type_index: NOTHING, table_index: 0 }]
        }),
        shape("calls", ONE, |_| vec![I::Call(0)]),
        shape("memory growth", ONE, |_| vec![I::MemorySize(0), I::MemoryGrow(0), I::Drop]),
        shape("table accesses", ONE, |_| {
            vec![I::LocalGet(0), I::LocalGet(0), I::TableGet(0), I::TableSet(0)]
        }),
        Shape {
            before: || {
                let load = [I::LocalGet(0), I::I32Load(memarg(2))];
                load.into_iter().cycle().take(1_800).collect()
            },
            after: || {
                let mut all = vec![I::I32Xor; 899];
                all.push(I::LocalSet(0));
                all
            },
            ..shape("values alive over blocks and calls", ONE, |_| {
                vec![I::LocalGet(0), I::If(BlockType::Empty), I::Call(0), I::End]
            })
        },
    ]
}

fn arithmetic() -> Vec<Shape> {
    let float = || vec![I::LocalGet(0), I::F64ConvertI32S];
    let store_float = || vec![I::I32TruncF64S, I::LocalSet(0)];
    let vector = || vec![I::LocalGet(0), I::I8x16Splat];
    let store_vector = || vec![I::V128AnyTrue, I::LocalSet(0)];
    vec![
        Shape {
            before: float,
            after: store_float,
            ..shape("floats", ONE, |_| vec![I::F64Ceil, I::F64Sqrt])
        },
        Shape {
            before: float,
            after: store_float,
            ..shape("float signs", ONE, |_| vec![I::F64Abs, I::F64Neg])
        },
        Shape {
            before: float,
            after: store_float,
            ..shape("checked conversions", ONE, |_| vec![I::I64TruncF64U, I::F64ConvertI64U])
        },
        Shape {
            before: vector,
            after: store_vector,
            ..shape("vectors", ONE, |_| {
                vec![
                    I::LocalGet(0),
                    I::I8x16Shl,
                    I::I8x16Popcnt,
                    I::LocalGet(0),
                    I::I8x16ShrS,
                    I::I64x2Abs,
                ]
            })
        },
        Shape {
            before: vector,
            after: store_vector,
            ..shape("vector conversions", ONE, |_| {
                vec![I::I32x4TruncSatF32x4U, I::F32x4ConvertI32x4U]
            })
        },
        Shape {
            before: || vec![I::LocalGet(0)],
            after: || vec![I::LocalSet(0)],
            ..shape("bit counts", ONE, |_| vec![I::I32Popcnt, I::I32Clz, I::I32Ctz])
        },
        shape("divisions", ONE, |_| {
            vec![I::LocalGet(0), I::LocalGet(0), I::I32RemS, I::LocalSet(0)]
        }),
        Shape { body_bytes: 40, ..shape("small functions", ONE, |_| vec![I::Nop]) },
    ]
}
