//! The report: `docs/PERFORMANCE.md` and its plots.

use std::fmt::Write as _;
use std::fs;
use std::num::NonZero;
use std::path::Path;
use std::thread;

use anyhow::{Context, Result, ensure};

mod plot;
pub(crate) mod section;

use section::Section;

/// Writes `PERFORMANCE.md` and its plots into `directory`.
pub(crate) fn write(directory: &Path, sections: &[Section]) -> Result<()> {
    let mut page = format!("{INTRODUCTION}\n{}\n", machine());
    for section in sections {
        page += &markdown(directory, section)?;
    }
    write_page(directory, &page)
}

/// Replaces one section of `PERFORMANCE.md`, and its plots. A section that the page lacks becomes the last one.
///
/// # Errors
/// The page has the figures of another machine.
pub(crate) fn replace(directory: &Path, section: &Section) -> Result<()> {
    let file = directory.join(PAGE);
    let page = fs::read_to_string(&file).with_context(|| format!("cannot read {}", file.display()))?;
    let machine = machine();
    ensure!(page.contains(&machine), "{} has figures of another machine; run without --only", file.display());
    write_page(directory, &with_section(&page, section.title, &markdown(directory, section)?))
}

/// Returns the page with this text in place of the section with this title.
fn with_section(page: &str, title: &str, markdown: &str) -> String {
    const HEADING: &str = "\n## ";
    let Some((before, rest)) = page.split_once(&format!("{HEADING}{title}\n")) else {
        return format!("{page}{markdown}");
    };
    let after = rest.find(HEADING).and_then(|next| rest.get(next..)).unwrap_or_default();
    format!("{before}{markdown}{after}")
}

/// Draws the plots of a section, and returns its text with links to them. It begins with an empty line.
fn markdown(directory: &Path, section: &Section) -> Result<String> {
    let mut text = format!("\n{section}");
    let plots = directory.join("performance");
    fs::create_dir_all(&plots).with_context(|| format!("cannot create {}", plots.display()))?;
    for plot in &section.plots {
        let name = format!("{}.svg", plot.name);
        plot.draw(&plots.join(&name))?;
        write!(text, "\n![{}](performance/{name})\n", plot.title)?;
    }
    Ok(text)
}

fn write_page(directory: &Path, page: &str) -> Result<()> {
    let file = directory.join(PAGE);
    fs::write(&file, page).with_context(|| format!("cannot write {}", file.display()))
}

const PAGE: &str = "PERFORMANCE.md";

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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn replaces_a_section_and_keeps_the_others() {
        let page = "# Page\n\n## One\n\n1\n\n## Two\n\n2\n";
        assert_eq!(with_section(page, "One", "\n## One\n\nx\n"), "# Page\n\n## One\n\nx\n\n## Two\n\n2\n");
        assert_eq!(with_section(page, "Two", "\n## Two\n\nx\n"), "# Page\n\n## One\n\n1\n\n## Two\n\nx\n");
        assert_eq!(with_section(page, "New", "\n## New\n\nx\n"), format!("{page}\n## New\n\nx\n"));
    }
}
