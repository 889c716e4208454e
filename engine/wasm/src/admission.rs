//! Admission without a compiler: is this module one that the contract allows?
//!
//! It owns the order of the checks and what each compares. Everything here reads bytes and returns a
//! value; nothing is compiled and no code of the module runs.

use ostler_abi::{PolicyKind, export, feature, import};
use wasmparser::{ExternalKind, FuncType, ValType, Validator, WasmFeatures};

use crate::limits::Limits;
use crate::load_error::LoadError;
use crate::manifest::{Manifest, ManifestError, PAGE_BYTES};
use crate::survey::{Export, Survey};
use crate::work;

/// The WebAssembly features of the contract: 2.0 without references to host objects.
///
/// Frozen: a module that validates under this set today must be run by every later host.
/// `GC_TYPES` is left out, which leaves `funcref` in and takes `externref` out: a policy is handed no
/// host objects, and a host without them needs no garbage collector.
pub(crate) const FROZEN: WasmFeatures = WasmFeatures::FLOATS
    .union(WasmFeatures::MUTABLE_GLOBAL)
    .union(WasmFeatures::SIGN_EXTENSION)
    .union(WasmFeatures::SATURATING_FLOAT_TO_INT)
    .union(WasmFeatures::MULTI_VALUE)
    .union(WasmFeatures::BULK_MEMORY)
    .union(WasmFeatures::REFERENCE_TYPES)
    .union(WasmFeatures::SIMD);

/// The stack that a policy is told to be linked with, bytes.
const DECLARED_STACK_BYTES: i32 = 16 << 10;

/// Names and debug tables that are worth a warning, bytes.
const DEBUG_BYTES_MIN: usize = 4_096;

/// Refuses what is too large to be looked at.
pub(crate) fn check_size(bytes: &[u8], limits: &Limits) -> Result<(), LoadError> {
    if bytes.len() > limits.module_bytes_max {
        return Err(LoadError::TooLarge { bytes: bytes.len(), limit: limits.module_bytes_max });
    }
    Ok(())
}

/// Reads the manifest.
pub(crate) fn check_manifest(survey: &Survey<'_>, limits: &Limits) -> Result<Manifest, LoadError> {
    match survey.manifests[..] {
        [] => Err(ManifestError::Missing.into()),
        [text] => Ok(Manifest::parse(text, &limits.manifest)?),
        _ => Err(ManifestError::Duplicate.into()),
    }
}

/// Refuses every import but `ostler.log`.
pub(crate) fn check_imports(survey: &Survey<'_>) -> Result<(), LoadError> {
    for import in &survey.imports {
        let ty = import.function.and_then(|index| survey.type_at(index));
        let is_log = import.module == import::MODULE
            && import.name == import::LOG
            && ty.is_some_and(|ty| signature(ty) == (&[ValType::I32, ValType::I32], &[]));
        if !is_log {
            let shown = |text| crate::manifest::shorten(text);
            return Err(LoadError::Import {
                module: shown(import.module),
                name: shown(import.name),
            });
        }
    }
    Ok(())
}

/// Requires the exports that the contract has for the policy's kind and features, with their types;
/// refuses the reserved names and the calls of other kinds.
pub(crate) fn check_exports(survey: &Survey<'_>, manifest: &Manifest) -> Result<(), LoadError> {
    const I32: ValType = ValType::I32;
    const I64: ValType = ValType::I64;
    const COUNT: Signature<'static> = (&[I32], &[I32]);
    for name in export::RESERVED {
        if survey.exports.iter().any(|export| export.name == name) {
            return Err(LoadError::Reserved { name });
        }
    }
    let memory = find(survey, export::MEMORY);
    if !memory.is_some_and(|export| export.kind == ExternalKind::Memory) {
        return Err(LoadError::Export {
            name: export::MEMORY,
            found: describe(survey, memory),
            expected: "a memory",
        });
    }
    check_function(survey, export::LAYOUT, (&[], &[I32]), "a function () -> i32")?;
    let init: Signature<'_> = (&[I64, I32, I64], &[I32]);
    check_function(survey, export::INIT, init, "a function (i64, i32, i64) -> i32")?;
    check_function(survey, manifest.kind().call(), COUNT, "a function (i32) -> i32")?;
    if manifest.requires(feature::MODEL) {
        check_function(survey, export::MODEL, COUNT, "a function (i32) -> i32")?;
    }
    check_unasked(survey, manifest)
}

/// Refuses calls that the host would never make: their author believes in something else than the
/// manifest says.
fn check_unasked(survey: &Survey<'_>, manifest: &Manifest) -> Result<(), LoadError> {
    for kind in PolicyKind::ALL.into_iter().filter(|&kind| kind != manifest.kind()) {
        let name = kind.call();
        if find(survey, name).is_some() {
            let (theirs, ours) = (kind.name(), manifest.kind().name());
            let reason = format!("it is for the kind `{theirs}`, the manifest says `{ours}`");
            return Err(LoadError::Unasked { name, reason });
        }
    }
    if !manifest.requires(feature::MODEL) && find(survey, export::MODEL).is_some() {
        let reason = "the manifest does not require the feature `model`".to_owned();
        return Err(LoadError::Unasked { name: export::MODEL, reason });
    }
    Ok(())
}

