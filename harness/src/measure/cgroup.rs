//! How much CPU time the control groups around this process allow.

use std::fs;
use std::path::{Path, PathBuf};

/// The smallest limit, in CPUs; `None` where there is none.
pub(super) fn quota() -> Option<f64> {
    below(Path::new("/"))
}

/// The same by the files below `root`.
fn below(root: &Path) -> Option<f64> {
    let read = |name: &str| fs::read_to_string(root.join(name)).unwrap_or_default();
    let (groups, mounts) = (read("proc/self/cgroup"), read("proc/self/mountinfo"));
    let mounts: Vec<Mount> = mounts.lines().filter_map(Mount::read).collect();
    let limits = groups.lines().flat_map(|entry| {
        let mut parts = entry.splitn(3, ':').skip(1);
        let (controllers, group) = (parts.next().unwrap_or_default(), parts.next().unwrap_or_default());
        let of = mounts.iter().filter(move |mount| match controllers {
            "" => mount.version_2,
            names => !mount.version_2 && mount.has_cpu && names.split(',').any(|name| name == "cpu"),
        });
        of.filter_map(|mount| {
            let top = root.join(mount.point.trim_start_matches('/'));
            // A limit holds for all groups below it.
            let inner = top.join(mount.seen(group));
            inner
                .ancestors()
                .take_while(|group| group.starts_with(&top))
                .filter_map(limit)
                .min_by(f64::total_cmp)
        })
        .collect::<Vec<_>>()
    });
    limits.min_by(f64::total_cmp)
}

/// A hierarchy of control groups, as it is mounted here.
struct Mount {
    /// The group that its top shows: in a container often not the first of all.
    root: PathBuf,
    point: String,
    version_2: bool,
    has_cpu: bool,
}

impl Mount {
    /// `36 35 98:0 /ROOT /POINT rw,noatime shared:1 - TYPE SOURCE OPTIONS`
    fn read(line: &str) -> Option<Self> {
        let (mount, system) = line.split_once(" - ")?;
        let mut mount = mount.split(' ').skip(3);
        let (root, point) = (mount.next()?, mount.next()?);
        let mut system = system.split(' ');
        let (kind, options) = (system.next()?, system.nth(1).unwrap_or_default());
        matches!(kind, "cgroup" | "cgroup2").then(|| Self {
            root: PathBuf::from(plain(root)),
            point: plain(point),
            version_2: kind == "cgroup2",
            has_cpu: options.split(',').any(|option| option == "cpu"),
        })
    }

    /// Where a group is below the mount's top. One that is not below it has its limits at the top.
    fn seen(&self, group: &str) -> PathBuf {
        let below = Path::new(group).strip_prefix(&self.root).unwrap_or(Path::new(""));
        let outside = below.components().any(|part| part.as_os_str() == "..");
        if outside { PathBuf::new() } else { below.to_owned() }
    }
}

/// A path without the kernel's escapes for blanks.
fn plain(path: &str) -> String {
    path.replace("\\040", " ").replace("\\011", "\t").replace("\\134", "\\")
}

