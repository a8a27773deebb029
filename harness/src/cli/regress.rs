//! `lab regress`: head against base, with a verdict.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::process::ExitCode;

use anyhow::{Context as _, Result, bail, ensure};
use clap::Args;
use indicatif::{ProgressBar, ProgressStyle};

use crate::command::{BrokerArgs, human, interruptible, live_terminal, or_unread, usage};
use crate::compare::regress::outcome::{Outcome, Verdict};
use crate::compare::regress::record::{Plan, Program, Record, SCHEMA};
use crate::compare::regress::rounds::{self, Progress};
use crate::compare::regress::verdict;
use crate::compare::regress::{LABS, QUICK, RATE, build, rate, report};
use crate::measure::noise::Meter;
use crate::measure::schedule;
use crate::process::guard;
use crate::results::{Host, Skipped};
use crate::roles::{self, Handle};
use crate::{hint, plan, units};

#[derive(Debug, Args)]
pub(super) struct RegressArgs {
    /// Names, globs (quoted: 'pubsub-*') or patterns (pubsub); default: seven labs of all patterns
    labs: Vec<String>,
    /// What to compare with: a commit of this repository, which is built first, or a built `lab`
    #[arg(long, value_name = "REF|BINARY", required_unless_present = "resume")]
    base: Option<String>,
    /// What to judge; default: the working tree with uncommitted changes
    #[arg(long, value_name = "REF|BINARY")]
    head: Option<String>,
    /// Rounds; each measures every lab for base, for head, and for base again [default: 15]
    #[arg(long, value_name = "N", value_parser = units::count)]
    rounds: Option<usize>,
    /// Measured time of each trial, in seconds [default: 0.6]
    #[arg(long, value_name = "S", value_parser = units::seconds)]
    seconds: Option<f64>,
    /// Warm-up before the measured time, in seconds
    #[arg(long, value_name = "S", default_value_t = 0.2, value_parser = units::seconds)]
    warmup: f64,
    /// Fixed load in messages per second; default: about a tenth of what each lab can do
    #[arg(long, value_name = "RATE")]
    load: Option<String>,
    /// Message size in bytes, the 32-byte header included
    #[arg(long, value_name = "BYTES", default_value_t = 64, value_parser = units::bytes)]
    size: u64,
    /// Smallest slowdown that counts, as in `3%`
    #[arg(long, value_name = "PERCENT", default_value = "3%")]
    min_effect: String,
    /// Measure the peak rate every N rounds (informational; 0 disables)
    #[arg(long, value_name = "N", default_value_t = 2, value_parser = units::count)]
    peak_every: usize,
    /// Set a knob on both sides
    #[arg(long = "set", value_name = "KNOB=VALUE")]
    set: Vec<String>,
    /// Set a knob for head only: with the same program on both sides, this shows what the knob costs
    #[arg(long, value_name = "KNOB=VALUE")]
    head_set: Vec<String>,
    /// Try it out: two labs without a broker, shorter trials, no peak rate
    #[arg(long)]
    quick: bool,
    /// Seed of the random order; it is recorded
    #[arg(long, value_name = "N", value_parser = units::whole)]
    seed: Option<u64>,
    /// Name of this machine in the results, where its own name changes, as in containers
    #[arg(long, value_name = "NAME")]
    host: Option<String>,
    /// Continue the interrupted comparison in --out
    #[arg(long, requires = "out")]
    resume: bool,
    /// Folder to write to; default: a new folder below results/regress/
    #[arg(long, value_name = "DIR")]
    out: Option<PathBuf>,
    /// Print `regress.json`
    #[arg(long)]
    json: bool,
    /// Print GitHub annotations (automatic when GITHUB_ACTIONS=true)
    #[arg(long)]
    annotate: bool,
    #[command(flatten)]
    brokers: BrokerArgs,
}

