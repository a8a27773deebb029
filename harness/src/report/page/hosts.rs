//! Where the roles ran, in result sets in which some were started on other hosts.

use std::collections::{BTreeMap, BTreeSet};

use serde::Serialize;

use super::super::number;
use super::fact::Fact;
use crate::results::{BenchmarkCase, ECHO, LoadKind, RoleHost, Run};

/// The roles of each pattern, in the order in which a message reaches them.
const ROLES: [(&str, &[&str]); 6] = [
    ("oneway", &["sender", "receiver"]),
    ("reqrep", &["requester", "responder"]),
    ("pubsub", &["publisher", "subscriber"]),
    ("pipeline", &["ventilator", "worker", "sink"]),
    ("queue", &["producer", "consumer"]),
    ("durable", &["publisher", "subscriber"]),
];

/// Which role ran where, and what is known of each host.
#[derive(Serialize)]
pub(super) struct Hosts {
    paths: Vec<Path>,
    /// What the hosts are: CPU, clock, noise.
    hosts: Vec<Fact>,
    /// A round trip on one clock.
    echo: Option<String>,
}

/// The way of a message.
#[derive(Serialize)]
struct Path {
    labs: String,
    stops: Vec<Stop>,
}

/// Roles of one kind, or a broker, and its host.
#[derive(Serialize, PartialEq)]
struct Stop {
    who: String,
    host: String,
    /// Not on the host that measured.
    away: bool,
}

/// `None` where all roles ran on one host.
pub(super) fn hosts(run: &Run) -> Option<Hosts> {
    let mut paths: Vec<Path> = Vec::new();
    for cell in run.cells.iter().filter(|cell| !cell.is_floor()) {
        let Some(stops) = stops(run, cell) else { continue };
        match paths.iter_mut().find(|path| path.stops == stops) {
            Some(path) if path.labs.split(", ").any(|lab| lab == cell.lab) => {}
            Some(path) => path.labs += &format!(", {}", cell.lab),
            None => paths.push(Path { labs: cell.lab.clone(), stops }),
        }
    }
    (!paths.is_empty()).then(|| Hosts { paths, hosts: facts(run), echo: echo(run) })
}

fn stops(run: &Run, cell: &BenchmarkCase) -> Option<Vec<Stop>> {
    let roles = ROLES.into_iter().find(|(pattern, _)| *pattern == cell.pattern)?.1;
    if !roles.iter().any(|role| run.plan.launch.contains_key(*role)) {
        return None;
    }
    let stop = |role: &&str| {
        let own = |host: &&RoleHost| host.role.rsplit_once('-').is_some_and(|(name, _)| name == *role);
        let all = cell.trials.iter().flat_map(|trial| &trial.hosts);
        let hosts: BTreeSet<&str> = all.filter(own).map(|host| host.host.as_str()).collect();
        let prefix = run.plan.launch.get(*role);
        let host = match prefix {
            None => run.host.name.clone(),
            // It never came so far that its host was known.
            Some(prefix) if hosts.is_empty() => format!("`{prefix}`"),
            Some(_) => hosts.into_iter().collect::<Vec<_>>().join(", "),
        };
        Stop { who: (*role).to_owned(), host, away: prefix.is_some() }
    };
    let mut stops: Vec<Stop> = roles.iter().map(stop).collect();
    if let Some(broker) = &cell.broker {
        // One that was given by its address is wherever that leads; a private one is here.
        let address = run.sources.get(broker).filter(|source| source.contains("://"));
        let host = address.unwrap_or(&run.host.name).clone();
        stops.insert(1, Stop { who: broker.clone(), host, away: address.is_some() });
    }
    Some(stops)
}

