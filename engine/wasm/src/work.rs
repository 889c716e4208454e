//! How much work a function is for the compiler, judged from its shape.
//!
//! Compiling cannot be cancelled, so its cost is bounded beforehand. The weights come from measured
//! worst cases (`tests/compile` generates them): a unit is about a microsecond of a 2020s core at
//! worst, and ordinary code costs a tenth of its estimate.
//! It must not know what is allowed: it measures, [`admission`](crate::admission) judges.

use wasmparser::{BlockType, FuncType, FunctionBody, Operator};

use crate::load_error::LoadError;
use crate::survey::{Survey, malformed};

/// Work for a function, however small.
const WORK_PER_FUNCTION: u64 = 50;
/// Work for one byte of a body.
const WORK_PER_BYTE: u64 = 2;
/// Work for one edge of the control flow.
const WORK_PER_EDGE: u64 = 20;
/// One edge costs one unit more for this many values that may be alive across it.
const VALUES_PER_UNIT: u64 = 8;
/// Some passes compare all edges of a function: this many pairs cost one unit.
const EDGE_PAIRS_PER_UNIT: u64 = 200;
/// The same for the loops of a function.
const LOOP_PAIRS_PER_UNIT: u64 = 20;
/// Work for a call, and for each value handed over in it.
const WORK_PER_CALL: u64 = 8;
const WORK_PER_CALL_VALUE: u64 = 2;
/// Work for a floating-point instruction: its NaN is made canonical, its conversion is checked.
const WORK_PER_FLOAT: u64 = 16;
/// Edges that the compiler makes of an instruction which calls into the host or checks a type.
const EDGES_PER_HEAVY: u64 = 2;
/// Targets of a `br_table` that cost as much as one edge.
const TARGETS_PER_EDGE: u64 = 4;

/// What a body asks of the compiler.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Work {
    /// Estimated units, each about a microsecond.
    pub(crate) units: u64,
    /// Deepest nesting of loops.
    pub(crate) loop_depth: usize,
    /// Deepest nesting of blocks.
    pub(crate) block_depth: usize,
    /// Values that its blocks take and leave.
    pub(crate) carried: u64,
}

/// Counts the locals of a body and its parameters, without expanding what runs of locals claim.
pub(crate) fn count_locals(body: &FunctionBody<'_>, params: usize) -> Result<u64, LoadError> {
    let mut count = params as u64;
    for run in body.get_locals_reader().map_err(malformed)? {
        count += u64::from(run.map_err(malformed)?.0);
    }
    Ok(count)
}

/// Measures a body that has `locals` locals. Cost: one pass over its bytes, no allocation per
/// instruction.
pub(crate) fn measure(
    survey: &Survey<'_>,
    body: &FunctionBody<'_>,
    locals: u64,
) -> Result<Work, LoadError> {
    let mut walk = Walk::new(survey);
    let mut work = Work::default();
    let mut reader = body.get_operators_reader().map_err(malformed)?;
    while !reader.eof() {
        walk.add(&reader.read().map_err(malformed)?);
        work.loop_depth = work.loop_depth.max(walk.loop_depth);
        work.block_depth = work.block_depth.max(walk.frames.len());
    }
    work.carried = walk.carried;
    work.units = walk.units(body.as_bytes().len() as u64, locals);
    Ok(work)
}

/// The state of one pass.
struct Walk<'a, 'b> {
    survey: &'a Survey<'b>,
    /// Open blocks: true for a loop.
    frames: Vec<bool>,
    loop_depth: usize,
    loops: u64,
    edges: u64,
    targets: u64,
    carried: u64,
    /// Units that need no more than the instruction itself.
    flat: u64,
}

impl<'a, 'b> Walk<'a, 'b> {
    fn new(survey: &'a Survey<'b>) -> Self {
        let frames = Vec::new();
        Self { survey, frames, loop_depth: 0, loops: 0, edges: 0, targets: 0, carried: 0, flat: 0 }
    }

