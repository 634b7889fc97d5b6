//! The page that the figures are written to.

mod plot;
pub(crate) mod section;

use std::fmt::Write as _;
use std::fs;
use std::path::Path;

use anyhow::{Context, Result};

use section::Section;

/// Writes `PERFORMANCE.md` and its plots into this directory.
pub(crate) fn write(directory: &Path, sections: &[Section]) -> Result<()> {
    let plots = directory.join("performance");
    fs::create_dir_all(&plots).with_context(|| format!("cannot make {}", plots.display()))?;
    let mut page = format!("{HEAD}\n{}\n", machine());
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

const HEAD: &str = "# Performance

`make bench` wrote this page. Absolute figures are this machine's, and another hour's may differ by half; the ratios are
taken side by side in one run, and are what to look at. Every answer to the bench's own load was checked, and every
contestant that judges refused a wrong password before it was measured.

| contestant | what it is |
| --- | --- |
| hyper alone | hyper, and an answer that is always the same |
| plain | the gate's serving code, and nobody who judges: everybody is let in |
| native | the gate's serving code, and the default policy's checks compiled in |
| axum-native | the same checks in the handler that people would write: axum's router on tokio's threads |
| gate reused | the gate as it is configured by default: instances of the component are used again and again |
| gate fresh | the gate with `limits.calls_per_instance = 1`: every login has an instance of its own |

The load comes from one thread over few connections, as a broker's does, and shares the processors with the server.
";

/// What it was measured on.
fn machine() -> String {
    let processors = std::thread::available_parallelism().map_or(0, std::num::NonZero::get);
    let info = fs::read_to_string("/proc/cpuinfo").unwrap_or_default();
    let model = info.lines().find_map(|line| line.strip_prefix("model name")?.split_once(": ").map(|(_, name)| name));
    format!("Measured on {processors} processors ({}).", model.unwrap_or("unknown"))
}
