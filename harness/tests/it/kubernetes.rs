//! `lab manifest k8s` against Kubernetes' published schema, and what its pods run: agents behind a
//! socket, on loopback. No cluster takes part.

use std::io::{ErrorKind, Read as _, Write as _};
use std::net::{TcpListener, TcpStream, ToSocketAddrs as _};
use std::path::Path;
use std::time::Duration;

use anyhow::{Context as _, Result, anyhow, bail, ensure};
use libtest_mimic::Trial;
use serde_json::{Value, json};

use crate::program::{Live, NOTHING, bench, code, read, run, text};
use crate::remote::trials_of;
use crate::{lab, trial};

/// Every trial of this file.
pub(crate) fn trials() -> Vec<Trial> {
    vec![
        trial("kubernetes::manifests_are_valid_and_fit_together", valid),
        trial("kubernetes::broken_manifests_are_not_valid", broken),
        trial("kubernetes::what_cannot_run_in_pods_is_refused", refused),
        trial("kubernetes::a_served_agent_starts_roles", served),
        trial("kubernetes::hostile_connections_cost_only_themselves", hostile),
        trial("kubernetes::another_token_fails_the_trial_with_the_address", another_token),
        trial("kubernetes::no_agent_is_served_without_a_token", no_token),
        trial("kubernetes::a_pod_runs_the_benchmark_or_says_what_it_lacks", pods),
        trial("kubernetes::roles_listen_at_the_address_of_their_host", own_address),
    ]
}

const PROGRAM: &str = env!("CARGO_BIN_EXE_lab");
const TOKEN: &str = "0123456789abcdef0123456789abcdef";
/// A measured time of half a second.
const SHORT: [&str; 9] =
    ["oneway-tcp", "--load", "500", "--trials", "1", "--seconds", "0.5", "--no-floor", "--warmup=0.1"];

/// The objects of a manifest.
fn objects(words: &[&str]) -> Result<Vec<Value>> {
    let said = run(&[&["manifest", "k8s", "--json"], words].concat())?.expect(0)?;
    let list: Value = serde_json::from_str(&said.out)?;
    ensure!(list["kind"] == "List" && list["apiVersion"] == "v1", "{list}");
    // What a person reads has as many documents.
    let shown = run(&[&["manifest", "k8s"], words].concat())?.expect(0)?;
    let items = list["items"].as_array().context("no items")?;
    ensure!(shown.out.lines().filter(|line| *line == "---").count() == items.len(), "{}", shown.out);
    Ok(items.clone())
}

/// What is wrong with an object, by the schema.
fn wrong(object: &Value) -> Result<Vec<String>> {
    let kind = object["kind"].as_str().context("no kind")?;
    let group = if kind == "Job" { "batch" } else { "core" };
    let mut schema: Value = serde_json::from_str(include_str!("kubernetes/schema.json"))?;
    schema["$ref"] = Value::from(format!("#/$defs/io.k8s.api.{group}.v1.{kind}"));
    let validator = jsonschema::validator_for(&schema).map_err(|error| anyhow!("the schema: {error}"))?;
    Ok(validator.iter_errors(object).map(|error| format!("{}: {error}", error.instance_path())).collect())
}

fn find<'a>(objects: &'a [Value], kind: &str) -> Result<&'a Value> {
    objects.iter().find(|object| object["kind"] == kind).with_context(|| format!("there is no {kind}"))
}