    fn add(&mut self, operator: &Operator<'_>) {
        match operator {
            Operator::Loop { blockty } => self.open(true, *blockty),
            Operator::Block { blockty } | Operator::If { blockty } => self.open(false, *blockty),
            Operator::End => self.close(),
            Operator::Br { .. } | Operator::BrIf { .. } | Operator::Else | Operator::Return => {
                self.edges += 1;
            }
            Operator::BrTable { targets } => {
                self.edges += 1;
                self.targets += u64::from(targets.len());
            }
            Operator::Call { function_index } => {
                self.call(self.survey.function_type(*function_index));
            }
            Operator::CallIndirect { type_index, .. } => {
                self.call(self.survey.type_at(*type_index));
                self.edges += EDGES_PER_HEAVY;
            }
            _ if is_heavy(operator) => self.edges += EDGES_PER_HEAVY,
            _ if is_float(operator) => self.flat += WORK_PER_FLOAT,
            _ => {}
        }
    }

    fn open(&mut self, is_loop: bool, ty: BlockType) {
        self.edges += 1;
        self.loops += u64::from(is_loop);
        self.loop_depth += usize::from(is_loop);
        self.frames.push(is_loop);
        self.carried += match ty {
            BlockType::Empty => 0,
            BlockType::Type(_) => 1,
            BlockType::FuncType(index) => self.survey.type_at(index).map_or(0, value_count),
        };
    }

    fn close(&mut self) {
        if self.frames.pop() == Some(true) {
            self.loop_depth -= 1;
        }
    }

    fn call(&mut self, ty: Option<&FuncType>) {
        self.flat += WORK_PER_CALL + ty.map_or(0, value_count) * WORK_PER_CALL_VALUE;
    }

    fn units(&self, bytes: u64, locals: u64) -> u64 {
        let edges = self.edges + self.targets / TARGETS_PER_EDGE;
        WORK_PER_FUNCTION
            + WORK_PER_BYTE * bytes
            + self.flat
            + edges * (WORK_PER_EDGE + locals / VALUES_PER_UNIT)
            + self.edges * self.edges / EDGE_PAIRS_PER_UNIT
            + self.loops * self.loops / LOOP_PAIRS_PER_UNIT
    }
}

fn value_count(ty: &FuncType) -> u64 {
    (ty.params().len() + ty.results().len()) as u64
}

/// Instructions that become a call into the host or several blocks.
fn is_heavy(operator: &Operator<'_>) -> bool {
    matches!(
        operator,
        Operator::MemoryGrow { .. }
            | Operator::MemoryFill { .. }
            | Operator::MemoryCopy { .. }
            | Operator::MemoryInit { .. }
            | Operator::DataDrop { .. }
            | Operator::TableGet { .. }
            | Operator::TableSet { .. }
            | Operator::TableGrow { .. }
            | Operator::TableFill { .. }
            | Operator::TableCopy { .. }
            | Operator::TableInit { .. }
            | Operator::ElemDrop { .. }
            | Operator::RefFunc { .. }
    )
}

