//! A first reading of a module's bytes: what it contains, before anything is judged or compiled.
//!
//! It owns the walk over the sections. It allocates in proportion to the bytes read, expands nothing
//! that the bytes merely claim, and judges nothing: that is [`admission`](crate::admission)'s.

use ostler_abi::MANIFEST_SECTION;
use wasmparser::{
    CompositeInnerType, ConstExpr, Data, DataKind, Encoding, ExternalKind, FuncType, FunctionBody,
    Global, MemoryType, Operator, Parser, Payload, TableType, TypeRef, ValType,
};

use crate::load_error::LoadError;

/// What a module contains.
#[derive(Default)]
pub(crate) struct Survey<'a> {
    /// Contents of the custom sections `ostler.policy`; a good module has one.
    pub(crate) manifests: Vec<&'a [u8]>,
    /// Bytes in custom sections with debug names and tables, which a release build leaves out.
    pub(crate) debug_bytes: usize,
    /// The function types, by index.
    pub(crate) types: Vec<FuncType>,
    /// Everything imported.
    pub(crate) imports: Vec<Import<'a>>,
    /// Type index of every function, imported ones first.
    pub(crate) functions: Vec<u32>,
    /// The memories, imported ones not included.
    pub(crate) memories: Vec<MemoryType>,
    /// The tables, imported ones not included.
    pub(crate) tables: Vec<TableType>,
    /// Number of globals.
    pub(crate) globals: usize,
    /// Initial value of the first mutable `i32` global: by convention of LLVM the stack pointer.
    pub(crate) stack_pointer: Option<i32>,
    /// Everything exported.
    pub(crate) exports: Vec<Export<'a>>,
    /// Number of element segments.
    pub(crate) element_segments: usize,
    /// Number of data segments.
    pub(crate) data_segments: usize,
    /// Lowest address that an active data segment fills at a constant offset.
    pub(crate) data_start: Option<i32>,
    /// The function bodies, in order of the functions that are not imported.
    pub(crate) bodies: Vec<FunctionBody<'a>>,
}

/// One import.
pub(crate) struct Import<'a> {
    pub(crate) module: &'a str,
    pub(crate) name: &'a str,
    /// Type index, if it is a function.
    pub(crate) function: Option<u32>,
}

/// One export.
pub(crate) struct Export<'a> {
    pub(crate) name: &'a str,
    pub(crate) kind: ExternalKind,
    pub(crate) index: u32,
}

impl<'a> Survey<'a> {
    /// Reads a module. Cost: one pass over the bytes outside function bodies.
    pub(crate) fn read(bytes: &'a [u8]) -> Result<Self, LoadError> {
        check_kind_of_file(bytes)?;
        let mut survey = Survey::default();
        for payload in Parser::new(0).parse_all(bytes) {
            survey.add(payload.map_err(malformed)?)?;
        }
        Ok(survey)
    }

    fn add(&mut self, payload: Payload<'a>) -> Result<(), LoadError> {
        match payload {
            Payload::TypeSection(section) => {
                for group in section {
                    for sub_type in group.map_err(malformed)?.into_types() {
                        match sub_type.composite_type.inner {
                            CompositeInnerType::Func(function) => self.types.push(function),
                            _ => return Err(unsupported("gc", "a struct, array or continuation")),
                        }
                    }
                }
            }
            Payload::ImportSection(section) => {
                for import in section.into_imports() {
                    self.add_import(import.map_err(malformed)?);
                }
            }
            Payload::FunctionSection(section) => {
                for function in section {
                    self.functions.push(function.map_err(malformed)?);
                }
            }
            Payload::TableSection(section) => {
                for table in section {
                    self.tables.push(table.map_err(malformed)?.ty);
                }
            }
            Payload::MemorySection(section) => {
                for memory in section {
                    self.memories.push(memory.map_err(malformed)?);
                }
            }
            Payload::TagSection(_) => return Err(unsupported("exceptions", "a tag section")),
            Payload::GlobalSection(section) => {
                for global in section {
                    self.add_global(&global.map_err(malformed)?);
                }
            }
            Payload::ExportSection(section) => {
                for export in section {
                    let export = export.map_err(malformed)?;
                    let (name, kind, index) = (export.name, export.kind, export.index);
                    self.exports.push(Export { name, kind, index });
                }
            }
            Payload::ElementSection(section) => self.element_segments += section.count() as usize,
            Payload::DataSection(section) => {
                for data in section {
                    self.add_data(&data.map_err(malformed)?);
                }
            }
            Payload::CodeSectionEntry(body) => self.bodies.push(body),
            Payload::CustomSection(section) => match section.name() {
                MANIFEST_SECTION => self.manifests.push(section.data()),
                name if name == "name" || name.starts_with(".debug") => {
                    self.debug_bytes += section.data().len();
                }
                _ => {}
            },
            Payload::UnknownSection { id, .. } => {
                return Err(LoadError::Malformed { reason: format!("unknown section {id}") });
            }
            _ => {}
        }
        Ok(())
    }

    fn add_import(&mut self, import: wasmparser::Import<'a>) {
        let function = match import.ty {
            TypeRef::Func(index) | TypeRef::FuncExact(index) => Some(index),
            _ => None,
        };
        self.functions.extend(function);
        self.imports.push(Import { module: import.module, name: import.name, function });
    }

    fn add_global(&mut self, global: &Global<'a>) {
        self.globals += 1;
        let is_stack_pointer = global.ty.mutable && global.ty.content_type == ValType::I32;
        if self.stack_pointer.is_none() && is_stack_pointer {
            self.stack_pointer = constant(&global.init_expr);
        }
    }

    fn add_data(&mut self, data: &Data<'a>) {
        self.data_segments += 1;
        if let DataKind::Active { offset_expr, .. } = &data.kind
            && let Some(start) = constant(offset_expr)
        {
            self.data_start = Some(self.data_start.map_or(start, |lowest| lowest.min(start)));
        }
    }

    /// The type of the function with this index, if there is one.
    pub(crate) fn function_type(&self, index: u32) -> Option<&FuncType> {
        let type_index = *self.functions.get(usize::try_from(index).ok()?)?;
        self.type_at(type_index)
    }

    /// The function type with this index, if there is one.
    pub(crate) fn type_at(&self, index: u32) -> Option<&FuncType> {
        self.types.get(usize::try_from(index).ok()?)
    }
}

/// The value of an expression that is one `i32.const`.
fn constant(expression: &ConstExpr<'_>) -> Option<i32> {
    match expression.get_operators_reader().read() {
        Ok(Operator::I32Const { value }) => Some(value),
        _ => None,
    }
}

/// Tells apart what people upload by mistake, so that the message says what to do.
fn check_kind_of_file(bytes: &[u8]) -> Result<(), LoadError> {
    if bytes.starts_with(b"\x7fELF") {
        return Err(LoadError::Precompiled);
    }
    if !bytes.starts_with(b"\0asm") {
        let reason = "it does not begin with the bytes `\\0asm`".to_owned();
        return Err(LoadError::Malformed { reason });
    }
    match Parser::new(0).parse(bytes, true) {
        Ok(wasmparser::Chunk::Parsed {
            payload: Payload::Version { encoding: Encoding::Component, .. },
            ..
        }) => Err(unsupported("component-model", "a component instead of a core module")),
        _ => Ok(()),
    }
}

pub(crate) fn malformed(error: wasmparser::Error) -> LoadError {
    LoadError::Malformed { reason: error.to_string() }
}

fn unsupported(feature: &str, found: &str) -> LoadError {
    LoadError::Feature { feature: feature.to_owned(), reason: format!("found {found}") }
}