type Signature<'a> = (&'a [ValType], &'a [ValType]);

fn signature(ty: &FuncType) -> Signature<'_> {
    (ty.params(), ty.results())
}

fn find<'s, 'a>(survey: &'s Survey<'a>, name: &str) -> Option<&'s Export<'a>> {
    survey.exports.iter().find(|export| export.name == name)
}

fn check_function(
    survey: &Survey<'_>,
    name: &'static str,
    wanted: Signature<'_>,
    expected: &'static str,
) -> Result<(), LoadError> {
    let export = find(survey, name);
    let ty = export
        .filter(|export| export.kind == ExternalKind::Func)
        .and_then(|export| survey.function_type(export.index));
    if ty.is_some_and(|ty| signature(ty) == wanted) {
        return Ok(());
    }
    Err(LoadError::Export { name, found: describe(survey, export), expected })
}

/// What an export is, in words.
fn describe(survey: &Survey<'_>, export: Option<&Export<'_>>) -> String {
    let Some(export) = export else {
        return "missing".to_owned();
    };
    match export.kind {
        ExternalKind::Func | ExternalKind::FuncExact => match survey.function_type(export.index) {
            None => "a function without a type".to_owned(),
            Some(ty) => {
                let list = |types: &[ValType]| {
                    let names: Vec<String> = types.iter().map(ToString::to_string).collect();
                    names.join(", ")
                };
                format!("a function ({}) -> ({})", list(ty.params()), list(ty.results()))
            }
        },
        ExternalKind::Table => "a table".to_owned(),
        ExternalKind::Memory => "a memory".to_owned(),
        ExternalKind::Global => "a global".to_owned(),
        ExternalKind::Tag => "a tag".to_owned(),
    }
}

/// Holds counts, sizes and shapes against the limits. Returns the estimated compile work, units.
pub(crate) fn check_limits(
    survey: &Survey<'_>,
    manifest: &Manifest,
    limits: &Limits,
) -> Result<u64, LoadError> {
    at_most("functions", survey.bodies.len(), limits.functions_max)?;
    let items = [
        ("types", survey.types.len()),
        ("globals", survey.globals),
        ("exports", survey.exports.len()),
        ("data segments", survey.data_segments),
        ("element segments", survey.element_segments),
    ];
    for (what, count) in items {
        at_most(what, count, limits.items_max)?;
    }
    for ty in &survey.types {
        at_most("parameters of a function type", ty.params().len(), limits.params_max)?;
        at_most("results of a function type", ty.results().len(), limits.results_max)?;
    }
    check_memory_and_tables(survey, manifest, limits)?;
    check_bodies(survey, limits)
}

fn check_memory_and_tables(
    survey: &Survey<'_>,
    manifest: &Manifest,
    limits: &Limits,
) -> Result<(), LoadError> {
    for memory in &survey.memories {
        let bytes = memory.initial.saturating_mul(PAGE_BYTES);
        let allowed = manifest.base_bytes().next_multiple_of(PAGE_BYTES);
        // A 64-bit or odd-paged memory is refused as a feature; its size is not compared here.
        if !memory.memory64 && memory.page_size_log2.is_none() && bytes > allowed {
            return Err(LoadError::Limit {
                what: "initial memory, bytes (`base_bytes` of the manifest)".to_owned(),
                value: bytes,
                limit: allowed,
            });
        }
    }
    at_most("tables", survey.tables.len(), limits.tables_max)?;
    for table in &survey.tables {
        if table.initial > limits.table_elements_max {
            return Err(LoadError::Limit {
                what: "initial elements of a table".to_owned(),
                value: table.initial,
                limit: limits.table_elements_max,
            });
        }
    }
    Ok(())
}

fn check_bodies(survey: &Survey<'_>, limits: &Limits) -> Result<u64, LoadError> {
    let imported = survey.functions.len().saturating_sub(survey.bodies.len());
    let mut units: u64 = 0;
    for (index, body) in survey.bodies.iter().enumerate() {
        let what = |what: &str| format!("{what} of function {}", imported + index);
        let bytes = body.as_bytes().len();
        at_most(&what("body bytes"), bytes, limits.body_bytes_max)?;
        let function = u32::try_from(imported + index).ok();
        let ty = function.and_then(|function| survey.function_type(function));
        let locals = work::count_locals(body, ty.map_or(0, |ty| ty.params().len()))?;
        if locals > limits.locals_max {
            let limit = limits.locals_max;
            return Err(LoadError::Limit { what: what("locals"), value: locals, limit });
        }
        let work = work::measure(survey, body, locals)?;
        at_most(&what("nested loops"), work.loop_depth, limits.loop_depth_max)?;
        at_most(&what("nested blocks"), work.block_depth, limits.block_depth_max)?;
        let carried = usize::try_from(work.carried).unwrap_or(usize::MAX);
        at_most(&what("values carried by blocks"), carried, limits.carried_max)?;
        units += work.units;
    }
    if units > limits.compile_work_max {
        return Err(LoadError::Limit {
            what: "compile work (estimated from code size, branches and locals)".to_owned(),
            value: units,
            limit: limits.compile_work_max,
        });
    }
    Ok(units)
}

