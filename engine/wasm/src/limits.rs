//! Every bound that the host puts on a policy, with its default and its reason.
//!
//! It owns numbers only. Whoever refuses or faults a policy reports the value and the limit in force.

use ostler_manifest::ManifestLimits;

/// Bounds on a module and on its instances.
///
/// Compiling cannot be cancelled, and its cost is not bounded by a module's size alone: a single
/// function of 32 KiB can take a minute (nested loops) or gigabytes (blocks with many parameters).
/// So the shape is bounded too, and [`compile_work_max`](Self::compile_work_max) bounds the whole.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Limits {
    /// Bounds on the manifest.
    pub manifest: ManifestLimits,
    /// Largest module, bytes. Default 512 KiB.
    pub module_bytes_max: usize,
    /// Most functions. Default 2,000.
    pub functions_max: usize,
    /// Largest function body, bytes. Compiling is quadratic in it. Default 32 KiB.
    pub body_bytes_max: usize,
    /// Most locals of a function, parameters included. Default 256.
    pub locals_max: u64,
    /// Most parameters of a function or block type. Default 32.
    pub params_max: usize,
    /// Most results of a function or block type. Default 16.
    pub results_max: usize,
    /// Deepest nesting of loops in a function. Compiling is quadratic in it. Default 32.
    pub loop_depth_max: usize,
    /// Deepest nesting of blocks in a function; a `switch` nests one per case. Default 1,024.
    pub block_depth_max: usize,
    /// Most values that the blocks of a function take and leave. The compiler's memory is quadratic
    /// in it. Default 1,024.
    pub carried_max: usize,
    /// Most estimated work to compile the module, in units of about a microsecond. Default 750,000.
    pub compile_work_max: u64,
    /// Most types, of globals, of data segments, of element segments, and of exports. Default 1,000.
    pub items_max: usize,
    /// Most tables. Default 4.
    pub tables_max: usize,
    /// Most elements of a table, initially and after growth. Default 10,000.
    pub table_elements_max: u64,
    /// Most memory of one instance, bytes, whatever its manifest and slots allow. Default 4 GiB.
    pub memory_bytes_max: u64,
    /// Bytes of log lines that one instance may hold until they are taken. Default 4,096.
    pub log_bytes_max: usize,
}

impl Default for Limits {
    fn default() -> Self {
        Self {
            manifest: ManifestLimits::default(),
            module_bytes_max: 512 << 10,
            functions_max: 2_000,
            body_bytes_max: 32 << 10,
            locals_max: 256,
            params_max: 32,
            results_max: 16,
            loop_depth_max: 32,
            block_depth_max: 1_024,
            carried_max: 1_024,
            compile_work_max: 750_000,
            items_max: 1_000,
            tables_max: 4,
            table_elements_max: 10_000,
            memory_bytes_max: 4 << 30,
            log_bytes_max: 4_096,
        }
    }
}