pub(super) fn main(args: &RegressArgs, handles: &[Handle]) -> Result<ExitCode> {
    let choices = args.brokers.choices()?;
    let earlier = match (&args.out, args.resume) {
        (Some(out), true) => Some(Record::read(out)?),
        _ => None,
    };
    let plan = match &earlier {
        Some(record) => record.plan.clone(),
        None => usage(read(args))?,
    };
    let wanted = usage(plan::select(handles, &plan.labs))?;
    let (base, head) = match &earlier {
        // A resumed comparison uses the same two files.
        Some(record) => (same(&record.base)?, same(&record.head)?),
        None => {
            let base = args.base.as_deref().unwrap_or_default();
            let base = usage(build::find(base))?;
            (base, usage(args.head.as_deref().map_or_else(build::working_tree, build::find))?)
        }
    };
    let host = usage(super::bench::host_named(args.host.as_deref()))?;
    let out = match &args.out {
        Some(out) => out.clone(),
        None => new_folder(&host)?,
    };
    ensure!(
        earlier.is_some() || std::fs::read_dir(&out).map_or(true, |mut entries| entries.next().is_none()),
        "{} exists and is not empty; choose another --out, or continue it with --resume",
        out.display()
    );
    guard::enter()?;
    let (base, head) = (build::program(&base)?, build::program(&head)?);
    let strict = std::env::var("CI").is_ok_and(|ci| ci == "true");
    let (setup, skipped) = rounds::set_up(&wanted, &base, &head, &choices, strict)?;
    for skip in &skipped {
        errln!("skipped {}: {}", skip.lab, skip.reason);
    }
    let mut record = match earlier {
        Some(record) => {
            ensure!(
                record.base.sha256 == base.sha256 && record.head.sha256 == head.sha256,
                "the programs have changed since {} was started; start a new comparison",
                out.display()
            );
            ensure!(
                record.plan.labs == setup.labs(),
                "other labs can run here now than when this comparison was started; start a new one"
            );
            record
        }
        None => {
            let labs = setup.labs();
            let asked = usage(asked_rate(args))?;
            let rates = labs.iter().map(|lab| (lab.clone(), asked.unwrap_or_else(|| rate(lab)))).collect();
            begin(Plan { labs, rates, ..plan }, host, (base, head), skipped)
        }
    };
    if record.base.sha256 == record.head.sha256 && record.plan.head_knobs.is_empty() {
        errln!(
            "base and head are the same program: this shows how often chance alone is reported as a \
             regression"
        );
    }
    crate::results::private::create(&out)?;
    let runtime = roles::runtime(0)?;
    let mut live = live(record.plan.rounds);
    let work = rounds::run(&mut record, &setup, &out, &mut live);
    let done = runtime.block_on(interruptible(work));
    runtime.shutdown_background();
    let Some(done) = done else {
        errln!(
            "\ninterrupted; finished rounds are kept. Continue with:\n  {}",
            hint::command(&["regress", "--resume", "--out", &out.display().to_string()])
        );
        return Ok(ExitCode::from(130));
    };
    done?;
    let verdict = verdict::evaluate(&record, record.plan.min_effect);
    record.verdict = Some(verdict.clone());
    report::save(&record, &verdict, &out)?;
    or_unread(tell(args, &record, &verdict, &out))?;
    Ok(ExitCode::from(verdict.outcome.exit_code()))
}

fn begin(plan: Plan, host: Host, (base, head): (Program, Program), skipped: Vec<Skipped>) -> Record {
    Record {
        schema: SCHEMA,
        created: jiff::Zoned::now().strftime("%Y-%m-%dT%H:%M:%S%:z").to_string(),
        host,
        noise: Meter::before(),
        plan,
        base,
        head,
        brokers: BTreeMap::new(),
        skipped,
        rounds: Vec::new(),
        took_s: 0.0,
        verdict: None,
    }
}

/// The program of an interrupted comparison.
fn same(program: &Program) -> Result<build::Wanted> {
    let path = PathBuf::from(&program.binary);
    ensure!(
        path.is_file(),
        "{} was removed since this comparison was started; start a new one",
        program.binary
    );
    Ok(build::Wanted::Binary(path))
}

/// The load that is the same for all labs, where one was asked for.
fn asked_rate(args: &RegressArgs) -> Result<Option<f64>> {
    let Some(text) = &args.load else { return Ok(None) };
    let rate = units::rate(text).with_context(|| {
        format!("`{text}` is not a fixed load; give messages a second, as in `--load 2000` or `--load 2k`")
    })?;
    schedule::check_rate(rate).map(Some)
}

