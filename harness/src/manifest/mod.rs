//! A benchmark as objects of Kubernetes: an indexed Job whose first pod runs `lab bench`, and whose
//! other pods each serve the roles of one kind; a headless Service, which gives the pods names; and a
//! ConfigMap with the plan, where that is a file. [`objects`] knows no cluster.

mod yaml;

use anyhow::{Result, ensure};
use serde_json::{Value, json};
pub(crate) use yaml::documents;

use crate::roles::protocol::{HOST, Kind};
use crate::supervisor::remote::TOKEN;
use crate::units;

/// The port at which pods serve agents.
pub(crate) const PORT: u16 = 7000;
/// The environment variables with the pod's own address and name.
pub(crate) const POD_IP: &str = "POD_IP";
pub(crate) const POD_NAME: &str = "POD_NAME";
/// The folder with the result in the first pod.
pub(crate) const RESULTS: &str = "/results";
/// How long the result is kept after the run, unless it is said.
pub(crate) const KEEP: &str = "15min";
/// The folder of the pods with the files of the Secret `NAME-broker`.
pub(crate) const SECRET: &str = "/secret/";

/// Where the plan's file is.
const PLAN: &str = "/plan";
const PLAN_FILE: &str = "plan.toml";
/// The longest that a Job may take, seconds: a day, to which the time is added for which the result is
/// kept.
const DEADLINE: u64 = 24 * 3600;
/// The longest that a result may be kept, seconds.
const LONGEST_KEEP: f64 = 86_400.0;
/// The longest name of a Job: a pod's host name is that, a dash and two digits, in 63 characters.
const LONGEST_NAME: usize = 60;
/// Whom the pods are: the image has no such user, and needs none.
const USER: u32 = 10_001;

/// The benchmark that the objects run.
#[derive(Debug)]
pub(crate) struct Benchmark<'a> {
    /// The Job's name, and the Service's.
    pub(crate) name: &'a str,
    /// The image with `lab` on its path.
    pub(crate) image: &'a str,
    /// The name of a built-in plan.
    pub(crate) plan: &'a str,
    /// The text of the plan's file, where it is none of these.
    pub(crate) file: Option<&'a str>,
    /// The labs that the command line named.
    pub(crate) labs: &'a [String],
    /// The kinds of their roles: the first is in the pod of index 1.
    pub(crate) kinds: &'a [Kind],
    /// `BROKER=URL`.
    pub(crate) urls: &'a [String],
    /// How long the result is kept, seconds.
    pub(crate) keep_s: f64,
}

/// How long a result is kept, seconds.
///
/// # Errors
/// When it is no time of at most a day; it is named.
pub(crate) fn keep(text: &str) -> Result<f64> {
    let keep = units::seconds(text)?;
    ensure!((0.0..=LONGEST_KEEP).contains(&keep), "`{text}` is out of range; give a time of at most 24h");
    Ok(keep)
}

/// The name of the Job for a plan: `lab-quick`.
pub(crate) fn name_for(plan: &str) -> String {
    let plain = |c: char| if c.is_ascii_alphanumeric() { c.to_ascii_lowercase() } else { '-' };
    let name: String = format!("lab-{plan}").chars().map(plain).take(LONGEST_NAME).collect();
    name.trim_end_matches('-').to_owned()
}

/// Refuses what cannot be the name of a Job, a Service and a host.
///
/// # Errors
/// When it is none; it is named.
pub(crate) fn check_name(name: &str) -> Result<()> {
    let plain = |c: char| c.is_ascii_lowercase() || c.is_ascii_digit() || c == '-';
    ensure!(
        (1..=LONGEST_NAME).contains(&name.len())
            && name.chars().all(plain)
            && name.starts_with(|c: char| c.is_ascii_lowercase())
            && !name.ends_with('-'),
        "`{name}` cannot be the name of a Job and its Service; use up to {LONGEST_NAME} lower-case letters, \
         digits and `-`, with a letter first"
    );
    Ok(())
}