fn valid() -> Result<()> {
    let dir = tempfile::tempdir()?;
    let plan = dir.path().join("mine.toml");
    let of_plan = "# größer\nlabs = ['queue-redis']\nloads = [500, \"max\"]\n";
    std::fs::write(&plan, of_plan)?;
    let peers = ["oneway-tcp", "reqrep-tcp", "pubsub-tcp", "pipeline-tcp", "queue-tcp"];
    let many = [&["standard"][..], &peers, &["--image", "r.example/lab:1", "--name", "mine", "--keep", "1h"]];
    let url = "redis=redis://redis.default:6379";
    for (words, kinds, name) in [
        (vec!["quick", "oneway-tcp"], 2, "lab-quick"),
        (many.concat(), 11, "mine"),
        (vec![text(&plan)?, "--url", url], 2, "lab-mine"),
        (vec!["full", "queue-redis", "--url", "redis=@/secret/redis"], 2, "lab-full"),
    ] {
        let objects = objects(&words)?;
        for object in &objects {
            let wrong = wrong(object)?;
            ensure!(wrong.is_empty(), "{words:?}: {wrong:?}\n{object:#}");
        }
        fit_together(&objects, kinds, name).with_context(|| format!("{words:?}"))?;
        let file = words[0].ends_with(".toml");
        ensure!(find(&objects, "ConfigMap").is_ok() == file, "{words:?}: {objects:?}");
        if file {
            ensure!(find(&objects, "ConfigMap")?["data"] == json!({"plan.toml": of_plan}), "{objects:?}");
        }
        let secret = words.iter().any(|word| word.contains("=@"));
        let spec = &find(&objects, "Job")?["spec"]["template"]["spec"];
        ensure!(spec["volumes"].to_string().contains("lab-full-broker") == secret, "{spec}");
    }
    Ok(())
}

/// What no schema can say.
fn fit_together(objects: &[Value], kinds: usize, name: &str) -> Result<()> {
    let (service, job) = (find(objects, "Service")?, find(objects, "Job")?);
    let spec = &job["spec"];
    let pod = &spec["template"]["spec"];
    ensure!(service["metadata"]["name"] == name && pod["subdomain"] == name, "{service}\n{pod}");
    ensure!(job["metadata"]["name"] == name, "{job}");
    ensure!(service["spec"]["selector"]["batch.kubernetes.io/job-name"] == name, "{service}");
    ensure!(spec["completions"] == 1 + kinds && spec["parallelism"] == 1 + kinds, "{spec}");
    let container = &pod["containers"][0];
    let volumes = pod["volumes"].as_array().context("no volumes")?;
    let mounts = container["volumeMounts"].as_array().context("no mounts")?;
    for mount in mounts {
        ensure!(volumes.iter().any(|volume| volume["name"] == mount["name"]), "{mount} has no volume");
    }
    let words: Vec<String> = serde_json::from_value(container["command"].clone())?;
    let behind = |option: &str| -> Vec<&str> {
        words.windows(2).filter(|two| two[0] == option).map(|two| two[1].as_str()).collect()
    };
    let addresses: Vec<String> = (1..=kinds).map(|index| format!("{name}-{index}.{name}:7000")).collect();
    ensure!(behind("--wait") == addresses, "{words:?}");
    let dialed: Vec<&str> =
        behind("--launch").into_iter().filter_map(|launch| launch.rsplit(' ').next()).collect();
    ensure!(dialed == addresses, "{words:?}");
    // The program takes the words that it prints.
    let end = words.iter().position(|word| word == "--").context("no end")?;
    ensure!(words[..2] == ["lab", "pod"], "{words:?}");
    for part in [&words[1..end], &words[end + 1..]] {
        let part: Vec<&str> = part.iter().map(String::as_str).chain(["--help"]).collect();
        run(&part)?.expect(0)?;
    }
    Ok(())
}

fn broken() -> Result<()> {
    let dir = tempfile::tempdir()?;
    let plan = dir.path().join("mine.toml");
    std::fs::write(&plan, "labs = ['oneway-tcp']\n")?;
    let objects = objects(&[text(&plan)?])?;
    for (kind, pointer, value) in [
        ("Job", "/spec", json!({})),
        ("Job", "/spec/completions", json!("3")),
        ("Job", "/spec/template/spec/containers/0/volumeMounts/0", json!({"name": "results"})),
        ("Job", "/spec/template/spec/containers/0/env/0", json!({"nam": "LAB_TOKEN"})),
        ("Job", "/spec/template/spec", json!({"restartPolicy": "Never", "subdomian": "lab"})),
        ("Service", "/spec", json!({"clusterIp": "None"})),
        ("Service", "/spec/publishNotReadyAddresses", json!("true")),
        ("ConfigMap", "/data/plan.toml", json!(1)),
    ] {
        let mut object = find(&objects, kind)?.clone();
        ensure!(wrong(&object)?.is_empty(), "{object}");
        *object.pointer_mut(pointer).with_context(|| format!("no {pointer}"))? = value;
        ensure!(!wrong(&object)?.is_empty(), "{pointer} of a {kind} is not checked: {object}");
    }
    Ok(())
}

