//! Advice that would lower the noise or remove obstacles: each piece with the fact that
//! caused it and, if there is one, the command. Pure.

use serde::Serialize;

use super::neighbours::Neighbour;
use super::score::{OVERSLEPT_QUIETLY, STOLEN_QUIETLY, TAKEN_QUIETLY};
use crate::broker::embedded;
use crate::results::{Host, Noise};

/// Clock sources that are read without a system call.
const CHEAP_CLOCKS: [&str; 4] = ["tsc", "arch_sys_counter", "kvm-clock", "hyperv_clocksource_tsc_page"];
/// A run with many roles and connections needs about this many open files.
const OPEN_FILES: u64 = 1024;
/// The accounts of a large run, bytes.
const SHARED_MEMORY: u64 = 64 << 20;

/// Something that can be done.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub(super) struct Advice {
    /// The finding.
    pub(super) fact: String,
    /// Its effect, and what would help.
    pub(super) advice: String,
    /// The command that does it; null where none can.
    pub(super) command: Option<String>,
}

/// What advice is given on.
pub(super) struct Facts<'a> {
    pub(super) host: &'a Host,
    pub(super) noise: &'a Noise,
    pub(super) neighbours: &'a [Neighbour],
    /// How the program was built.
    pub(super) profile: &'a str,
    pub(super) shm_free_bytes: Option<u64>,
    pub(super) open_files: Option<u64>,
    /// No MQTT broker is here.
    pub(super) without_mqtt: bool,
}

/// All advice: first on measured noise, then on settings that may explain it, then the rest.
pub(super) fn advice(facts: &Facts<'_>) -> Vec<Advice> {
    let mut all = measured(facts);
    all.extend(settings(facts.host));
    all.extend(room(facts));
    all
}

fn new(fact: impl Into<String>, advice: &str, command: Option<&str>) -> Advice {
    Advice { fact: fact.into(), advice: advice.to_owned(), command: command.map(str::to_owned) }
}

fn measured(facts: &Facts<'_>) -> Vec<Advice> {
    let Facts { host, noise, .. } = facts;
    let mut all = Vec::new();
    let busy = noise.foreign_cpu > TAKEN_QUIETLY;
    if busy {
        let who: Vec<String> = facts
            .neighbours
            .iter()
            .map(|one| format!("{} (process {}) {:.0} % of a CPU", one.name, one.pid, one.cpu * 100.0))
            .collect();
        let who = if who.is_empty() { "none of them for long".to_owned() } else { who.join(", ") };
        let fact = format!("other programs take {:.0} % of the CPU time: {who}", noise.foreign_cpu * 100.0);
        all.push(new(
            fact,
            "stop programs you do not need, or wait until they are done",
            Some("top -o %CPU"),
        ));
    }
    if !busy && host.load[0] > host.cores as f64 / 2.0 {
        let fact = format!("the load average is {:.2} on {} CPUs", host.load[0], host.cores);
        all.push(new(fact, "something ran a moment ago; check whether it starts again", Some("uptime")));
    }
    if noise.steal > STOLEN_QUIETLY {
        let fact = format!("the hypervisor takes {:.1} % of the CPU time for others", noise.steal * 100.0);
        all.push(new(fact, "nothing inside this machine helps; a dedicated machine would", None));
    }
    if noise.oversleep_p99_ns as f64 > OVERSLEPT_QUIETLY && (host.virtualized || host.hypervisor.is_some()) {
        let kind = host.hypervisor.as_ref().map_or_else(String::new, |kind| format!(" ({kind})"));
        let fact = format!("this is a virtual machine{kind}");
        all.push(new(fact, "its timers wake up late, and no setting inside it changes that", None));
    }
    all
}

fn settings(host: &Host) -> Vec<Advice> {
    let mut all = Vec::new();
    if let Some(governor) = host.governor.as_deref().filter(|governor| *governor != "performance") {
        all.push(new(
            format!("the CPU frequency governor is `{governor}`"),
            "the frequency changes with the load; this keeps it steady",
            Some("sudo cpupower frequency-set -g performance"),
        ));
    }
    if host.turbo == Some(true) {
        all.push(new(
            "turbo is on",
            "the CPU is faster while it is cool; switch turbo off to measure small differences",
            Some(
                "echo 1 | sudo tee /sys/devices/system/cpu/intel_pstate/no_turbo  \
                 # elsewhere: echo 0 | sudo tee /sys/devices/system/cpu/cpufreq/boost",
            ),
        ));
    }
    if host.smt == Some(true) {
        all.push(new(
            "two logical CPUs share a core",
            "roles on both slow each other down; pin roles to different cores, or switch SMT off",
            Some("echo off | sudo tee /sys/devices/system/cpu/smt/control"),
        ));
    }
    if host.on_battery == Some(true) {
        all.push(new("the machine runs on its battery", "plug it in: on battery the CPU is slower", None));
    }
    if let Some(cpus) = host.cpu_quota.filter(|cpus| *cpus < host.cores as f64) {
        all.push(new(
            format!("{cpus} of {} CPUs allowed, by the control group", host.cores),
            "processes that used up their share stop until the next period, usually 100 ms; start the \
             container without --cpus",
            None,
        ));
    }
    if host.hugepages.as_deref() == Some("always") {
        all.push(new(
            "transparent huge pages are always on",
            "the first access to memory can stall then (Redis warns about it, too)",
            Some("echo madvise | sudo tee /sys/kernel/mm/transparent_hugepage/enabled"),
        ));
    }
    if let Some(nodes) = host.numa_nodes.filter(|&nodes| nodes > 1) {
        all.push(new(
            format!("memory is in {nodes} NUMA nodes"),
            "memory of another node is slower; keep all roles on one node",
            Some(&format!("numactl --cpunodebind=0 --membind=0 {}", crate::hint::command(&["bench"]))),
        ));
    }
    if let Some(clock) = host.clocksource.as_deref().filter(|clock| !CHEAP_CLOCKS.contains(clock)) {
        all.push(new(
            format!("the clock source is `{clock}`"),
            "it is slow to read, and each message reads it; this lists the others",
            Some("cat /sys/devices/system/clocksource/clocksource0/available_clocksource"),
        ));
    }
    if host.cores < 2 {
        all.push(new(
            "there is one CPU",
            "roles and brokers take turns, so the scheduler decides the latencies",
            None,
        ));
    }
    all
}