/// The objects as one of the kind `List`.
pub(crate) fn list(objects: Vec<Value>) -> Value {
    json!({"apiVersion": "v1", "kind": "List", "items": objects})
}

/// The objects, in the order in which they are needed.
pub(crate) fn objects(benchmark: &Benchmark<'_>) -> Vec<Value> {
    let mut all = Vec::new();
    if let Some(file) = benchmark.file {
        all.push(json!({
            "apiVersion": "v1",
            "kind": "ConfigMap",
            "metadata": metadata(benchmark, &format!("{}-plan", benchmark.name)),
            "data": {PLAN_FILE: file},
        }));
    }
    all.push(service(benchmark));
    all.push(job(benchmark));
    all
}

fn metadata(benchmark: &Benchmark<'_>, name: &str) -> Value {
    json!({
        "name": name,
        "labels": {
            "app.kubernetes.io/name": "messaging-lab",
            "app.kubernetes.io/instance": benchmark.name,
        },
    })
}

/// The pods of the Job: its controller labels them so.
fn pods(benchmark: &Benchmark<'_>) -> Value {
    json!({"batch.kubernetes.io/job-name": benchmark.name})
}

/// Headless: each pod gets a name, and no address stands for them all.
fn service(benchmark: &Benchmark<'_>) -> Value {
    json!({
        "apiVersion": "v1",
        "kind": "Service",
        "metadata": metadata(benchmark, benchmark.name),
        "spec": {
            "clusterIP": "None",
            "publishNotReadyAddresses": true,
            "selector": pods(benchmark),
            "ports": [{"name": "agent", "port": PORT}],
        },
    })
}

fn job(benchmark: &Benchmark<'_>) -> Value {
    let count = 1 + benchmark.kinds.len();
    json!({
        "apiVersion": "batch/v1",
        "kind": "Job",
        "metadata": metadata(benchmark, benchmark.name),
        "spec": {
            "completionMode": "Indexed",
            "completions": count,
            "parallelism": count,
            "backoffLimit": 0,
            // The others serve until they are ended.
            "successPolicy": {"rules": [{"succeededIndexes": "0"}]},
            "activeDeadlineSeconds": DEADLINE + benchmark.keep_s.ceil() as u64,
            "template": {
                "metadata": {"labels": metadata(benchmark, benchmark.name)["labels"]},
                "spec": pod(benchmark),
            },
        },
    })
}

fn pod(benchmark: &Benchmark<'_>) -> Value {
    let mut mounts = vec![
        json!({"name": "results", "mountPath": RESULTS}),
        json!({"name": "tmp", "mountPath": "/tmp"}),
        // The accounts of the roles.
        json!({"name": "shm", "mountPath": "/dev/shm"}),
    ];
    let mut volumes = vec![
        json!({"name": "results", "emptyDir": {}}),
        json!({"name": "tmp", "emptyDir": {}}),
        json!({"name": "shm", "emptyDir": {"medium": "Memory"}}),
    ];
    if benchmark.file.is_some() {
        mounts.push(json!({"name": "plan", "mountPath": PLAN, "readOnly": true}));
        volumes.push(json!({"name": "plan", "configMap": {"name": format!("{}-plan", benchmark.name)}}));
    }
    if benchmark.urls.iter().any(|url| url.contains(&format!("=@{SECRET}"))) {
        let path = SECRET.trim_end_matches('/');
        mounts.push(json!({"name": "broker", "mountPath": path, "readOnly": true}));
        volumes
            .push(json!({"name": "broker", "secret": {"secretName": format!("{}-broker", benchmark.name)}}));
    }
    json!({
        "restartPolicy": "Never",
        // With it, pods have the names NAME-INDEX.NAME.
        "subdomain": benchmark.name,
        "automountServiceAccountToken": false,
        "enableServiceLinks": false,
        "securityContext": {
            "runAsNonRoot": true,
            "runAsUser": USER,
            "fsGroup": USER,
            "seccompProfile": {"type": "RuntimeDefault"},
        },
        "affinity": {"podAntiAffinity": apart(benchmark)},
        "containers": [container(benchmark, &mounts)],
        "volumes": volumes,
    })
}

