//! The options of `lab crack`, and the plan they make.

use std::collections::BTreeMap;
use std::time::Duration;

use anyhow::{Result, anyhow, bail};
use clap::Args;
use labs::apps::crack::Job;
use labs::apps::crack::words::{Alphabet, Hash, LONGEST};
use labs::catalog::Entry;

use super::transport::Over;
use crate::broker::{self, Choices, Source};
use crate::command::{BrokerArgs, Given, Usage, usage};
use crate::{plan, units};

/// Tasks a worker holds at once. A small number shares tasks evenly, and little is done again
/// when a worker dies.
const PREFETCH: usize = 8;
/// Tasks that are handed out per worker: those it holds, and the same number waiting.
pub(super) const EACH: usize = 2 * PREFETCH;
/// The minimum of that in total, so that workers that join later find tasks.
pub(super) const WINDOW: usize = 64;
/// Maximum number of workers to start.
pub(super) const MOST_WORKERS: usize = 64;

/// The options of a search, of a worker that joins, and of a comparison.
#[derive(Debug, Args)]
pub(crate) struct CrackArgs {
    /// The hash, as `printf WORD | sha1sum` prints it
    #[arg(value_name = "SHA1", required_unless_present_any = ["join", "compare"])]
    pub(super) sha1: Option<String>,
    /// The letters of the word, as in `a-z0-9`
    #[arg(long, default_value = "a-z")]
    pub(super) alphabet: String,
    /// Length of the longest word to try
    #[arg(long, value_name = "N", default_value_t = 5)]
    pub(super) max_length: u32,
    /// Which pipeline: zeromq, rabbitmq, redis-stream or any other transport that `lab list 'pipeline*'` shows
    #[arg(long, value_name = "TRANSPORT", default_value = "zeromq")]
    pub(super) over: String,
    /// Worker processes to start; default: one per CPU
    #[arg(long, value_name = "N", value_parser = units::count)]
    pub(super) workers: Option<usize>,
    /// Words per task
    #[arg(long, value_name = "WORDS", default_value_t = 100_000, value_parser = units::whole)]
    pub(super) batch: u64,
    /// Turn a knob of the lab, as in `--set prefetch=1`
    #[arg(long = "set", value_name = "KNOB=VALUE")]
    pub(super) set: Vec<String>,
    /// How long to wait for a worker when none is left, in seconds
    #[arg(long, value_name = "S", default_value_t = 30.0, value_parser = units::seconds)]
    pub(super) patience: f64,
    /// Print one JSON object per line
    #[arg(long)]
    pub(super) json: bool,
    #[command(flatten)]
    pub(super) brokers: BrokerArgs,
    /// Try every word without a match in a plain loop, with one worker and with all workers; show the speed-up
    #[arg(long, conflicts_with_all = ["sha1", "join"])]
    pub(super) compare: bool,
    /// With --compare: measure the speed and the transport's cost for each of these task sizes
    #[arg(long, value_name = "WORDS,…", value_delimiter = ',', requires = "compare", value_parser = units::whole)]
    pub(super) batches: Vec<u64>,
    /// With --compare: measurements of each
    #[arg(long, value_name = "N", default_value_t = 3, requires = "compare", value_parser = units::count)]
    pub(super) rounds: usize,
    /// Join a running search as a worker; the search prints this command
    #[arg(long, value_name = "TRANSPORT", requires = "at", conflicts_with = "sha1")]
    pub(super) join: Option<String>,
    /// With --join: where the search is: the broker's URL, @FILE with that URL, or NAME=ADDRESS,…
    #[arg(long, value_name = "ADDRESS", requires = "join")]
    pub(super) at: Option<Given>,
    /// With --join: name of the search
    #[arg(long, value_name = "NAME", requires = "join", default_value = "lab-crack")]
    pub(super) place: String,
    /// With --join: name of this worker
    #[arg(long, value_name = "NAME", requires = "join")]
    pub(super) name: Option<String>,
}

/// The checked options of a search or a comparison.
pub(super) struct Plan {
    pub(super) over: Over,
    pub(super) job: Job,
    pub(super) longest: u32,
    pub(super) workers: usize,
    pub(super) patience: Duration,
    pub(super) knobs: BTreeMap<String, usize>,
    pub(super) choices: Choices,
    pub(super) json: bool,
}

impl Plan {
    pub(super) fn of(args: &CrackArgs) -> Result<Self> {
        let over = Over::find(&args.over)?;
        // No word is empty, so in a comparison no word has the hash.
        let hash = args.sha1.as_ref().map_or(Ok(Hash::of("")), |text| usage(text.parse::<Hash>()))?;
        let alphabet: Alphabet = usage(args.alphabet.parse())?;
        let longest = args.max_length;
        if !(1..=LONGEST).contains(&longest) {
            bail!(Usage(format!(
                "words of {longest} letters are not possible; --max-length takes 1 to {LONGEST}"
            )));
        }
        let Some(words) = alphabet.words(longest) else {
            bail!(Usage(format!(
                "there are more words of up to {longest} letters over [{alphabet}] than 64 bits can count; \
                 use a smaller --max-length or a smaller --alphabet"
            )));
        };
        let workers =
            args.workers.unwrap_or_else(|| std::thread::available_parallelism().map_or(1, usize::from));
        if !(1..=MOST_WORKERS).contains(&workers) {
            bail!(Usage(format!("{workers} workers are not possible; --workers takes 1 to {MOST_WORKERS}")));
        }
        if let Some(batch) = args.batches.iter().chain([&args.batch]).find(|batch| **batch == 0) {
            bail!(Usage(format!("a task of {batch} words is not possible; a batch is at least 1")));
        }
        if !(1..=100).contains(&args.rounds) {
            bail!(Usage(format!("{} rounds are not possible; --rounds takes 1 to 100", args.rounds)));
        }
        let patience = usage(Duration::try_from_secs_f64(args.patience).map_err(|error| {
            anyhow!(
                "a patience of {} s is not possible ({error}); give seconds, as in `--patience 30`",
                args.patience
            )
        }))?;
        let window = WINDOW.max(EACH * workers);
        let job = Job { hash, alphabet, words, batch: args.batch, window, workers };
        let (knobs, choices) = (knobs(&args.set, &over.entry)?, args.brokers.choices()?);
        Ok(Self { over, job, longest, workers, patience, knobs, choices, json: args.json })
    }

    /// The source of the broker, if the lab needs one.
    pub(super) fn source(&self) -> Result<Option<Source>> {
        let entry = &self.over.entry;
        let Some(which) = entry.broker else { return Ok(None) };
        let source = broker::find(which, &self.choices)?;
        match source.why_not(which, entry.guarantee, entry.transport) {
            Some(why) => bail!("{} cannot run: {why}", entry.name),
            None => Ok(Some(source)),
        }
    }
}

/// The knobs that the user sets, and this application's defaults for others.
pub(super) fn knobs(set: &[String], lab: &Entry) -> Result<BTreeMap<String, usize>> {
    let mut knobs: BTreeMap<String, usize> =
        ["prefetch", "credit"].map(|knob| (knob.to_owned(), PREFETCH)).into();
    for setting in set {
        let parsed =
            setting.split_once('=').and_then(|(name, value)| Some((name, units::knob(name, value).ok()?)));
        let Some((name, value)) = parsed else {
            bail!(Usage(format!(
                "`{setting}` is not KNOB=VALUE with a whole number, as in `--set prefetch=1`"
            )));
        };
        usage(plan::check_knobs([name], &plan::knobs_of_labs([lab]), Some(lab)))?;
        knobs.insert(name.to_owned(), value);
    }
    Ok(knobs)
}
