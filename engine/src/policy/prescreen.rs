//! A look at a component before it is compiled: what would be refused anyway, and what would take a compiler too long.
//!
//! Reading takes milliseconds where compiling takes minutes: a million nested blocks in 3 MB need more than 900 s and
//! 500 MiB.

use wasmparser::{FunctionBody, Instance, Operator, Parser, Payload};

use super::LoadError;
use super::sandbox::Sandbox;
use crate::util::sanitize;

/// Functions of all core modules. Interpreters of Python and JavaScript have about 20,000. 50,000 take 300 MiB to compile.
const MAX_FUNCTIONS: usize = 30_000;

/// Code of all core modules, in bytes.
const MAX_CODE: usize = 16 << 20;

/// Code of one function, in bytes. The time to compile a function grows faster than its size.
const MAX_FUNCTION: usize = 1 << 20;

/// Blocks within blocks. Compilers nest one block for each case of a `switch`.
const MAX_NESTING: usize = 4_000;

/// Core modules, and components within the component. A composition of policies has a few of each.
const MAX_PARTS: usize = 64;

/// Core instances. `wit-component` makes four.
pub(super) const MAX_CORE_INSTANCES: usize = 32;

/// The size of a page of linear memory, as a power of two.
const WASM_PAGE_LOG2: u32 = 16;

/// Maximum number of characters of the imports that an error lists.
const MAX_LISTED_CHARS: usize = 300;

/// What was counted so far.
#[derive(Default)]
struct Counts {
    functions: usize,
    code: usize,
    parts: usize,
    core_instances: usize,
}

/// Refuses a component that imports too much, or that is too large or too deep to compile.
///
/// A component that is not valid passes: the compiler says what is wrong with it.
pub(super) fn check(bytes: &[u8], max_memory: u64) -> Result<(), LoadError> {
    let (mut counts, mut depth, mut denied) = (Counts::default(), 0_usize, Vec::new());
    for payload in Parser::new(0).parse_all(bytes) {
        let Ok(payload) = payload else { break };
        match payload {
            Payload::ModuleSection { .. } | Payload::ComponentSection { .. } => {
                depth += 1;
                counts.parts += 1;
                limit("core modules and nested components", counts.parts, MAX_PARTS)?;
            }
            Payload::End(_) => depth = depth.saturating_sub(1),
            Payload::ComponentImportSection(imports) if depth == 0 => {
                let imports = imports.into_iter().map_while(Result::ok).map(|import| import.name.name);
                denied.extend(imports.filter(|name| !Sandbox::is_allowed_import(name)).map(str::to_owned));
            }
            Payload::InstanceSection(instances) => {
                let made = instances.into_iter().map_while(Result::ok);
                counts.core_instances += made.filter(|one| matches!(one, Instance::Instantiate { .. })).count();
                limit("core instances", counts.core_instances, MAX_CORE_INSTANCES)?;
            }
            Payload::MemorySection(memories) => {
                for memory in memories.into_iter().map_while(Result::ok) {
                    let page = 1_u64 << memory.page_size_log2.unwrap_or(WASM_PAGE_LOG2);
                    let needed = memory.initial.saturating_mul(page);
                    if needed > max_memory {
                        return Err(LoadError::InitialMemory { needed, max: max_memory });
                    }
                }
            }
            Payload::CodeSectionEntry(body) => counts.add_function(&body)?,
            _ => {}
        }
    }
    if denied.is_empty() {
        return Ok(());
    }
    Err(LoadError::Imports(sanitize::escape(&denied.join(", "), MAX_LISTED_CHARS)))
}

impl Counts {
    fn add_function(&mut self, body: &FunctionBody) -> Result<(), LoadError> {
        let size = body.range().len();
        self.functions += 1;
        self.code += size;
        limit("functions", self.functions, MAX_FUNCTIONS)?;
        limit("bytes of code", self.code, MAX_CODE)?;
        limit("bytes of code in one function", size, MAX_FUNCTION)?;
        limit("blocks within blocks", nesting(body), MAX_NESTING)
    }
}

/// The greatest number of blocks within blocks, counted up to one more than the limit.
fn nesting(body: &FunctionBody) -> usize {
    let (mut depth, mut greatest) = (0_usize, 0);
    let Ok(operators) = body.get_operators_reader() else { return 0 };
    for operator in operators.into_iter().map_while(Result::ok) {
        match operator {
            Operator::Block { .. } | Operator::Loop { .. } | Operator::If { .. } | Operator::TryTable { .. } => {
                depth += 1
            }
            Operator::End => depth = depth.saturating_sub(1),
            _ => {}
        }
        greatest = greatest.max(depth);
        if greatest > MAX_NESTING {
            break;
        }
    }
    greatest
}

fn limit(what: &'static str, count: usize, max: usize) -> Result<(), LoadError> {
    if count <= max { Ok(()) } else { Err(LoadError::TooComplex { what, max }) }
}
