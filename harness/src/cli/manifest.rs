//! `lab manifest`: a benchmark as objects of an orchestrator.

use std::collections::BTreeSet;
use std::path::Path;
use std::process::ExitCode;

use anyhow::{Context as _, Result, anyhow, bail, ensure};
use clap::{Args, Subcommand};
use labs::lab::{Broker, BrokerAddress};
use serde_json::Value;

use super::bench;
use crate::command::{Given, usage};
use crate::manifest::{self, Benchmark};
use crate::results::{self, MOST_PLAN, Plan};
use crate::roles::Handle;
use crate::roles::protocol::{Kind, kinds};
use crate::supervisor::remote::CONNECTIONS;
use crate::{hint, plan};

#[derive(Debug, Args)]
pub(super) struct ManifestArgs {
    #[command(subcommand)]
    of: Orchestrator,
}

#[derive(Debug, Subcommand)]
enum Orchestrator {
    /// Print a Job and a Service for Kubernetes; docs/kubernetes.md shows how to use them
    #[command(name = "k8s")]
    Kubernetes(KubernetesArgs),
}

#[derive(Debug, Args)]
struct KubernetesArgs {
    /// quick, standard, full, or a TOML file
    plan: String,
    /// Names, globs (quoted: 'pubsub-*') or patterns (pubsub); default: those of the plan
    labs: Vec<String>,
    /// The image with this program
    #[arg(long, default_value = concat!("messaging-lab:", env!("CARGO_PKG_VERSION")))]
    image: String,
    /// Name of the Job and its Service; default: lab- and the plan's name
    #[arg(long)]
    name: Option<String>,
    /// The address of a broker, as the pods reach it; `BROKER=@/secret/FILE` for one with a password, in the Secret NAME-broker
    #[arg(long = "url", value_name = "BROKER=URL")]
    urls: Vec<Given>,
    /// How long the result is kept in the first pod after the run
    #[arg(long, value_name = "TIME", default_value = manifest::KEEP, value_parser = manifest::keep)]
    keep: f64,
    /// Print one JSON object, a List, instead of YAML
    #[arg(long)]
    json: bool,
}

pub(super) fn main(args: &ManifestArgs, handles: &[Handle]) -> Result<ExitCode> {
    let Orchestrator::Kubernetes(args) = &args.of;
    let objects = usage(objects(args, handles))?;
    let text = match args.json {
        true => serde_json::to_string_pretty(&manifest::list(objects))?,
        false => manifest::documents(&objects),
    };
    outln!("{}", text.trim_end())?;
    Ok(ExitCode::SUCCESS)
}

fn objects(args: &KubernetesArgs, handles: &[Handle]) -> Result<Vec<Value>> {
    let mut plan = plan::load(&args.plan)?;
    ensure!(
        plan.launch.is_empty() && plan.launch_program.is_none() && plan.listen.is_none(),
        "{} says where roles run (launch, launch_program or listen), and so does the manifest; leave it out of \
         the plan",
        args.plan
    );
    if !args.labs.is_empty() {
        plan.labs.clone_from(&args.labs);
    }
    ensure!(
        !plan.labs.is_empty(),
        "no labs are named; name them behind the plan, as in `{}`, or as `labs` in a plan's file",
        hint::command(&["manifest", "k8s", "quick", "oneway-tcp"])
    );
    plan::check(&plan)?;
    let chosen = plan::select(handles, &plan.labs)?;
    bench::knobs(&plan, handles)?;
    several_hosts(&plan, &chosen)?;
    let urls = urls(&args.urls)?;
    brokers(&chosen, &urls)?;
    let name = args.name.clone().unwrap_or_else(|| manifest::name_for(&plan.name));
    manifest::check_name(&name)?;
    ensure!(
        !args.image.is_empty() && !args.image.contains(char::is_whitespace),
        "`{}` cannot be the name of an image; it is like `registry.example/messaging-lab:1`",
        args.image
    );
    let built_in = plan::BUILT_IN.contains(&args.plan.as_str());
    let file = (!built_in).then(|| results::read_text(Path::new(&args.plan), MOST_PLAN)).transpose()?;
    let has = |kind: &Kind| chosen.iter().any(|handle| kinds(handle.entry.pattern).contains(kind));
    let kinds: Vec<Kind> = Kind::ALL.into_iter().filter(has).collect();
    let urls: Vec<String> = urls.into_iter().map(|(_, given)| given).collect();
    Ok(manifest::objects(&Benchmark {
        name: &name,
        image: &args.image,
        plan: &args.plan,
        file: file.as_deref(),
        labs: &args.labs,
        kinds: &kinds,
        urls: &urls,
        keep_s: args.keep,
    }))
}