fn room(facts: &Facts<'_>) -> Vec<Advice> {
    let mut all = Vec::new();
    if facts.profile.starts_with("debug") {
        all.push(new(
            "this program is built without optimisation",
            "its speed says nothing; build it with optimisation",
            Some("cargo build --release"),
        ));
    }
    if facts.without_mqtt && !embedded::HERE {
        all.push(new(
            "no MQTT broker is installed",
            "if Mosquitto cannot be installed, this builds a `lab` with an embedded broker, which stores \
             nothing on disk",
            Some(embedded::BUILD),
        ));
    }
    if let Some(free) = facts.shm_free_bytes.filter(|&free| free < SHARED_MEMORY) {
        let fact = format!("/dev/shm has {} free", size(free));
        let wanted = format!("large runs need {} for their accounts", size(SHARED_MEMORY));
        all.push(new(fact, &wanted, Some("sudo mount -o remount,size=256M /dev/shm")));
    }
    if let Some(limit) = facts.open_files.filter(|&limit| limit < OPEN_FILES) {
        let command = format!("ulimit -n {OPEN_FILES}");
        all.push(new(
            format!("only {limit} files may be open"),
            "many roles and connections need more",
            Some(&command),
        ));
    }
    all
}

pub(super) fn size(bytes: u64) -> String {
    match bytes >> 20 {
        mebibytes if mebibytes >= 1024 => format!("{:.1} GiB", mebibytes as f64 / 1024.0),
        mebibytes => format!("{mebibytes} MiB"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A machine that needs no advice, changed; the facts it then gets advice on.
    #[track_caller]
    fn check(change: impl FnOnce(&mut Host, &mut Noise), expected: &[&str]) {
        let mut host = Host { cores: 8, governor: Some("performance".to_owned()), ..Host::default() };
        let mut noise = Noise { oversleep_p99_ns: 100_000, ..Noise::default() };
        change(&mut host, &mut noise);
        let neighbours = [Neighbour { pid: 7, name: "rustc".to_owned(), cpu: 1.5 }];
        let facts = Facts {
            host: &host,
            noise: &noise,
            neighbours: &neighbours,
            profile: "release, opt-level 3",
            shm_free_bytes: Some(1 << 30),
            open_files: None,
            without_mqtt: false,
        };
        let found = advice(&facts);
        let found: Vec<&str> = found.iter().map(|advice| advice.fact.as_str()).collect();
        assert_eq!(found, expected);
    }

    #[test]
    fn each_fact_calls_for_its_advice_and_nothing_else_does() {
        check(|_, _| {}, &[]);
        check(
            |_, noise| noise.foreign_cpu = 0.2,
            &["other programs take 20 % of the CPU time: rustc (process 7) 150 % of a CPU"],
        );
        check(|host, _| host.load[0] = 4.5, &["the load average is 4.50 on 8 CPUs"]);
        check(|_, noise| noise.steal = 0.021, &["the hypervisor takes 2.1 % of the CPU time for others"]);
        check(
            |host, noise| {
                host.virtualized = true;
                host.hypervisor = Some("kvm".to_owned());
                noise.oversleep_p99_ns = 300_000;
            },
            &["this is a virtual machine (kvm)"],
        );
        check(|host, _| host.virtualized = true, &[]);
        check(
            |host, _| host.governor = Some("powersave".to_owned()),
            &["the CPU frequency governor is `powersave`"],
        );
        check(|host, _| host.turbo = Some(true), &["turbo is on"]);
        check(|host, _| host.turbo = Some(false), &[]);
        check(|host, _| host.smt = Some(true), &["two logical CPUs share a core"]);
        check(|host, _| host.on_battery = Some(true), &["the machine runs on its battery"]);
        check(|host, _| host.cpu_quota = Some(1.5), &["1.5 of 8 CPUs allowed, by the control group"]);
        check(|host, _| host.cpu_quota = Some(8.0), &[]);
        check(
            |host, _| host.hugepages = Some("always".to_owned()),
            &["transparent huge pages are always on"],
        );
        check(|host, _| host.hugepages = Some("madvise".to_owned()), &[]);
        check(|host, _| host.numa_nodes = Some(2), &["memory is in 2 NUMA nodes"]);
        check(|host, _| host.clocksource = Some("hpet".to_owned()), &["the clock source is `hpet`"]);
        check(|host, _| host.cores = 1, &["there is one CPU"]);
    }

    #[test]
    fn what_a_run_needs_is_asked_for() {
        let (host, noise) = (Host { cores: 8, ..Host::default() }, Noise::default());
        let facts = Facts {
            host: &host,
            noise: &noise,
            neighbours: &[],
            profile: "debug, opt-level 0",
            shm_free_bytes: Some(1 << 20),
            open_files: Some(256),
            without_mqtt: false,
        };
        let commands: Vec<String> = advice(&facts).into_iter().filter_map(|advice| advice.command).collect();
        assert_eq!(
            commands,
            ["cargo build --release", "sudo mount -o remount,size=256M /dev/shm", "ulimit -n 1024"]
        );
    }
}
