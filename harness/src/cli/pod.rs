//! `lab pod`: what each pod of the Job that `lab manifest k8s` prints runs. The first one runs the
//! benchmark, and keeps the result; each of the others serves agents for the roles of one kind.

use std::net::{IpAddr, SocketAddr};
use std::os::unix::process::ExitStatusExt as _;
use std::process::ExitCode;
use std::time::Duration;

use anyhow::{Context as _, Result};
use clap::Args;
use tokio::signal::unix::SignalKind;

use crate::command::{human, usage};
use crate::process::signals::Listener;
use crate::supervisor::remote::{self, Token};
use crate::{hint, manifest, process, roles, units};

/// Where Kubernetes tells a pod of an indexed Job its number.
const INDEX: &str = "JOB_COMPLETION_INDEX";
/// How long the other pods may take to be there: images are loaded, and nodes may have to be added.
const COMING: Duration = Duration::from_secs(900);
/// The exit code after SIGTERM, as a shell gives it.
const TERMINATED: u8 = 143;

#[derive(Debug, Args)]
pub(super) struct PodArgs {
    /// How long the result is kept after the run
    #[arg(long, value_name = "TIME", default_value = manifest::KEEP, value_parser = manifest::keep)]
    keep: f64,
    /// Wait until somebody listens at this address, HOST:PORT, before the run
    #[arg(long, value_name = "ADDRESS")]
    wait: Vec<String>,
    /// The words of the command that is run
    #[arg(last = true, required = true, value_name = "WORDS")]
    words: Vec<String>,
}

pub(super) fn main(args: &PodArgs) -> Result<ExitCode> {
    let index = usage(index(std::env::var(INDEX).ok().as_deref()))?;
    if index == 0 { coordinate(args) } else { serve() }
}

fn index(text: Option<&str>) -> Result<u64> {
    let printed = hint::command(&["manifest", "k8s"]);
    let text = text.with_context(|| {
        format!("{INDEX} is not set; this is the command of the pods of the Job that `{printed}` prints")
    })?;
    units::whole(text).with_context(|| format!("{INDEX} is no number of a pod"))
}

/// Runs the benchmark, keeps its result for a while, and ends as it did.
fn coordinate(args: &PodArgs) -> Result<ExitCode> {
    let runtime = roles::runtime(0)?;
    let code = runtime.block_on(async {
        // A first process of a container has no default way to end.
        let mut end = Listener::new(SignalKind::terminate())?;
        tokio::select! {
            () = end.recv() => Ok(TERMINATED),
            code = run(args) => code,
        }
    });
    // An address that is still looked up must not hold it.
    runtime.shutdown_background();
    Ok(ExitCode::from(code?))
}

async fn run(args: &PodArgs) -> Result<u8> {
    for address in &args.wait {
        // It is closed at once: only whether somebody is there counts.
        drop(remote::reach(address, COMING).await?);
    }
    let mut command = std::process::Command::new(process::this_program());
    command.args(&args.words);
    process::die_with_parent(&mut command);
    let child = tokio::process::Command::from(command).kill_on_drop(true).spawn();
    let status = child.context("cannot start the benchmark")?.wait().await?;
    let code = status.code().unwrap_or_else(|| 128 + status.signal().unwrap_or(0));
    let pod = std::env::var(manifest::POD_NAME).unwrap_or_else(|_| "POD".to_owned());
    errln!(
        "\nlab: the run ended with exit code {code}. Fetch its result within {}:\n  kubectl cp {pod}:{results} \
         .{results}",
        human(args.keep),
        results = manifest::RESULTS
    );
    tokio::time::sleep(Duration::from_secs_f64(args.keep)).await;
    Ok(u8::try_from(code).unwrap_or(1))
}

/// Serves agents at the pod's own address until the Job ends.
fn serve() -> Result<ExitCode> {
    let address = usage(address(std::env::var(manifest::POD_IP).ok().as_deref()))?;
    let token = usage(Token::from_environment())?;
    std::thread::Builder::new().name("end".to_owned()).spawn(|| {
        if let Err(error) = roles::runtime(0).and_then(|runtime| runtime.block_on(end())) {
            errln!("lab: {error:#}");
        }
    })?;
    remote::serve(&address.to_string(), &token)?;
    Ok(ExitCode::SUCCESS)
}

fn address(ip: Option<&str>) -> Result<SocketAddr> {
    let name = manifest::POD_IP;
    let ip = ip.with_context(|| format!("{name} is not set; it has to be the pod's IP address"))?;
    let parsed: Result<IpAddr, _> = ip.parse();
    let ip = parsed.with_context(|| format!("{name} is `{ip}`, which is no IP address"))?;
    Ok(SocketAddr::new(ip, manifest::PORT))
}

/// Ends this process at SIGTERM: the Job is over.
async fn end() -> Result<()> {
    Listener::new(SignalKind::terminate())?.recv().await;
    std::process::exit(0)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_pod_knows_its_number_and_its_address() {
        assert_eq!(index(Some("3")).expect("a number"), 3);
        for (text, said) in [(None, "manifest k8s"), (Some("first"), "`first`")] {
            let error = format!("{:#}", index(text).expect_err("refused"));
            assert!(error.contains(INDEX) && error.contains(said), "{error}");
        }
        for (ip, expected) in [("10.0.0.2", "10.0.0.2:7000"), ("fd00::2", "[fd00::2]:7000")] {
            assert_eq!(address(Some(ip)).expect("an address").to_string(), expected);
        }
        for (ip, said) in [(None, "not set"), (Some("host-b"), "`host-b`")] {
            let error = format!("{:#}", address(ip).expect_err("refused"));
            assert!(error.contains(manifest::POD_IP) && error.contains(said), "{error}");
        }
    }
}
