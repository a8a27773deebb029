//! Records what this program was built from, for the result set.

use std::path::Path;
use std::process::Command;

/// Client libraries whose versions belong to a result.
const CRATES: [&str; 9] =
    ["async-nats", "hyper", "lapin", "redb", "redis", "rumqttc", "tokio", "tokio-tungstenite", "zeromq"];

fn main() {
    println!("cargo:rerun-if-changed=build.rs");
    println!("cargo:rerun-if-env-changed=RUSTC");
    let rustc = std::env::var("RUSTC").unwrap_or_else(|_| "rustc".to_owned());
    println!("cargo:rustc-env=LAB_RUSTC={}", said(&rustc, &["--version"]).unwrap_or_default());

    let how = |name: &str| std::env::var(name).unwrap_or_default();
    println!("cargo:rustc-env=LAB_PROFILE={}, opt-level {}", how("PROFILE"), how("OPT_LEVEL"));

    // Empty without git, or in sources that were unpacked from an archive.
    let revision = said("git", &["describe", "--always", "--dirty", "--exclude=*"]).unwrap_or_default();
    println!("cargo:rustc-env=LAB_GIT={revision}");
    // `dirty` can change with any source: cargo then runs this again.
    for path in ["src", "../labs/src", "../Cargo.lock"] {
        println!("cargo:rerun-if-changed={path}");
    }
    for name in ["HEAD", "index"] {
        // Asked of git, because in a worktree these files are elsewhere.
        let path = said("git", &["rev-parse", "--path-format=absolute", "--git-path", name]);
        if let Some(path) = path.filter(|path| Path::new(path).exists()) {
            println!("cargo:rerun-if-changed={path}");
        }
    }

    let lock = std::fs::read_to_string("../Cargo.lock").unwrap_or_default();
    let versions: Vec<String> =
        CRATES.iter().filter_map(|name| Some(format!("{name}={}", version(&lock, name)?))).collect();
    println!("cargo:rustc-env=LAB_CRATES={}", versions.join(" "));
}

/// The version of a library that the labs are built with. Where there are several,
/// the lock file names the one beside the library's name in the list of what the
/// labs need.
fn version<'a>(lock: &'a str, name: &str) -> Option<&'a str> {
    let labs = lock.split("[[package]]").find(|package| package.contains("\nname = \"labs\"\n"))?;
    let named = labs.split_once(&format!("\"{name} ")).and_then(|(_, after)| after.split(['"', ' ']).next());
    named.or_else(|| lock.split_once(&format!("\nname = \"{name}\"\nversion = \""))?.1.split('"').next())
}

fn said(program: &str, args: &[&str]) -> Option<String> {
    let mut command = Command::new(program);
    // A hook of git that builds this has variables for the repository of the hook.
    let local = Command::new("git").args(["rev-parse", "--local-env-vars"]).output();
    for name in
        local.map(|local| String::from_utf8_lossy(&local.stdout).into_owned()).unwrap_or_default().lines()
    {
        command.env_remove(name);
    }
    let output = command.args(args).output().ok().filter(|output| output.status.success())?;
    Some(String::from_utf8_lossy(&output.stdout).trim().to_owned())
}
