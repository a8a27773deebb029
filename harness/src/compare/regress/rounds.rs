//! The rounds: base, head and base again, one lab after the other, each with a `lab
//! bench` of its own program.
//!
//! The comparison covers what users run: a whole program with its own harness, on the
//! command line that both understand. The broker is not compared. So each round starts a
//! new broker, which all three share; differences between two starts of a broker then do
//! not count.

use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;
use std::process::Stdio;
use std::time::Instant;

use anyhow::{Context as _, Result, bail, ensure};
use labs::lab::{Broker, Guarantee};
use rand::rngs::SmallRng;
use rand::seq::SliceRandom as _;
use rand::{Rng as _, SeedableRng as _};

use super::measures::Measure;
use super::record::{Arm, Plan, Program, Record, Round, Sample, write};
use crate::broker::{self, Choices, Options, Server, Source};
use crate::measure::cost::Usage;
use crate::process::{self, guard};
use crate::results::{LoadKind, ResultSet, Run, Skipped, Trial};
use crate::roles::Handle;

/// Options that a program must know to be measured.
const FLAGS: [&str; 8] =
    ["--load", "--trials", "--seconds", "--warmup", "--size", "--seed", "--out", "--url"];

/// Where the labs that can be compared run.
pub struct Setup {
    /// Of each lab: its broker, and whether that has to be durable.
    labs: BTreeMap<String, Option<(Broker, bool)>>,
    sources: BTreeMap<Broker, Source>,
    /// What base and head know.
    knows: [Knows; 2],
}

/// What not every program knows.
#[derive(Debug, Clone, Copy, Default)]
struct Knows {
    /// `--no-floor`. Baselines are not compared.
    baselines: bool,
    /// `--url BROKER=@FILE`: no password in its arguments.
    files: bool,
}

/// How far it is.
pub struct Progress<'a> {
    /// The round, from 0.
    pub round: usize,
    /// The lab to measure next; empty at the end of a round.
    pub lab: &'a str,
    /// Measurements made, and to be made in all.
    pub made: (usize, usize),
    /// The estimated number of seconds left.
    pub left_s: f64,
}

/// Finds out which labs both programs have and this machine can run. Those that
/// cannot be compared are taken out, with the reason; when `strict`, a missing
/// broker is an error.
///
/// # Errors
/// When a program cannot be measured at all, or no lab is left.
pub fn set_up(
    wanted: &[Handle],
    base: &Program,
    head: &Program,
    choices: &Choices,
    strict: bool,
) -> Result<(Setup, Vec<Skipped>)> {
    let mut known = Vec::new();
    let mut knows = [Knows::default(); 2];
    for ((program, role), knows) in [(base, "base"), (head, "head")].into_iter().zip(&mut knows) {
        let (labs, knowledge) =
            probe(program).with_context(|| format!("{role} ({}) cannot be measured", program.asked))?;
        known.push((role, labs));
        *knows = knowledge;
    }
    let mut setup = Setup { labs: BTreeMap::new(), sources: BTreeMap::new(), knows };
    let mut skipped = Vec::new();
    for entry in wanted.iter().map(|handle| &handle.entry) {
        let mut reason = known
            .iter()
            .find(|(_, labs)| !labs.contains(&entry.name))
            .map(|(role, _)| format!("{role} does not have it"));
        if let (None, Some(broker)) = (&reason, entry.broker) {
            match broker::find(broker, choices) {
                Ok(source) => {
                    reason = source.why_not(broker, entry.guarantee, entry.transport);
                    if let Source::Url(address) = &source
                        && address.is_secret()
                        && !knows.iter().all(|knows| knows.files)
                    {
                        reason = Some(format!(
                            "one of the programs would show the login of {address} in its arguments"
                        ));
                    }
                    setup.sources.insert(broker, source);
                }
                Err(why) => reason = Some(why.to_string()),
            }
            if let (Some(reason), true) = (&reason, strict) {
                bail!("{} cannot run: {reason}", entry.name);
            }
        }
        match reason {
            Some(reason) => skipped.push(Skipped { lab: entry.name.clone(), reason }),
            None => {
                let durable = entry.guarantee == Guarantee::Durable && entry.broker == Some(Broker::Redis);
                setup.labs.insert(entry.name.clone(), entry.broker.map(|broker| (broker, durable)));
            }
        }
    }
    if setup.labs.is_empty() {
        let reason = skipped.first().map_or("none was requested", |skip| skip.reason.as_str());
        bail!("none of these labs can be compared here: {reason}");
    }
    Ok((setup, skipped))
}