/// One pod for each node, where there are as many.
fn apart(benchmark: &Benchmark<'_>) -> Value {
    let others = json!({
        "topologyKey": "kubernetes.io/hostname",
        "labelSelector": {"matchLabels": pods(benchmark)},
    });
    json!({"preferredDuringSchedulingIgnoredDuringExecution": [{"weight": 100, "podAffinityTerm": others}]})
}

fn container(benchmark: &Benchmark<'_>, mounts: &[Value]) -> Value {
    let token = json!({"name": format!("{}-token", benchmark.name), "key": "token"});
    let field = |path: &str| json!({"fieldRef": {"fieldPath": path}});
    json!({
        "name": "lab",
        "image": benchmark.image,
        "command": command(benchmark),
        "env": [
            {"name": TOKEN, "valueFrom": {"secretKeyRef": token}},
            {"name": POD_IP, "valueFrom": field("status.podIP")},
            {"name": POD_NAME, "valueFrom": field("metadata.name")},
            // The rest of the file system is read-only.
            {"name": "HOME", "value": "/tmp"},
        ],
        "ports": [{"name": "agent", "containerPort": PORT}],
        "resources": {"requests": {"cpu": "1", "memory": "512Mi"}},
        "securityContext": {
            "allowPrivilegeEscalation": false,
            "capabilities": {"drop": ["ALL"]},
            "readOnlyRootFilesystem": true,
        },
        "volumeMounts": mounts,
    })
}

/// The same for every pod: its index says what it does with it.
fn command(benchmark: &Benchmark<'_>) -> Vec<String> {
    let name = benchmark.name;
    let addresses: Vec<(Kind, String)> = (1..)
        .zip(benchmark.kinds)
        .map(|(index, kind): (usize, &Kind)| (*kind, format!("{name}-{index}.{name}:{PORT}")))
        .collect();
    let mut words = vec!["lab".to_owned(), "pod".to_owned()];
    option(&mut words, "keep", format!("{}s", benchmark.keep_s));
    for (_, address) in &addresses {
        option(&mut words, "wait", address.clone());
    }
    words.extend(["--".to_owned(), "bench".to_owned()]);
    words.extend_from_slice(benchmark.labs);
    let plan =
        if benchmark.file.is_some() { format!("{PLAN}/{PLAN_FILE}") } else { benchmark.plan.to_owned() };
    option(&mut words, "plan", plan);
    for (kind, address) in &addresses {
        option(&mut words, "launch", format!("{kind}=lab agent --dial {address}"));
    }
    option(&mut words, "launch-program", "lab".to_owned());
    option(&mut words, "listen", HOST.to_owned());
    for url in benchmark.urls {
        option(&mut words, "url", url.clone());
    }
    option(&mut words, "out", format!("{RESULTS}/{name}"));
    words
}

fn option(words: &mut Vec<String>, name: &str, value: String) {
    words.extend([format!("--{name}"), value]);
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_name_is_one_of_a_host() {
        for (plan, expected) in [
            ("quick", "lab-quick"),
            ("My plan.v2", "lab-my-plan-v2"),
            ("-", "lab"),
            ("größe", "lab-gr--e"),
            (&*"x".repeat(90), &*format!("lab-{}", "x".repeat(56))),
        ] {
            assert_eq!(name_for(plan), expected);
            check_name(expected).expect("a name");
        }
        for bad in ["", "1st", "-a", "a-", "A", "a.b", "a_b", "x".repeat(61).as_str()] {
            let error = check_name(bad).expect_err("refused").to_string();
            assert!(error.contains(&format!("`{bad}`")), "{error}");
        }
    }

    #[test]
    fn a_result_is_kept_for_a_day_at_most() {
        for (text, expected) in [("0", 0.0), (KEEP, 900.0), ("24h", 86_400.0)] {
            assert_eq!(keep(text).expect("a time"), expected);
        }
        for bad in ["25h", "-1", "soon"] {
            assert!(keep(bad).expect_err("refused").to_string().contains(bad));
        }
    }
}
