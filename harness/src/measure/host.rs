//! The machine and the program, as they are recorded with every result.

use std::collections::BTreeMap;
use std::fs;

use super::cgroup;
use crate::results::{Host, Versions};

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
        cores: cores(),
        kernel: format!("{} {} {}", text(name.sysname()), text(name.release()), text(name.machine())),
        memory_bytes: memory(),
        governor: line("/sys/devices/system/cpu/cpu0/cpufreq/scaling_governor"),
        clocksource: line("/sys/devices/system/clocksource/clocksource0/current_clocksource"),
        virtualized: field(&["flags"]).is_some_and(|flags| flags.split(' ').any(|flag| flag == "hypervisor"))
            || fs::exists("/sys/hypervisor/uuid").unwrap_or(false),
        load: load(),
        cpu_quota: cgroup::quota(),
        smt: line("/sys/devices/system/cpu/smt/active").map(|active| active == "1"),
        turbo: line("/sys/devices/system/cpu/intel_pstate/no_turbo")
            .map(|off| off == "0")
            .or_else(|| line("/sys/devices/system/cpu/cpufreq/boost").map(|on| on == "1")),
        numa_nodes: nodes(),
        hugepages: line("/sys/kernel/mm/transparent_hugepage/enabled").as_deref().and_then(chosen),
        timer_slack_ns: rustix::thread::current_timer_slack().ok(),
        network: NETWORK.iter().filter_map(|name| Some(((*name).to_owned(), sysctl(name)?))).collect(),
        container: container(),
        hypervisor: hypervisor(),
        on_battery: battery(),
    }
}

/// The CPUs that this process may use. A quota of CPU time does not make them fewer, only slower.
fn cores() -> usize {
    let set = rustix::thread::sched_getaffinity(None);
    let counted = set.map_or(0, |set| set.count() as usize);
    if counted > 0 { counted } else { std::thread::available_parallelism().map_or(1, usize::from) }
}

/// A host's name as it may stand in the name of a file.
pub fn file_name(host: &Host) -> String {
    host.name.chars().map(|c| if c.is_ascii_alphanumeric() || c == '-' { c } else { '-' }).collect()
}

/// What decides how TCP and Unix sockets buffer and send on one host.
const NETWORK: [&str; 7] = [
    "net.core.rmem_max",
    "net.core.somaxconn",
    "net.core.wmem_default",
    "net.core.wmem_max",
    "net.ipv4.tcp_congestion_control",
    "net.ipv4.tcp_rmem",
    "net.ipv4.tcp_wmem",
];

/// The version of this program, and the source revision: `0.1.0 (abc1234)`.
pub fn version() -> String {
    match env!("LAB_GIT") {
        "" => env!("CARGO_PKG_VERSION").to_owned(),
        revision => format!("{} ({revision})", env!("CARGO_PKG_VERSION")),
    }
}

/// What runs, with the versions of the brokers that take part.
pub fn versions(brokers: BTreeMap<String, String>) -> Versions {
    let crates = env!("LAB_CRATES").split(' ').filter_map(|pair| pair.split_once('='));
    Versions {
        lab: env!("CARGO_PKG_VERSION").to_owned(),
        git: Some(env!("LAB_GIT")).filter(|revision| !revision.is_empty()).map(str::to_owned),
        rustc: env!("LAB_RUSTC").to_owned(),
        profile: env!("LAB_PROFILE").to_owned(),
        brokers,
        settings: BTreeMap::new(),
        crates: crates.map(|(name, version)| (name.to_owned(), version.to_owned())).collect(),
    }
}

fn line(path: &str) -> Option<String> {
    fs::read_to_string(path).ok().map(|text| text.trim().to_owned()).filter(|text| !text.is_empty())
}

fn sysctl(name: &str) -> Option<String> {
    // Some values are columns with tabs between them.
    let text = line(&format!("/proc/sys/{}", name.replace('.', "/")))?;
    Some(text.split_whitespace().collect::<Vec<_>>().join(" "))
}