impl Setup {
    /// The labs that are compared.
    pub fn labs(&self) -> Vec<String> {
        self.labs.keys().cloned().collect()
    }
}

/// The labs of a program, and what it knows.
fn probe(program: &Program) -> Result<(BTreeSet<String>, Knows)> {
    let said = |args: &[&str]| -> Result<String> {
        let mut command = std::process::Command::new(&program.binary);
        command.args(args).env("COLUMNS", "200").env_remove("LAB_GUARD").stdin(Stdio::null());
        let output = command.output().with_context(|| format!("cannot run {}", program.binary))?;
        let line = args.join(" ");
        let complaints = String::from_utf8_lossy(&output.stderr);
        ensure!(output.status.success(), "`lab {line}` fails in it: {}", complaints.trim());
        Ok(String::from_utf8_lossy(&output.stdout).into_owned())
    };
    let help = said(&["bench", "--help"])?;
    let missing: Vec<&str> = FLAGS.into_iter().filter(|flag| !help.contains(flag)).collect();
    ensure!(
        missing.is_empty(),
        "its command `bench` does not know the option {}; choose a later commit",
        missing.join(", ")
    );
    let rows: Vec<serde_json::Value> = serde_json::from_str(&said(&["list", "--json"])?)
        .context("the JSON output of its command `list` cannot be read; choose a later commit")?;
    let names = rows.iter().filter_map(|row| Some(row.get("name")?.as_str()?.to_owned())).collect();
    Ok((names, Knows { baselines: help.contains("--no-floor"), files: help.contains("@FILE") }))
}

/// Makes the rounds that are still missing. After each, the record is on disk.
///
/// # Errors
/// When a program cannot be measured, or the record not be written. A trial that
/// fails is a sample like others.
pub async fn run(
    record: &mut Record,
    setup: &Setup,
    out: &Path,
    mut tell: impl FnMut(&Progress<'_>),
) -> Result<()> {
    let (began, before) = (Instant::now(), record.took_s);
    let first = record.rounds.len();
    let total = (record.plan.rounds - first.min(record.plan.rounds)) * setup.labs.len() * Arm::ALL.len();
    let mut made = 0;
    for index in first..record.plan.rounds {
        // Of its own for each round: one that is resumed draws the same lots.
        let mut lots = SmallRng::seed_from_u64(record.plan.seed.wrapping_add(index as u64));
        let mut round = Round { index, samples: Vec::new() };
        for (broker, labs) in blocks(setup, &mut lots) {
            let mut server = match broker {
                Some((broker, durable)) => {
                    let options = Options { durable, dir: &guard::session_dir(), settings: &[] };
                    Some(Server::start(broker, &setup.sources[&broker], &options).await?)
                }
                None => None,
            };
            if let Some(server) = &server {
                record.brokers.insert(server.broker().to_string(), server.version().to_owned());
            }
            for lab in labs {
                let seed = lots.random();
                let mut arms = Arm::ALL;
                arms.shuffle(&mut lots);
                for arm in arms {
                    let spent = began.elapsed().as_secs_f64();
                    let left_s = spent / f64::from(u32::try_from(made.max(1))?) * (total - made) as f64;
                    tell(&Progress { round: index, lab, made: (made, total), left_s });
                    let child = Child { lab, arm, seed, index, setup, server: server.as_ref() };
                    round.samples.push(child.measure(record).await?);
                    made += 1;
                }
            }
            if let Some(server) = server.take() {
                server.stop().await?;
            }
        }
        record.rounds.push(round);
        record.took_s = before + began.elapsed().as_secs_f64();
        write(out, "regress.json", &serde_json::to_string(record)?)?;
        let left_s = began.elapsed().as_secs_f64() / made as f64 * (total - made) as f64;
        tell(&Progress { round: index, lab: "", made: (made, total), left_s });
    }
    Ok(())
}

/// A broker, whether it has to be durable, and the labs that share it.
type Block<'a> = (Option<(Broker, bool)>, Vec<&'a str>);

