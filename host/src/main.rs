//! The program `mqtt-gate`.

use std::process::ExitCode;

use tikv_jemallocator::Jemalloc;

mod cli;

/// Gives memory back to the system some seconds after a flood. glibc keeps it, scattered over its arenas.
#[global_allocator]
static ALLOCATOR: Jemalloc = Jemalloc;

fn main() -> ExitCode {
    cli::run().into()
}