/// Refuses labs whose roles cannot be in several pods, and more of a kind than one pod serves.
fn several_hosts(plan: &Plan, chosen: &[Handle]) -> Result<()> {
    if let Some(bound) = chosen.iter().find(|handle| handle.entry.one_host()) {
        bail!(
            "all roles of {} have to be on one host, and here each kind has a pod of its own; leave it out",
            bound.entry.name
        );
    }
    let most = plan.senders.iter().chain(&plan.receivers).max().copied().unwrap_or(0);
    ensure!(
        most <= CONNECTIONS,
        "{most} roles of one kind are too many for one pod, which serves {CONNECTIONS}; give fewer senders and \
         receivers"
    );
    Ok(())
}

/// The addresses of brokers, as they were given.
fn urls(given: &[Given]) -> Result<Vec<(Broker, String)>> {
    let mut seen = BTreeSet::new();
    let mut urls = Vec::new();
    for Given(text) in given {
        let named = text.split_once('=').filter(|(name, _)| !name.contains(':'));
        let (name, url) =
            named.context("--url takes BROKER=URL, as in `--url redis=redis://redis.default:6379`")?;
        let broker = Broker::ALL.into_iter().find(|broker| broker.as_str() == name).with_context(|| {
            let names: Vec<&str> = Broker::ALL.iter().map(|broker| broker.as_str()).collect();
            format!("there is no broker `{name}`; the brokers are {}", names.join(", "))
        })?;
        ensure!(seen.insert(broker), "--url {name} was given twice; a broker has one address");
        check_url(broker, url).map_err(|error| anyhow!("--url {name}=…: {error:#}"))?;
        urls.push((broker, text.clone()));
    }
    Ok(urls)
}

/// Refuses an address that the pods could not use or that the manifest must not show.
fn check_url(broker: Broker, url: &str) -> Result<()> {
    if let Some(path) = url.strip_prefix('@') {
        let file = path.strip_prefix(manifest::SECRET).unwrap_or_default();
        ensure!(
            !file.is_empty() && !file.contains('/'),
            "the file {path} is not in {}, where the pods have the Secret of the broker; give \
             `{broker}=@{}{broker}`",
            manifest::SECRET,
            manifest::SECRET
        );
        return Ok(());
    }
    ensure!(
        !["wheel", "embedded"].contains(&url),
        "a private broker is on the loopback of one pod, where no other reaches it; give the address of a broker"
    );
    let address = BrokerAddress::parse(broker, url)?;
    ensure!(
        !address.is_secret(),
        "the manifest would show its login; put the address into a Secret, and give \
         `{broker}=@{}{broker}`, the file in the pods",
        manifest::SECRET
    );
    ensure!(address.unix().is_none(), "a Unix socket is on one host; give an address over TCP");
    Ok(())
}

/// Every lab has its broker, and every broker a lab.
fn brokers(chosen: &[Handle], urls: &[(Broker, String)]) -> Result<()> {
    let known = |broker: Broker| urls.iter().any(|(known, _)| *known == broker);
    for handle in chosen {
        if let Some(broker) = handle.entry.broker.filter(|broker| !known(*broker)) {
            bail!(
                "{} needs a broker that all pods reach, and a private one is on the loopback of one pod; give its \
                 address with `--url {broker}=URL`",
                handle.entry.name
            );
        }
    }
    let used = |broker: Broker| chosen.iter().any(|handle| handle.entry.broker == Some(broker));
    match urls.iter().find(|(broker, _)| !used(*broker)) {
        Some((broker, _)) => bail!("none of these labs runs over {broker}; leave out its --url"),
        None => Ok(()),
    }
}
