//! The memory that a container or a service may have.

use std::fs;
use std::path::Path;

/// Files with the limit of a control group: version 2, and version 1 (Linux, admin-guide/cgroup-v2.rst and
/// cgroup-v1/memory.rst).
const LIMIT_FILES: [&str; 2] = ["memory.max", "memory/memory.limit_in_bytes"];

/// The lowest memory limit of the control groups of this process, in bytes. `None`: there is none.
pub(crate) fn memory_limit() -> Option<u64> {
    let groups = fs::read_to_string("/proc/self/cgroup").unwrap_or_default();
    limit_below(Path::new("/sys/fs/cgroup"), &groups)
}

/// A group cannot have more than the groups that contain it.
fn limit_below(root: &Path, groups: &str) -> Option<u64> {
    // 0::/system.slice/mqtt-gate.service
    let paths = groups.lines().filter_map(|line| line.strip_prefix("0::/"));
    let directories = paths.flat_map(|path| Path::new(path).ancestors()).chain([Path::new("")]);
    let limits = directories.flat_map(|directory| LIMIT_FILES.map(|file| root.join(directory).join(file)));
    limits
        .filter_map(|file| fs::read_to_string(file).ok()?.trim().parse().ok())
        .filter(|limit| *limit < UNLIMITED)
        .min()
}

/// Version 1 shows no limit as the greatest multiple of a page.
const UNLIMITED: u64 = 1 << 60;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_lowest_limit_of_all_groups_counts() {
        let root = tempfile::tempdir().unwrap();
        let write = |file: &str, text: &str| {
            let path = root.path().join(file);
            fs::create_dir_all(path.parent().unwrap()).unwrap();
            fs::write(path, text).unwrap();
        };
        let groups = "0::/system.slice/gate.service\n";
        assert_eq!(limit_below(root.path(), groups), None);
        write("system.slice/gate.service/memory.max", "max\n");
        write("memory/memory.limit_in_bytes", "9223372036854771712\n");
        assert_eq!(limit_below(root.path(), groups), None);
        write("system.slice/memory.max", "536870912\n");
        assert_eq!(limit_below(root.path(), groups), Some(512 << 20));
        write("system.slice/gate.service/memory.max", "268435456\n");
        assert_eq!(limit_below(root.path(), groups), Some(256 << 20));
        // In a container the group of the process is the root.
        write("memory.max", "134217728\n");
        assert_eq!(limit_below(root.path(), "0::/\n"), Some(128 << 20));
    }
}
