//! The machine that a run was made on, and the programs that ran.

use std::collections::BTreeMap;

#[cfg(feature = "schema")]
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

/// The machine a run was made on.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(JsonSchema))]
pub struct Host {
    /// Host name.
    pub name: String,
    /// CPU model as the kernel names it.
    pub cpu: String,
    /// Logical CPUs this process may use.
    pub cores: usize,
    /// Kernel release and architecture.
    pub kernel: String,
    /// Installed memory, bytes.
    pub memory_bytes: u64,
    /// CPU frequency governor, where the kernel shows one.
    pub governor: Option<String>,
    /// The kernel's clock source: `tsc` is cheap to read, others may not be.
    pub clocksource: Option<String>,
    /// The hypervisor's mark, where the CPU shows one.
    pub virtualized: bool,
    /// Load averages (1, 5, 15 minutes) at the start.
    pub load: [f64; 3],
    /// CPUs' worth of time that the control group allows; null: no limit.
    #[serde(default)]
    pub cpu_quota: Option<f64>,
    /// Whether several logical CPUs share a core (hyper-threading); null where the kernel does not say.
    #[serde(default)]
    pub smt: Option<bool>,
    /// Whether the CPU may exceed its base frequency for a while; null where the kernel does not say.
    #[serde(default)]
    pub turbo: Option<bool>,
    /// NUMA nodes: with more than one, memory is near for some CPUs and far for others.
    #[serde(default)]
    pub numa_nodes: Option<usize>,
    /// Transparent huge pages: `always`, `madvise` or `never`.
    #[serde(default)]
    pub hugepages: Option<String>,
    /// How much later than asked for the kernel may wake a thread to save power, ns. It holds for sleeps
    /// and timeouts, not for the timers that pace.
    #[serde(default)]
    pub timer_slack_ns: Option<u64>,
    /// Settings of TCP and of sockets, by their sysctl names.
    #[serde(default)]
    pub network: BTreeMap<String, String>,
    /// What kind of container this is, if it is one.
    #[serde(default)]
    pub container: Option<String>,
    /// What kind of virtual machine, where it says so.
    #[serde(default)]
    pub hypervisor: Option<String>,
    /// Whether it runs on its battery; null where there is none.
    #[serde(default)]
    pub on_battery: Option<bool>,
}

/// What ran.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(JsonSchema))]
pub struct Versions {
    /// This program's version.
    pub lab: String,
    /// Its source revision, `-dirty` when it had uncommitted changes.
    pub git: Option<String>,
    /// The compiler it was built with.
    pub rustc: String,
    /// How it was built: `release`, or `debug`, whose speeds say nothing; then the level of optimisation.
    #[serde(default)]
    pub profile: String,
    /// Broker name to version, as the broker says it.
    pub brokers: BTreeMap<String, String>,
    /// Broker name to its settings in effect, as read back or as given to a private one.
    #[serde(default)]
    pub settings: BTreeMap<String, BTreeMap<String, String>>,
    /// Client library to version.
    pub crates: BTreeMap<String, String>,
}

impl Versions {
    /// The version of this program with its source revision: `0.1.0 (4bbadd1)`.
    pub fn program(&self) -> String {
        let revision = self.git.as_ref().map(|git| format!(" ({git})")).unwrap_or_default();
        format!("{}{revision}", self.lab)
    }
}

/// How quiet the machine was: an idle thread's oversleep, measured before the first trial.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(JsonSchema))]
pub struct Noise {
    /// Median oversleep of a 1 ms sleep, ns.
    pub oversleep_p50_ns: u64,
    /// 99th percentile of it, ns.
    pub oversleep_p99_ns: u64,
    /// Its maximum, ns.
    pub oversleep_max_ns: u64,
    /// Share of CPU time stolen by the hypervisor meanwhile, 0 to 1.
    pub steal: f64,
    /// Share of the machine's CPU time used by others meanwhile, 0 to 1.
    pub foreign_cpu: f64,
}
