//! The report: `docs/PERFORMANCE.md` and its plots.

use std::fmt::Write as _;
use std::fs;
use std::num::NonZero;
use std::path::Path;
use std::thread;

use anyhow::{Context, Result};

mod plot;
pub(crate) mod section;

use section::Section;

/// Writes `PERFORMANCE.md` and its plots into `directory`.
pub(crate) fn write(directory: &Path, sections: &[Section]) -> Result<()> {
    let plots = directory.join("performance");
    fs::create_dir_all(&plots).with_context(|| format!("cannot create {}", plots.display()))?;
    let mut page = format!("{INTRODUCTION}\n{}\n", machine());
    for section in sections {
        write!(page, "\n{section}")?;
        for plot in &section.plots {
            let name = format!("{}.svg", plot.name);
            plot.draw(&plots.join(&name))?;
            write!(page, "\n![{}](performance/{name})\n", plot.title)?;
        }
    }
    let file = directory.join("PERFORMANCE.md");
    fs::write(&file, page).with_context(|| format!("cannot write {}", file.display()))
}

const INTRODUCTION: &str = "# Performance

`make bench` generates this page. It compares the gate with servers that have the same checks
compiled in. All targets run side by side, so compare the ratios. Absolute figures belong to this
machine, and another run can differ from them by half.

| target | description |
| --- | --- |
| hyper-baseline | hyper with a constant response |
| no-policy | the gate's serving code without a policy: every login is allowed |
| native | the gate's serving code with the default policy's checks compiled in |
| axum-native | the same checks in an ordinary axum handler, on tokio's multi-threaded runtime |
| gate reused | the gate with its default configuration: it reuses the instances of the policy |
| gate fresh | the gate with `limits.max_calls_per_instance = 1`: a fresh instance for each login |

- The load runs in one thread over few connections, as a broker's does. It shares the processors
  with the target.
- Every response to the benchmark's own load is checked.
- Every target with a policy must deny a wrong password before it is measured.
";

/// Describes the machine of the measurement.
fn machine() -> String {
    let processors = thread::available_parallelism().map_or(0, NonZero::get);
    let info = fs::read_to_string("/proc/cpuinfo").unwrap_or_default();
    let model = info.lines().find_map(|line| line.strip_prefix("model name")?.split_once(": ").map(|(_, name)| name));
    format!("Measured on {processors} processors ({}).", model.unwrap_or("unknown"))
}