fn refused() -> Result<()> {
    let dir = tempfile::tempdir()?;
    let file = |name: &str, text: &str| -> Result<String> {
        let path = dir.path().join(name);
        std::fs::write(&path, text)?;
        Ok(path.display().to_string())
    };
    let elsewhere = file("elsewhere.toml", "labs = ['oneway-tcp']\n[launch]\nsender = 'ssh b'\n")?;
    let listens = file("listens.toml", "labs = ['oneway-tcp']\nlisten = '10.0.0.2'\n")?;
    let crowd = file("crowd.toml", "labs = ['pubsub-tcp']\nreceivers = 65\n")?;
    let redis = |url: &'static str| vec!["quick", "queue-redis", "--url", url];
    for (words, said) in [
        (vec!["quick"], "no labs are named"),
        (vec!["quick", "oneway-unix"], "have to be on one host"),
        (vec!["quick", "oneway"], "oneway-inproc have to be on one host"),
        (vec!["quick", "oneway-tpc"], "did you mean `oneway-tcp`"),
        (vec!["quik", "oneway-tcp"], "did you mean `quick`"),
        (vec!["no/such.toml", "oneway-tcp"], "no/such.toml"),
        (vec![elsewhere.as_str()], "says where roles run"),
        (vec![listens.as_str()], "says where roles run"),
        (vec![crowd.as_str()], "65 roles of one kind"),
        (vec!["quick", "queue-redis"], "--url redis=URL"),
        (redis("redis=redis://me:hunter2@h:1"), "would show its login"),
        (redis("redis=redis://:hunter2@h:1"), "redis=@/secret/redis"),
        (redis("redis=wheel"), "loopback of one pod"),
        (redis("redis=@/etc/hunter2"), "is not in /secret/"),
        (redis("redis=@/secret/"), "is not in /secret/"),
        (redis("redis=redis+unix:///run/redis.sock"), "over TCP"),
        (redis("redis"), "BROKER=URL"),
        (redis("radish=redis://h:1"), "no broker `radish`"),
        (redis("nats=nats://h:4222"), "--url redis=URL"),
        (vec!["quick", "oneway-tcp", "--url", "nats=nats://h:4222"], "runs over nats"),
        (vec!["quick", "oneway-tcp", "--name", "Mine"], "`Mine`"),
        (vec!["quick", "oneway-tcp", "--image", "a b"], "`a b`"),
        (vec!["quick", "oneway-tcp", "--keep", "48h"], "at most 24h"),
    ] {
        let ran = run(&[&["manifest", "k8s"], &words[..]].concat())?;
        ensure!(ran.code == 2 && ran.err.contains(said), "{words:?}: {}\n{}", ran.code, ran.err);
        ensure!(ran.out.is_empty(), "{words:?}: {}", ran.out);
        ensure!(!ran.err.contains("me:hunter2") && !ran.err.contains(":hunter2@"), "{}", ran.err);
    }
    Ok(())
}

/// An agent that is served on loopback, and its address.
fn serve() -> Result<(Live, String)> {
    let mut command = lab(&["agent", "--serve", "127.0.0.1:0"]);
    command.env("LAB_TOKEN", TOKEN);
    let mut agent = Live::spawn(command)?;
    agent.until_said("serving agents at ")?;
    let said = agent.said();
    let (_, behind) = said.split_once("serving agents at ").context("no address")?;
    let address = behind.split(';').next().context("no address")?.to_owned();
    ensure!(said.contains("not encrypted"), "{said}");
    Ok((agent, address))
}