/// The labs that share a broker, in an order drawn by lot.
fn blocks<'a>(setup: &'a Setup, lots: &mut SmallRng) -> Vec<Block<'a>> {
    let mut by_broker: BTreeMap<Option<(Broker, bool)>, Vec<&str>> = BTreeMap::new();
    for (lab, broker) in &setup.labs {
        by_broker.entry(*broker).or_default().push(lab);
    }
    let mut blocks: Vec<_> = by_broker.into_iter().collect();
    for (_, labs) in &mut blocks {
        labs.shuffle(lots);
    }
    blocks.shuffle(lots);
    blocks
}

/// One `lab bench` of one lab.
struct Child<'a> {
    lab: &'a str,
    arm: Arm,
    seed: u64,
    index: usize,
    setup: &'a Setup,
    server: Option<&'a Server>,
}

impl Child<'_> {
    async fn measure(&self, record: &mut Record) -> Result<Sample> {
        let peak = record.plan.peak_every > 0 && self.index.is_multiple_of(record.plan.peak_every);
        let (program, side) = match self.arm {
            Arm::Head => (&mut record.head, "head"),
            Arm::Base | Arm::Again => (&mut record.base, "base"),
        };
        let dir = tempfile::tempdir_in(guard::session_dir()).context("cannot make a temporary folder")?;
        let out = dir.path().join("result_set");
        let broker_used = || {
            let pids = self.server.and_then(Server::pids)?;
            Some(Usage::of_tree(&pids).cpu_ns)
        };
        let before = broker_used();
        let output = self.command(&record.plan, program, &out, peak)?.output().await;
        let output = output.with_context(|| format!("cannot run {}", program.binary))?;
        let after = broker_used();
        let said = String::from_utf8_lossy(&output.stderr);
        if !out.join("run.json").exists() {
            bail!(
                "{side} ({}) cannot be measured with {}; it ended with {} and printed:\n{}",
                program.asked,
                self.lab,
                output.status,
                said.trim()
            );
        }
        let (_, run) = ResultSet::open(&out)
            .with_context(|| format!("{side} ({}) printed unknown results", program.asked))?;
        (program.git, program.rustc) = (run.versions.git.clone(), run.versions.rustc.clone());
        let mut sample = sample(self.lab, self.arm, &run);
        if let (Some(before), Some(after), false, None) = (before, after, peak, &sample.failed) {
            let received: u64 =
                trials(&run, LoadKind::Rate).map(|trial| trial.counts.received).fold(0, u64::saturating_add);
            let used = after.saturating_sub(before) as f64 / received.max(1) as f64;
            sample.measures.insert(Measure::BrokerCpu, used);
        }
        Ok(sample)
    }

    fn command(
        &self,
        plan: &Plan,
        program: &Program,
        out: &Path,
        peak: bool,
    ) -> Result<tokio::process::Command> {
        let knows = self.setup.knows[usize::from(self.arm == Arm::Head)];
        let mut command = std::process::Command::new(&program.binary);
        command.args(["bench", self.lab, "--trials", "1"]);
        let rate = plan.rates.get(self.lab).copied().unwrap_or(super::RATE);
        command.arg("--load").arg(rate.to_string());
        if peak {
            command.args(["--load", "max"]);
        }
        command.arg("--seconds").arg(plan.seconds.to_string());
        command.arg("--warmup").arg(plan.warmup_s.to_string());
        command.arg("--size").arg(plan.size.to_string());
        command.arg("--seed").arg(self.seed.to_string());
        command.arg("--out").arg(out);
        if knows.baselines {
            command.arg("--no-floor");
        }
        let own = if self.arm == Arm::Head { plan.head_knobs.as_slice() } else { &[] };
        for knob in plan.knobs.iter().chain(own) {
            command.arg("--set").arg(knob);
        }
        if let Some(server) = self.server {
            // An older program gets the password of a private broker in its arguments: it reads no file.
            let address = match knows.files {
                true => broker::for_another_terminal(server.address())?,
                false => server.address().reveal().to_owned(),
            };
            command.arg("--url").arg(format!("{}={address}", server.broker()));
        }
        // What it leaves is in our folder, should it be killed.
        command.env("TMPDIR", guard::session_dir()).env_remove("LAB_GUARD").env_remove("CI");
        command.stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::piped());
        process::die_with_parent(&mut command);
        // Ctrl-C is for us; the program is dropped then, and its roles with it.
        std::os::unix::process::CommandExt::process_group(&mut command, 0);
        let mut command = tokio::process::Command::from(command);
        command.kill_on_drop(true);
        Ok(command)
    }
}