/// The hosts on which roles ran that were started elsewhere: who, on what machine, how well its clock
/// is known, and how quiet it was.
fn facts(run: &Run) -> Vec<Fact> {
    let mut hosts: BTreeMap<(&str, &str, usize), Vec<&RoleHost>> = BTreeMap::new();
    for of in run.cells.iter().flat_map(|cell| &cell.trials).flat_map(|trial| &trial.hosts) {
        hosts.entry((&of.host, &of.cpu, of.cores)).or_default().push(of);
    }
    let fact = |((host, cpu, cores), all): ((&str, &str, usize), Vec<&RoleHost>)| {
        let roles: BTreeSet<&str> = all.iter().map(|of| of.role.as_str()).collect();
        let bound = all.iter().map(|of| of.clock_bound_ns).max().unwrap_or_default();
        let late = all.iter().map(|of| of.noise.oversleep_p99_ns).max().unwrap_or_default();
        let steal = all.iter().map(|of| of.noise.steal).fold(0.0, f64::max);
        Fact::new(
            format!("Roles on {host}"),
            format!(
                "{}; {cores} × {cpu}; its clock is known within {}; an idle thread overslept by up to {} (p99 of \
                 the worst trial), {} of CPU time was stolen",
                roles.into_iter().collect::<Vec<_>>().join(", "),
                number::time(bound as f64),
                number::time(late as f64),
                number::share(steal)
            ),
        )
    };
    hosts.into_iter().map(fact).collect()
}

/// How long a message of a plain TCP socket takes there and back, by one clock.
fn echo(run: &Run) -> Option<String> {
    let cell = run
        .cells
        .iter()
        .filter(|cell| cell.lab == ECHO && cell.load.kind == LoadKind::Rate)
        .find(|cell| cell.trials.iter().any(|trial| !trial.hosts.is_empty()))?;
    let times = &cell.summary.as_ref()?.response_ns;
    let time = |ns: Option<u64>| ns.map_or("withheld".to_owned(), |ns| number::time(ns as f64));
    Some(format!(
        "There and back over a plain TCP socket between these hosts, {} of {} bytes, by one clock: p50 {}, p99 {}. \
         Half of it is about what one way takes.",
        number::load(&cell.load),
        cell.size,
        time(times.p50),
        time(times.p99)
    ))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::report::tests::build;
    use crate::results::{Load, Trial};

    fn cell(lab: &str, away: &[(&str, &str)]) -> BenchmarkCase {
        let mut cell = build::measured(lab, Load::max(), 1_000.0);
        let host = |(role, host): &(&str, &str)| RoleHost {
            role: (*role).to_owned(),
            host: (*host).to_owned(),
            ..RoleHost::default()
        };
        cell.trials = vec![Trial { hosts: away.iter().map(host).collect(), ..Trial::default() }];
        cell
    }

    fn drawn(launched: &[&str], cells: Vec<BenchmarkCase>) -> Option<Vec<String>> {
        let mut run = build::run();
        run.host.name = "here".to_owned();
        run.sources = [("redis".to_owned(), "redis://b:6379".to_owned())].into();
        run.plan.launch = launched.iter().map(|role| ((*role).to_owned(), "ssh b".to_owned())).collect();
        run.cells = cells;
        let line = |path: &Path| {
            let stop =
                |stop: &Stop| format!("{}@{}{}", stop.who, stop.host, if stop.away { "!" } else { "" });
            format!("{}: {}", path.labs, path.stops.iter().map(stop).collect::<Vec<_>>().join(" > "))
        };
        hosts(&run).map(|hosts| hosts.paths.iter().map(line).collect())
    }

    #[test]
    fn a_role_is_drawn_at_its_host_and_a_broker_between() {
        assert_eq!(drawn(&[], vec![cell("oneway-tcp", &[])]), None, "all on one host");
        let mut queue = cell("queue-redis", &[("consumer-0", "b"), ("consumer-1", "c")]);
        queue.broker = Some("redis".to_owned());
        let mut private = cell("queue-nats", &[("consumer-0", "b")]);
        private.broker = Some("nats".to_owned());
        let cells = vec![
            cell("oneway-tcp", &[("receiver-0", "b")]),
            cell("oneway-http", &[("receiver-0", "b")]),
            queue,
            private,
            // It crashed before its host was known.
            cell("oneway-zeromq", &[]),
            cell("reqrep-tcp", &[]),
        ];
        assert_eq!(
            drawn(&["receiver", "consumer"], cells).expect("drawn"),
            [
                "oneway-tcp, oneway-http: sender@here > receiver@b!",
                "queue-redis: producer@here > redis@redis://b:6379! > consumer@b, c!",
                "queue-nats: producer@here > nats@here > consumer@b!",
                "oneway-zeromq: sender@here > receiver@`ssh b`!",
            ]
        );
    }
}