/// A receiver behind the agent at this address.
fn launch(address: &str, token: &str) -> String {
    format!("receiver=env LAB_TOKEN={token} {PROGRAM} agent --dial {address}")
}

/// A short trial whose receiver is behind the agent: nothing is lost.
fn measure(address: &str) -> Result<()> {
    let dir = tempfile::tempdir()?;
    let launch = launch(address, TOKEN);
    let words = [&SHORT[..], &["--launch", &launch, "--launch-program", PROGRAM]].concat();
    bench(&words, dir.path())?.expect(0)?;
    all_came(dir.path(), 1)
}

fn all_came(out: &Path, hosts: usize) -> Result<()> {
    let one = trials_of(out)?.pop().context("no trial")?;
    let count = |name: &str| one["counts"][name].as_u64().unwrap_or(u64::MAX);
    ensure!(one["failed"].is_null() && count("sent") > 0 && count("lost") == 0, "{one}");
    ensure!(one["hosts"].as_array().map_or(0, Vec::len) == hosts, "{}", one["hosts"]);
    Ok(())
}

fn served() -> Result<()> {
    let (agent, address) = serve()?;
    measure(&address)?;
    // And again: the first connection has left nothing.
    measure(&address)?;
    ensure!(!agent.said().contains(TOKEN), "{}", agent.said());
    Ok(())
}

/// Waits until the other side has closed a connection without a word.
fn closed(mut stream: &TcpStream) -> Result<()> {
    stream.set_read_timeout(Some(Duration::from_secs(120)))?;
    match stream.read(&mut [0; 16]) {
        Ok(0) => Ok(()),
        Err(error) if error.kind() == ErrorKind::ConnectionReset => Ok(()),
        Ok(count) => bail!("it answered with {count} bytes"),
        Err(error) => Err(error).context("it was not closed"),
    }
}

fn hostile() -> Result<()> {
    let (mut agent, address) = serve()?;
    let long = "x".repeat(1000);
    let late = format!("{TOKEN} ");
    for (sent, said) in [
        ("another0another0another0another0\n", "closed, for its token is another"),
        ("\n", "closed, for its token is another"),
        (late.as_str(), "closed, for it sent no token within 5 s"),
        (long.as_str(), "closed, for its first line is longer than 128 bytes"),
        ("", "closed, for it sent no token within 5 s"),
    ] {
        let mut stream = TcpStream::connect(&address)?;
        let from = stream.local_addr()?;
        stream.write_all(sent.as_bytes())?;
        closed(&stream).with_context(|| format!("{sent:?}"))?;
        agent.until_said(&format!("{from}: {said}"))?;
    }
    // One that ends at once, and a crowd.
    drop(TcpStream::connect(&address)?);
    agent.until_said("ended before its token")?;
    let crowd: Vec<TcpStream> =
        (0..200).map(|_| TcpStream::connect(&address)).collect::<std::io::Result<_>>()?;
    for stream in &crowd {
        closed(stream)?;
    }
    agent.until_said("64 connections are open")?;
    measure(&address)?;
    ensure!(!agent.said().contains(TOKEN), "{}", agent.said());
    ensure!(!agent.has_ended()?, "it ended");
    Ok(())
}

fn another_token() -> Result<()> {
    let (agent, address) = serve()?;
    let other = "fedcba9876543210fedcba9876543210";
    let dir = tempfile::tempdir()?;
    let launch = launch(&address, other);
    let words = [&SHORT[..], &["--launch", &launch, "--launch-program", PROGRAM]].concat();
    let ran = bench(&words, dir.path())?.expect(1)?;
    let one = trials_of(dir.path())?.pop().context("no trial")?;
    let why = one["failed"].as_str().context("it has not failed")?;
    ensure!(why.contains(&address) && why.contains("LAB_TOKEN"), "{why}");
    ensure!(!ran.err.contains(TOKEN) && !agent.said().contains(other), "{}\n{}", ran.err, agent.said());
    Ok(())
}