fn trials(run: &Run, kind: LoadKind) -> impl Iterator<Item = &Trial> {
    run.cells
        .iter()
        .filter(move |cell| !cell.is_floor() && cell.load.kind == kind)
        .flat_map(|cell| &cell.trials)
}

/// The values of a result set with one lab.
fn sample(lab: &str, arm: Arm, run: &Run) -> Sample {
    let all = || trials(run, LoadKind::Rate).chain(trials(run, LoadKind::Max));
    let mut failed = all().find_map(|trial| trial.failed.clone());
    if trials(run, LoadKind::Rate).next().is_none() {
        let skipped = run.skipped.first().map(|skip| skip.reason.clone());
        failed = Some(skipped.unwrap_or_else(|| "no trial was run".to_owned()));
    }
    let mut measures = BTreeMap::new();
    let of_roles = |trial: &Trial, field: fn(&crate::results::Cost) -> Option<f64>| -> Option<f64> {
        trial.cost.iter().filter(|(role, _)| *role != "broker").map(|(_, cost)| field(cost)).sum()
    };
    if failed.is_none() {
        for trial in trials(run, LoadKind::Rate) {
            let response = &trial.response_ns;
            let found = [
                (Measure::P50, response.p50.map(|ns| ns as f64)),
                (Measure::P99, response.p99.map(|ns| ns as f64)),
                (Measure::Max, response.max.map(|ns| ns as f64)),
                (Measure::Cpu, of_roles(trial, |cost| Some(cost.cpu_ns_per_msg))),
                (Measure::Bytes, of_roles(trial, |cost| cost.bytes_per_msg)),
                (Measure::Allocations, of_roles(trial, |cost| cost.allocations_per_msg)),
                (Measure::Writes, of_roles(trial, |cost| cost.writes_per_msg)),
                (Measure::Switches, of_roles(trial, |cost| cost.switches_per_msg)),
            ];
            measures.extend(found.into_iter().filter_map(|(measure, value)| Some((measure, value?))));
        }
        for trial in trials(run, LoadKind::Max) {
            measures.insert(Measure::Peak, trial.throughput_per_s);
            measures
                .extend(of_roles(trial, |cost| Some(cost.cpu_ns_per_msg)).map(|cpu| (Measure::PeakCpu, cpu)));
        }
    }
    let defects =
        all().map(|trial| trial.counts.confirmed_lost + trial.counts.corrupt + trial.counts.misrouted).sum();
    Sample { lab: lab.to_owned(), arm, failed, measures, defects }
}