fn nodes() -> Option<usize> {
    let entries = fs::read_dir("/sys/devices/system/node").ok()?.flatten();
    let number = |name: &str| name.strip_prefix("node").is_some_and(|rest| rest.parse::<u32>().is_ok());
    Some(entries.filter(|entry| entry.file_name().to_str().is_some_and(number)).count())
        .filter(|&count| count > 0)
}

/// The word in brackets: `always [madvise] never`.
fn chosen(words: &str) -> Option<String> {
    Some(words.split_once('[')?.1.split_once(']')?.0.to_owned())
}

/// By the marks that container engines leave, as `systemd-detect-virt` looks for them.
fn container() -> Option<String> {
    let here = |path: &str| fs::exists(path).unwrap_or(false);
    if let Some(kind) = line("/run/systemd/container").or_else(|| std::env::var("container").ok()) {
        return Some(kind);
    }
    let kind = if std::env::var_os("KUBERNETES_SERVICE_HOST").is_some() {
        "kubernetes"
    } else if here("/run/.containerenv") {
        "podman"
    } else if here("/.dockerenv") {
        "docker"
    } else {
        return None;
    };
    Some(kind.to_owned())
}

fn hypervisor() -> Option<String> {
    let dmi = |name: &str| line(&format!("/sys/class/dmi/id/{name}"));
    if let Some(kind) = line("/sys/hypervisor/type") {
        return Some(kind);
    }
    // Small hypervisors show no firmware, but a clock.
    let clock = line("/sys/devices/system/clocksource/clocksource0/available_clocksource");
    if clock.is_some_and(|clocks| clocks.contains("kvm-clock")) {
        return Some(dmi("product_name").map_or("kvm".to_owned(), |product| format!("kvm ({product})")));
    }
    let vendors = ["Amazon", "Google", "innotek", "Microsoft", "Parallels", "QEMU", "VMware", "Xen"];
    let vendor = dmi("sys_vendor").filter(|vendor| vendors.iter().any(|known| vendor.starts_with(known)))?;
    Some(dmi("product_name").map_or(vendor.clone(), |product| format!("{vendor} {product}")))
}

fn battery() -> Option<bool> {
    let supplies = fs::read_dir("/sys/class/power_supply").ok()?.flatten();
    let states: Vec<String> = supplies
        .map(|supply| supply.path())
        .filter(|supply| fs::read_to_string(supply.join("type")).is_ok_and(|kind| kind.trim() == "Battery"))
        // A mouse has a battery, too.
        .filter(|supply| {
            fs::read_to_string(supply.join("scope")).map_or(true, |scope| scope.trim() != "Device")
        })
        .filter_map(|supply| fs::read_to_string(supply.join("status")).ok())
        .collect();
    (!states.is_empty()).then(|| states.iter().any(|state| state.trim() == "Discharging"))
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
    fn the_chosen_word_is_the_one_in_brackets() {
        assert_eq!(chosen("always [madvise] never").as_deref(), Some("madvise"));
        assert_eq!(chosen("always"), None);
    }

    #[test]
    fn host_and_versions_are_filled() {
        let host = host();
        assert!(
            !host.name.is_empty() && !host.cpu.is_empty() && host.kernel.starts_with("Linux "),
            "{host:?}"
        );
        assert!(host.cores >= 1 && host.memory_bytes > 64 << 20, "{host:?}");
        assert!(host.network.contains_key("net.ipv4.tcp_rmem") && host.timer_slack_ns.is_some(), "{host:?}");
        let versions = versions(BTreeMap::new());
        let built = if cfg!(debug_assertions) { "debug" } else { "release" };
        assert!(versions.profile.starts_with(built), "{versions:?}");
        let crates: Vec<&str> = versions.crates.keys().map(String::as_str).collect();
        assert!(
            crates.contains(&"lapin") && crates.contains(&"async-nats") && crates.len() == 9,
            "{crates:?}"
        );
        // A library of the tests brings an old hyper of its own.
        assert!(versions.crates["hyper"].starts_with("1."), "{versions:?}");
        assert!(versions.rustc.starts_with("rustc "), "{versions:?}");
    }
}