fn no_token() -> Result<()> {
    for option in ["--serve", "--dial"] {
        for token in [None, Some("short"), Some("it has a space in it")] {
            let mut command = lab(&["agent", option, "127.0.0.1:0"]);
            match token {
                Some(token) => command.env("LAB_TOKEN", token),
                None => command.env_remove("LAB_TOKEN"),
            };
            let output = command.output()?;
            let said = String::from_utf8_lossy(&output.stderr);
            ensure!(code(output.status) == 2 && said.contains("openssl rand -hex 16"), "{option}: {said}");
            ensure!(token.is_none_or(|token| !said.contains(token)), "{option}: {said}");
        }
    }
    let ran = run(&["agent", "--serve", "127.0.0.1:0", "--dial", "127.0.0.1:1"])?;
    ensure!(ran.code == 2, "{}\n{}", ran.code, ran.err);
    Ok(())
}

fn pods() -> Result<()> {
    // With these variables, a pod says this, and ends as after a wrong command.
    for (variables, said) in [
        (&[][..], "JOB_COMPLETION_INDEX is not set"),
        (&[], "manifest k8s"),
        (&[("JOB_COMPLETION_INDEX", "first")], "`first`"),
        (&[("JOB_COMPLETION_INDEX", "1")], "POD_IP is not set"),
        (&[("JOB_COMPLETION_INDEX", "1"), ("POD_IP", "host-b")], "`host-b`"),
        (&[("JOB_COMPLETION_INDEX", "1"), ("POD_IP", "127.0.0.1")], "openssl rand"),
    ] {
        let mut command = lab(&["pod", "--", "list"]);
        for unset in ["JOB_COMPLETION_INDEX", "POD_IP", "LAB_TOKEN"] {
            command.env_remove(unset);
        }
        let output = command.envs(variables.iter().copied()).output()?;
        let told = String::from_utf8_lossy(&output.stderr);
        ensure!(code(output.status) == 2 && told.contains(said), "{variables:?}: {told}");
    }
    // It waits for the others, which here is a port that is open.
    let other = TcpListener::bind("127.0.0.1:0")?;
    let other = (other.local_addr()?.to_string(), other);
    for _ in 0..20 {
        let dir = tempfile::tempdir()?;
        let words = ["pod", "--keep", "0", "--wait", other.0.as_str(), "--", "bench"];
        let mut command = lab(&[&words[..], &SHORT, &["--out", text(dir.path())?]].concat());
        let output = command.env("JOB_COMPLETION_INDEX", "0").env("POD_NAME", "lab-quick-0-x7f").output()?;
        let told = String::from_utf8_lossy(&output.stderr);
        // On a busy machine, half a second may pass before the first message.
        if code(output.status) == 1 && told.contains(NOTHING) {
            continue;
        }
        ensure!(code(output.status) == 0, "{told}");
        ensure!(told.contains("kubectl cp lab-quick-0-x7f:/results ./results"), "{told}");
        ensure!(read(dir.path())?.complete, "the result is not complete");
        return Ok(());
    }
    bail!("nothing was received in 20 attempts")
}

/// Where the name of this host stands for an address that others reach, roles listen there; elsewhere
/// the trial fails with the reason.
fn own_address() -> Result<()> {
    let name = rustix::system::uname().nodename().to_string_lossy().into_owned();
    let mut found = (name.as_str(), 0_u16).to_socket_addrs().into_iter().flatten();
    let reached = found.any(|address| !address.ip().is_loopback() && !address.ip().is_unspecified());
    let dir = tempfile::tempdir()?;
    let ran = bench(&[&SHORT[..], &["--listen", "host"]].concat(), dir.path())?;
    if reached {
        ran.expect(0)?;
        return all_came(dir.path(), 0);
    }
    ran.expect(1)?;
    let one = trials_of(dir.path())?.pop().context("no trial")?;
    let why = one["failed"].as_str().context("it has not failed")?;
    ensure!(why.contains(&name) && why.contains("give an IP address"), "{why}");
    Ok(())
}