/// Floating-point arithmetic and conversions.
#[rustfmt::skip]
fn is_float(operator: &Operator<'_>) -> bool {
    use Operator as O;
    matches!(
        operator,
        O::F32Ceil | O::F32Floor | O::F32Trunc | O::F32Nearest | O::F32Sqrt | O::F32Add
        | O::F32Sub | O::F32Mul | O::F32Div | O::F32Min | O::F32Max | O::F64Ceil | O::F64Floor
        | O::F64Trunc | O::F64Nearest | O::F64Sqrt | O::F64Add | O::F64Sub | O::F64Mul | O::F64Div
        | O::F64Min | O::F64Max | O::F32x4Ceil | O::F32x4Floor | O::F32x4Trunc | O::F32x4Nearest
        | O::F32x4Sqrt | O::F32x4Add | O::F32x4Sub | O::F32x4Mul | O::F32x4Div | O::F32x4Min
        | O::F32x4Max | O::F64x2Ceil | O::F64x2Floor | O::F64x2Trunc | O::F64x2Nearest
        | O::F64x2Sqrt | O::F64x2Add | O::F64x2Sub | O::F64x2Mul | O::F64x2Div | O::F64x2Min
        | O::F64x2Max | O::F32DemoteF64 | O::F64PromoteF32 | O::F32x4DemoteF64x2Zero
        | O::F64x2PromoteLowF32x4 | O::I32TruncF32S | O::I32TruncSatF32S | O::F32ConvertI32S
        | O::I32TruncF32U | O::I32TruncSatF32U | O::F32ConvertI32U | O::I32TruncF64S
        | O::I32TruncSatF64S | O::F64ConvertI32S | O::I32TruncF64U | O::I32TruncSatF64U
        | O::F64ConvertI32U | O::I64TruncF32S | O::I64TruncSatF32S | O::F32ConvertI64S
        | O::I64TruncF32U | O::I64TruncSatF32U | O::F32ConvertI64U | O::I64TruncF64S
        | O::I64TruncSatF64S | O::F64ConvertI64S | O::I64TruncF64U | O::I64TruncSatF64U
        | O::F64ConvertI64U | O::I32x4TruncSatF32x4S | O::I32x4TruncSatF64x2SZero
        | O::F32x4ConvertI32x4S | O::F64x2ConvertLowI32x4S | O::I32x4TruncSatF32x4U
        | O::I32x4TruncSatF64x2UZero | O::F32x4ConvertI32x4U | O::F64x2ConvertLowI32x4U
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The work of the first function with a body in `text`, which has one local at most.
    fn work_of(text: &str) -> Work {
        let bytes = wat::parse_str(text).unwrap();
        let survey = Survey::read(&bytes).unwrap();
        measure(&survey, &survey.bodies[0], 1).unwrap()
    }

    #[test]
    fn shapes_are_measured() {
        let base = work_of("(module (func))");
        assert_eq!(base.units, 50 + 2 * 2, "a function of two bytes");
        let nest = work_of("(module (func (loop (block (loop (loop))) (loop))))");
        assert_eq!((nest.loop_depth, nest.block_depth, nest.carried), (3, 4, 0));
        let wide = "(module (type $t (func (param i32 i32) (result i32 i32 i32)))
            (func (local i32) (block (result i32) (i32.const 1)) (i32.const 2)
                (block (type $t) unreachable) unreachable))";
        assert_eq!(work_of(wide).carried, 1 + 5);
    }

    /// Units beside what bytes and the function itself cost.
    #[test]
    fn edges_calls_and_floats_cost() {
        let extra = |text: &str| {
            let bytes = wat::parse_str(text).unwrap();
            let len = Survey::read(&bytes).unwrap().bodies[0].as_bytes().len() as u64;
            work_of(text).units - 50 - 2 * len
        };
        assert_eq!(extra("(module (func (block)))"), 20);
        assert_eq!(extra("(module (func (loop)))"), 20);
        assert_eq!(extra("(module (func (call 0)))"), 8);
        assert_eq!(extra("(module (func (param i32) (call 0 (i32.const 1))))"), 8 + 2);
        assert_eq!(extra("(module (func (drop (f64.sqrt (f64.const 1)))))"), 16);
        assert_eq!(extra("(module (func (drop (i32.add (i32.const 1) (i32.const 1)))))"), 0);
        let memory = "(module (memory 1) (func (drop (memory.grow (i32.const 1)))))";
        assert_eq!(extra(memory), 2 * 20);
        // A thousand loops: each an edge, and every pair of edges and of loops.
        let many = format!("(module (func {}))", "(loop)".repeat(1_000));
        assert_eq!(extra(&many), 1_000 * 20 + 1_000_000 / 200 + 1_000_000 / 20);
    }
}