/// The plan, but for the loads: which labs take part is not known yet.
fn read(args: &RegressArgs) -> Result<Plan> {
    let text = args.min_effect.trim_end_matches('%').trim();
    let min_effect: f64 = text.parse().with_context(|| {
        format!("`{}` is not an effect in percent, as in `--min-effect 3%`", args.min_effect)
    })?;
    ensure!(
        min_effect.is_finite() && (0.1..=100.0).contains(&min_effect),
        "a minimum effect of {min_effect} % is out of range; give 0.1% to 100%"
    );
    let rounds = args.rounds.unwrap_or(15);
    ensure!((1..=200).contains(&rounds), "{rounds} rounds are out of range; give 1 to 200");
    let rate = asked_rate(args)?;
    let seconds = args.seconds.unwrap_or(if args.quick { 0.4 } else { 0.6 });
    let as_bench = crate::results::Plan {
        sizes: vec![args.size],
        loads: vec![crate::results::Load::rate(rate.unwrap_or(RATE), crate::results::Arrivals::Constant)],
        seconds,
        warmup_s: args.warmup,
        ..plan::load("quick")?
    };
    plan::check(&as_bench)?;
    let few = rate.filter(|rate| rate * seconds < 20.0);
    if let Some(rate) = few {
        bail!(
            "{rate} messages a second for {seconds} s are too few: a median needs 20 messages; give a higher \
             --load or more --seconds"
        );
    }
    // Both programs get plain numbers: an older one may know no units.
    let knobs =
        |settings: &[String]| -> Result<Vec<String>> { settings.iter().map(|set| plain(set)).collect() };
    let (knobs, head_knobs) = (knobs(&args.set)?, knobs(&args.head_set)?);
    let default: Vec<String> = match args.quick {
        true => QUICK.iter().map(ToString::to_string).collect(),
        false => LABS.iter().map(|(lab, _)| (*lab).to_owned()).collect(),
    };
    Ok(Plan {
        labs: if args.labs.is_empty() { default } else { args.labs.clone() },
        rounds,
        rates: BTreeMap::new(),
        size: args.size,
        warmup_s: args.warmup,
        seconds,
        peak_every: if args.quick { 0 } else { args.peak_every },
        min_effect: min_effect / 100.0,
        knobs,
        head_knobs,
        seed: args.seed.unwrap_or_else(super::bench::fresh_seed),
    })
}

/// `KNOB=VALUE` without a unit.
fn plain(setting: &str) -> Result<String> {
    let plain = setting
        .split_once('=')
        .and_then(|(name, value)| Some(format!("{name}={}", units::knob(name, value).ok()?)));
    plain
        .with_context(|| format!("`{setting}` is not KNOB=VALUE with a whole number, as in `--set batch=64`"))
}

/// `results/regress/DATE-HOST`, or the next that is free.
fn new_folder(host: &Host) -> Result<PathBuf> {
    let host = crate::runner::default_out("regress", host)?;
    let name = host.file_name().context("a folder has a name")?.to_string_lossy().into_owned();
    (1..1000)
        .map(|number| {
            Path::new("results/regress").join(if number == 1 {
                name.clone()
            } else {
                format!("{name}-{number}")
            })
        })
        .find(|dir| !dir.exists())
        .context("results/regress/ already has 999 comparisons of today; give a folder with --out")
}

/// A live line on a terminal, a plain one a round elsewhere.
fn live(rounds: usize) -> impl FnMut(&Progress<'_>) {
    let terminal = live_terminal();
    let bar = ProgressBar::new(0);
    if let Ok(style) = ProgressStyle::with_template("{bar:24} {pos}/{len}  {wide_msg}") {
        bar.set_style(style);
    }
    move |progress| {
        let (made, total) = progress.made;
        let left = if made == 0 { String::new() } else { format!("  about {} left", human(progress.left_s)) };
        let round = progress.round + 1;
        if terminal {
            bar.set_length(total as u64);
            bar.set_position(made as u64);
            bar.set_message(format!("round {round} of {rounds}: {}{left}", progress.lab));
            if made == total {
                bar.finish_and_clear();
            }
        } else if progress.lab.is_empty() {
            errln!("round {round} of {rounds} done{left}");
        }
    }
}

fn tell(args: &RegressArgs, record: &Record, verdict: &Verdict, out: &Path) -> Result<()> {
    let summary = std::env::var_os("GITHUB_STEP_SUMMARY");
    if let Some(path) = summary.filter(|path| !path.is_empty()) {
        use std::io::Write as _;
        let file = std::fs::OpenOptions::new().append(true).create(true).open(&path);
        file.and_then(|mut file| file.write_all(report::markdown(record, verdict).as_bytes()))
            .with_context(|| format!("cannot write the summary {}", Path::new(&path).display()))?;
    }
    if args.annotate || std::env::var("GITHUB_ACTIONS").is_ok_and(|actions| actions == "true") {
        // On stderr as on stdout GitHub finds them, and stdout may be JSON.
        for line in report::annotations(verdict) {
            errln!("{line}");
        }
    }
    if args.json {
        outln!("{}", serde_json::to_string_pretty(record)?)?;
    } else {
        let mut table = comfy_table::Table::new();
        table.load_style(comfy_table::TableStyle::new());
        table.set_header(["LAB", "MEASURE", "BASE", "HEAD", "HEAD / BASE", "BASE / BASE", "OUTCOME"]);
        for line in report::lines(verdict) {
            table.add_row(line);
        }
        outln!("{}", table.trim_fmt())?;
        outln!("\n{}: {}", verdict.outcome.as_str(), verdict.why)?;
    }
    errln!("\nThe report: {}", out.join("README.md").display());
    if verdict.outcome == Outcome::CannotTell {
        errln!(
            "This is not a pass: head could not be judged. The report says what is missing for each gate."
        );
    }
    Ok(())
}
