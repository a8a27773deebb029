//! The machine and the program, as they are recorded with every result.

use std::collections::BTreeMap;
use std::fs;

use crate::bundle::{Host, Versions};

/// This machine, now.
pub fn host() -> Host {
    let cpus = fs::read_to_string("/proc/cpuinfo").unwrap_or_default();
    let field = |names: &[&str]| {
        cpus.lines().find_map(|line| {
            let (name, value) = line.split_once(':')?;
            names.contains(&name.trim()).then(|| value.trim().to_owned())
        })
    };
    let name = rustix::system::uname();
    let text = |part: &std::ffi::CStr| part.to_string_lossy().into_owned();
    Host {
        name: text(name.nodename()),
        // Arm kernels name no model.
        cpu: field(&["model name", "Model", "Hardware", "CPU part"]).unwrap_or_else(|| text(name.machine())),
        cores: std::thread::available_parallelism().map_or(1, usize::from),
        kernel: format!("{} {} {}", text(name.sysname()), text(name.release()), text(name.machine())),
        memory_bytes: memory(),
        governor: line("/sys/devices/system/cpu/cpu0/cpufreq/scaling_governor"),
        clocksource: line("/sys/devices/system/clocksource/clocksource0/current_clocksource"),
        virtualized: field(&["flags"]).is_some_and(|flags| flags.split(' ').any(|flag| flag == "hypervisor"))
            || fs::exists("/sys/hypervisor/uuid").unwrap_or(false),
        load: load(),
    }
}

/// A host's name as it may stand in the name of a file.
pub fn file_name(host: &Host) -> String {
    host.name.chars().map(|c| if c.is_ascii_alphanumeric() || c == '-' { c } else { '-' }).collect()
}

/// What runs, with the versions of the brokers that take part.
pub fn versions(brokers: BTreeMap<String, String>) -> Versions {
    let crates = env!("LAB_CRATES").split(' ').filter_map(|pair| pair.split_once('='));
    Versions {
        lab: env!("CARGO_PKG_VERSION").to_owned(),
        git: Some(env!("LAB_GIT")).filter(|revision| !revision.is_empty()).map(str::to_owned),
        rustc: env!("LAB_RUSTC").to_owned(),
        brokers,
        settings: BTreeMap::new(),
        crates: crates.map(|(name, version)| (name.to_owned(), version.to_owned())).collect(),
    }
}

fn line(path: &str) -> Option<String> {
    fs::read_to_string(path).ok().map(|text| text.trim().to_owned()).filter(|text| !text.is_empty())
}

fn memory() -> u64 {
    let info = rustix::system::sysinfo();
    (info.totalram as u64) * u64::from(info.mem_unit)
}

fn load() -> [f64; 3] {
    let text = fs::read_to_string("/proc/loadavg").unwrap_or_default();
    let mut values = text.split(' ').map(|value| value.parse().unwrap_or(0.0));
    [(); 3].map(|()| values.next().unwrap_or(0.0))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn host_and_versions_are_filled() {
        let host = host();
        assert!(
            !host.name.is_empty() && !host.cpu.is_empty() && host.kernel.starts_with("Linux "),
            "{host:?}"
        );
        assert!(host.cores >= 1 && host.memory_bytes > 64 << 20, "{host:?}");
        let versions = versions(BTreeMap::new());
        let crates: Vec<&str> = versions.crates.keys().map(String::as_str).collect();
        assert!(
            crates.contains(&"lapin") && crates.contains(&"async-nats") && crates.len() == 9,
            "{crates:?}"
        );
        assert!(versions.rustc.starts_with("rustc "), "{versions:?}");
    }
}