fn at_most(what: &str, value: usize, limit: usize) -> Result<(), LoadError> {
    if value <= limit {
        return Ok(());
    }
    Err(LoadError::Limit { what: what.to_owned(), value: value as u64, limit: limit as u64 })
}

/// Validates the module under the frozen features. Cost: one pass over the bytes; call it after
/// [`check_limits`], which bounds what that pass costs.
pub(crate) fn check_features(bytes: &[u8]) -> Result<(), LoadError> {
    let Err(error) = Validator::new_with_features(FROZEN).validate_all(bytes) else {
        return Ok(());
    };
    let missing = error.missing_wasm_feature().or_else(|| single_missing_feature(bytes));
    Err(match missing {
        Some(features) => {
            LoadError::Feature { feature: feature_name(features), reason: error.to_string() }
        }
        None => LoadError::Invalid { reason: error.to_string() },
    })
}

/// The one feature that, added to the frozen set, makes the module valid.
fn single_missing_feature(bytes: &[u8]) -> Option<WasmFeatures> {
    let valid = |features| Validator::new_with_features(features).validate_all(bytes).is_ok();
    if !valid(WasmFeatures::all()) {
        return None;
    }
    let candidates = WasmFeatures::all().difference(FROZEN).iter();
    candidates.into_iter().find(|&feature| valid(FROZEN.union(feature))).or(Some(
        // Valid only with several at once: name them all rather than none.
        WasmFeatures::empty(),
    ))
}

fn feature_name(features: WasmFeatures) -> String {
    let names: Vec<String> = features
        .iter_names()
        .map(|(name, _)| match name {
            "GC_TYPES" => "externref".to_owned(),
            name => name.to_lowercase().replace('_', "-"),
        })
        .collect();
    if names.is_empty() { "several together".to_owned() } else { names.join(" + ") }
}

/// Things that are allowed and yet likely a mistake.
pub(crate) fn warnings(survey: &Survey<'_>) -> Vec<String> {
    let mut warnings = Vec::new();
    if let Some(stack) = declared_stack(survey).filter(|&bytes| bytes > DECLARED_STACK_BYTES) {
        warnings.push(format!(
            "linked with a stack of {stack} bytes, which every instance holds; \
             link with `-z stack-size={DECLARED_STACK_BYTES}`"
        ));
    }
    if survey.debug_bytes > DEBUG_BYTES_MIN {
        let bytes = survey.debug_bytes;
        warnings.push(format!("{bytes} bytes of names and debug tables; strip them"));
    }
    warnings
}

/// The stack that the module was linked with, where that is plain: LLVM's linkers start the stack
/// pointer at its upper end, and the stack is first in memory or at least not a megabyte by accident.
fn declared_stack(survey: &Survey<'_>) -> Option<i32> {
    let end = survey.stack_pointer?;
    let is_first = survey.data_start.is_some_and(|start| start >= end);
    (is_first || end >= 1 << 20).then_some(end)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn warnings_of(text: &str) -> Vec<String> {
        let bytes = wat::parse_str(text).unwrap();
        warnings(&Survey::read(&bytes).unwrap())
    }

    #[test]
    fn a_large_declared_stack_is_warned_of() {
        let module = |stack: u32, data: u32| {
            format!(
                "(module (memory 17) (global (mut i32) (i32.const {stack})) \
                 (data (i32.const {data}) \"x\"))"
            )
        };
        let warned = |text: String| warnings_of(&text).iter().any(|line| line.contains("stack"));
        assert!(warned(module(1 << 20, 1 << 20)), "a default Rust guest");
        assert!(warned(module(16_400, 16_400)), "stack first, a little too large");
        assert!(warned(module(1_100_000, 1024)), "stack behind the data, a megabyte");
        assert!(!warned(module(16_384, 16_384)));
        assert!(!warned(module(40_000, 1024)), "behind the data: its size is not plain");
    }

    #[test]
    fn debug_tables_are_warned_of() {
        let custom = format!("(module (@custom \".debug_info\" \"{}\"))", "x".repeat(5_000));
        assert_eq!(warnings_of(&custom).len(), 1);
        assert_eq!(warnings_of("(module (func $short))").len(), 0, "a few names do no harm");
    }

    /// The set is frozen: whoever changes it breaks modules that are out there.
    #[test]
    fn the_frozen_features_are_these() {
        let names: Vec<&str> = FROZEN.iter_names().map(|(name, _)| name).collect();
        let expected = [
            "MUTABLE_GLOBAL",
            "SATURATING_FLOAT_TO_INT",
            "SIGN_EXTENSION",
            "REFERENCE_TYPES",
            "MULTI_VALUE",
            "BULK_MEMORY",
            "SIMD",
            "FLOATS",
        ];
        assert_eq!(names, expected);
    }
}
