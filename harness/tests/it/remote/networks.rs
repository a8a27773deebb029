//! Roles in network namespaces, each with a clock of its own: three hosts on one machine.

use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context as _, Result, ensure};

use super::{trials_of, unharmed};
use crate::program::text;

/// The script that makes the hosts.
pub(crate) fn script() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/it/remote/namespaces.sh")
}

/// A command on three hosts.
pub(crate) fn on_three_hosts() -> Command {
    let mut command = Command::new("unshare");
    command.args(["--user", "--map-root-user", "--net", "--mount"]).arg(script());
    command
}

/// A prefix that starts a role on a host whose clock is so many seconds ahead.
fn on(host: &str, ahead: &str) -> String {
    format!("ip netns exec {host} unshare --time --monotonic {ahead} --fork --kill-child")
}

/// The account is that of one host, and the clocks are found within their bound and 20 µs.
pub(super) fn account_and_clocks() -> Result<()> {
    let lab = env!("CARGO_BIN_EXE_lab");
    // The first between two other hosts, the second from here to another one and back.
    let cases = [
        ("oneway-tcp", [("sender", "b", "5"), ("receiver", "c", "-5")].as_slice(), "10.9.1.3"),
        ("reqrep-tcp", &[("responder", "b", "5")], "10.9.0.2"),
        ("queue-tcp", &[("producer", "b", "-5")], "10.9.0.2"),
    ];
    for (name, roles, listen) in cases {
        let dir = tempfile::tempdir()?;
        let launches: Vec<String> =
            roles.iter().map(|(role, host, ahead)| format!("{role}={}", on(host, ahead))).collect();
        let mut command = on_three_hosts();
        command.args([lab, "bench", name, "--listen", listen, "--out", text(dir.path())?]);
        command.args(launches.iter().flat_map(|launch| ["--launch", launch]));
        command.args(["--load", "500", "--trials", "1", "--seconds", "0.5", "--warmup", "0.1"]);
        let ran = command.output()?;
        ensure!(ran.status.success(), "{name}: {}\n{}", ran.status, String::from_utf8_lossy(&ran.stderr));
        let trials = trials_of(dir.path())?;
        // Its own, and that of the plain sockets beside it.
        ensure!(trials.len() >= 2, "{name}: {} trials", trials.len());
        ensure!(
            String::from_utf8_lossy(&ran.stderr).contains("use a network that you trust"),
            "{name}: listening beyond loopback is not said aloud"
        );
        for trial in trials {
            unharmed(&trial).with_context(|| name.to_owned())?;
            for host in trial["hosts"].as_array().context("no hosts")? {
                let offset = host["clock_offset_ns"].as_i64().context("no offset")?;
                let bound = host["clock_bound_ns"].as_u64().context("no bound")?;
                let truth = if offset > 0 { 5_000_000_000_i64 } else { -5_000_000_000 };
                ensure!(offset.abs_diff(truth) <= bound + 20_000, "{name}: {host}");
            }
            // What is shown is within the bound of the truth, which is far below a second.
            let p50 = trial["response_ns"]["p50"].as_u64();
            ensure!(p50.is_none_or(|ns| ns < 1_000_000_000), "{name}: {p50:?}");
        }
        let report = std::fs::read_to_string(dir.path().join("report.html"))?;
        ensure!(report.contains("Where the roles ran"), "{name}: the report draws no hosts");
        ensure!(report.contains("There and back over a plain TCP socket"), "{name}: no round trip");
    }
    Ok(())
}