/// The CPU limit of one control group, of either version.
fn limit(group: &Path) -> Option<f64> {
    let read = |name: &str| fs::read_to_string(group.join(name)).ok();
    let parse = |text: &str| text.trim().parse::<f64>().ok().filter(|number| *number > 0.0);
    if let Some(both) = read("cpu.max") {
        let (quota, period) = both.trim().split_once(' ')?;
        return Some(parse(quota)? / parse(period)?);
    }
    Some(parse(&read("cpu.cfs_quota_us")?)? / parse(&read("cpu.cfs_period_us")?)?)
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Files as they were recorded, and the limit that they say.
    type Recorded = (&'static str, &'static [(&'static str, &'static str)], Option<f64>);

    const RECORDED: [Recorded; 9] = [
        (
            "version 2, a service of systemd",
            &[
                ("proc/self/cgroup", "0::/system.slice/lab.service\n"),
                (
                    "proc/self/mountinfo",
                    "31 24 0:27 / /sys/fs/cgroup rw,nosuid shared:9 - cgroup2 cgroup2 rw,nsdelegate\n",
                ),
                ("sys/fs/cgroup/system.slice/cpu.max", "max 100000\n"),
                ("sys/fs/cgroup/system.slice/lab.service/cpu.max", "150000 100000\n"),
            ],
            Some(1.5),
        ),
        (
            "version 2, a limit further up is lower",
            &[
                ("proc/self/cgroup", "0::/a/b\n"),
                ("proc/self/mountinfo", "31 24 0:27 / /sys/fs/cgroup rw - cgroup2 cgroup2 rw\n"),
                ("sys/fs/cgroup/a/cpu.max", "50000 100000\n"),
                ("sys/fs/cgroup/a/b/cpu.max", "150000 100000\n"),
            ],
            Some(0.5),
        ),
        (
            "version 2, a container of Docker with a namespace",
            &[
                ("proc/self/cgroup", "0::/\n"),
                (
                    "proc/self/mountinfo",
                    "1290 1289 0:27 / /sys/fs/cgroup ro,nosuid - cgroup2 cgroup rw,nsdelegate\n",
                ),
                ("sys/fs/cgroup/cpu.max", "150000 100000\n"),
            ],
            Some(1.5),
        ),
        (
            "version 2, a process outside of its namespace",
            &[
                ("proc/self/cgroup", "0::/../../user.slice\n"),
                ("proc/self/mountinfo", "1290 1289 0:27 / /sys/fs/cgroup ro - cgroup2 cgroup rw\n"),
                ("sys/fs/cgroup/cpu.max", "200000 100000\n"),
            ],
            Some(2.0),
        ),
        (
            "version 1, a container of Docker without a namespace",
            &[
                (
                    "proc/self/cgroup",
                    "5:memory:/docker/4f2a\n4:cpu,cpuacct:/docker/4f2a\n1:name=systemd:/docker/4f2a\n",
                ),
                (
                    "proc/self/mountinfo",
                    "700 690 0:31 /docker/4f2a /sys/fs/cgroup/cpu,cpuacct ro - cgroup cgroup rw,cpu,cpuacct\n\
                     701 690 0:32 /docker/4f2a /sys/fs/cgroup/memory ro - cgroup cgroup rw,memory\n",
                ),
                ("sys/fs/cgroup/cpu,cpuacct/cpu.cfs_quota_us", "150000\n"),
                ("sys/fs/cgroup/cpu,cpuacct/cpu.cfs_period_us", "100000\n"),
            ],
            Some(1.5),
        ),
        (
            "version 1, no limit",
            &[
                ("proc/self/cgroup", "4:cpu,cpuacct:/\n"),
                (
                    "proc/self/mountinfo",
                    "40 30 0:31 / /sys/fs/cgroup/cpu,cpuacct rw - cgroup cgroup rw,cpu,cpuacct\n",
                ),
                ("sys/fs/cgroup/cpu,cpuacct/cpu.cfs_quota_us", "-1\n"),
                ("sys/fs/cgroup/cpu,cpuacct/cpu.cfs_period_us", "100000\n"),
            ],
            None,
        ),
        (
            "both versions, the CPU in the first",
            &[
                ("proc/self/cgroup", "4:cpu,cpuacct:/lab\n0::/lab\n"),
                (
                    "proc/self/mountinfo",
                    "40 30 0:31 / /sys/fs/cgroup/cpu,cpuacct rw - cgroup cgroup rw,cpu,cpuacct\n\
                     41 30 0:32 / /sys/fs/cgroup/unified rw - cgroup2 cgroup2 rw\n",
                ),
                ("sys/fs/cgroup/cpu,cpuacct/lab/cpu.cfs_quota_us", "50000\n"),
                ("sys/fs/cgroup/cpu,cpuacct/lab/cpu.cfs_period_us", "100000\n"),
            ],
            Some(0.5),
        ),
        (
            "damaged",
            &[
                ("proc/self/cgroup", "nonsense\n0::/\n"),
                ("proc/self/mountinfo", "too short\n1 2 0:1 / /sys/fs/cgroup rw - cgroup2 cgroup2 rw\n"),
                ("sys/fs/cgroup/cpu.max", "150000\n"),
            ],
            None,
        ),
        ("nothing", &[], None),
    ];

    #[test]
    fn limits_are_read_as_they_were_recorded() {
        for (name, files, expected) in RECORDED {
            let root = tempfile::tempdir().expect("a folder");
            for (file, text) in files {
                let path = root.path().join(file);
                fs::create_dir_all(path.parent().expect("a folder")).expect("a folder");
                fs::write(path, text).expect("a file");
            }
            assert_eq!(below(root.path()), expected, "{name}");
        }
    }
}
