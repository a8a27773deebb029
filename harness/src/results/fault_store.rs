//! `faults.json`: the runs under faults of a result folder. It is replaced as a whole after every
//! run, so that an interrupted command keeps what it has and goes on from there.

use std::collections::BTreeSet;
use std::io::Write as _;
use std::path::Path;

use anyhow::{Context as _, Result, bail, ensure};
use serde::Serialize;
use serde::de::DeserializeOwned;

use super::fault::{FAULT_SCHEMA, FaultInterval, FaultRun, FaultSet, Verdict};
use super::file::{MOST_RECORD, read_text, replace};
use super::machine::{Host, Versions};

/// The file of a result folder.
pub const FAULTS: &str = "faults.json";

impl FaultSet {
    /// Replaces `faults.json` in a folder, atomically. Each run has a line of its own: one that is made
    /// again changes one line.
    ///
    /// # Errors
    /// When it cannot be written; it is named.
    pub fn save(&self, dir: &Path) -> Result<()> {
        let text = set_text(self.schema, &self.host, &self.versions, &self.runs)?;
        write_file(dir, FAULTS, &text)
    }

    /// Reads `faults.json` of a folder.
    ///
    /// # Errors
    /// When it is missing, too large, damaged, or of a newer schema; it is named.
    pub fn open(dir: &Path) -> Result<Self> {
        let path = dir.join(FAULTS);
        let text = read_text(&path, MOST_RECORD)
            .with_context(|| format!("{} has no runs under faults", dir.display()))?;
        read(&text, &path)
    }
}

impl From<[u64; 3]> for FaultInterval {
    fn from([sent, confirmed, received]: [u64; 3]) -> Self {
        Self { sent, confirmed, received }
    }
}

impl From<FaultInterval> for [u64; 3] {
    fn from(interval: FaultInterval) -> Self {
        [interval.sent, interval.confirmed, interval.received]
    }
}

impl FaultRun {
    /// Keeps at most `most` messages of the event record: those that were due nearest to the begin of
    /// the first fault. A broken promise keeps all its evidence.
    pub fn keep_nearest(&mut self, most: usize) {
        if self.verdict == Verdict::Broke || self.messages.len() <= most {
            return;
        }
        let began = self.faults.first().map_or(0, |fault| fault.began_ns);
        self.messages.sort_by_key(|message| message.due.abs_diff(began));
        self.messages.truncate(most);
        self.messages.sort_by_key(|message| (message.due, message.producer, message.sequence));
    }
}

/// Replaces a file of a result folder atomically, such as what is drawn from `faults.json`.
///
/// # Errors
/// When it cannot be written; it is named.
pub fn write_file(dir: &Path, name: &str, content: &str) -> Result<()> {
    replace(&dir.join(name), "", |file| Ok(file.write_all(content.as_bytes())?))
}

/// A set of runs as text. Each run has a line of its own: one that is made again changes one line.
pub(super) fn set_text(
    schema: u32,
    host: &Host,
    versions: &Versions,
    runs: &[impl Serialize],
) -> Result<String> {
    let lines = runs.iter().map(serde_json::to_string).collect::<Result<Vec<_>, _>>()?;
    let (host, versions) = (serde_json::to_string(host)?, serde_json::to_string(versions)?);
    Ok(format!(
        "{{\n\"schema\":{schema},\n\"host\":{host},\n\"versions\":{versions},\n\"runs\":[\n{}\n]\n}}\n",
        lines.join(",\n")
    ))
}

/// The set in the text of the file at `path`, of a schema up to `newest`.
pub(super) fn set_of<T: DeserializeOwned>(text: &str, path: &Path, newest: u32) -> Result<T> {
    // The schema is looked at first: another version may not parse as this one.
    let value: serde_json::Value = serde_json::from_str(text)
        .with_context(|| format!("{} is damaged: it is not valid JSON", path.display()))?;
    match value.get("schema").and_then(serde_json::Value::as_u64) {
        Some(found) if (1..=u64::from(newest)).contains(&found) => {}
        Some(found) => bail!(
            "{} has schema {found}, and this program reads schemas up to {newest}; use the version of `lab` \
             that wrote it",
            path.display()
        ),
        None => bail!("{} has no `schema` field: it is not a result of this program", path.display()),
    }
    serde_json::from_value(value)
        .with_context(|| format!("{} does not follow schema {newest} of its kind", path.display()))
}

/// The set in the text of a file; `path` is for messages.
fn read(text: &str, path: &Path) -> Result<FaultSet> {
    let mut set: FaultSet = set_of(text, path, FAULT_SCHEMA)?;
    let mut known = BTreeSet::new();
    for run in &set.runs {
        let id = run.id();
        ensure!(known.insert(id.clone()), "{} has the run {id} twice", path.display());
    }
    // What is written again is written in today's format.
    set.schema = FAULT_SCHEMA;
    Ok(set)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::results::json::pretty;
    use crate::results::{
        EventKind, FaultEvent, FaultRun, Injected, MessageFate, Received, Verdict, Witness,
    };

    fn run(lab: &str, seed: u64) -> FaultRun {
        let message = MessageFate {
            producer: 1,
            sequence: 2,
            due: 3,
            sent: Some(4),
            confirmed: Some(5),
            receipts: vec![Received { receiver: 1, at: 6, marked: true, acked: None }],
            ..MessageFate::default()
        };
        FaultRun {
            lab: lab.to_owned(),
            faults: vec![Injected { fault: "link-cut".to_owned(), ..Injected::default() }],
            seed,
            verdict: Verdict::Broke,
            witness: Some(Witness { message: message.clone(), ..Witness::default() }),
            messages: vec![message],
            events: vec![FaultEvent { what: EventKind::Noticed, ..FaultEvent::default() }],
            ..FaultRun::default()
        }
    }

    #[test]
    fn a_set_is_read_as_it_was_written_and_goes_on() {
        let dir = tempfile::tempdir().expect("a folder");
        let mut set = FaultSet { schema: FAULT_SCHEMA, ..FaultSet::default() };
        set.put(run("queue-redis", 1));
        set.save(dir.path()).expect("written");
        let mut again = FaultSet::open(dir.path()).expect("read");
        assert_eq!(again, set);
        assert!(again.find("queue-redis", "link-cut", 1).is_some());
        assert!(again.find("queue-redis", "link-cut", 2).is_none());
        again.put(run("queue-redis", 2));
        // The same run again takes the place of the old one.
        again.put(FaultRun { verdict: Verdict::Kept, ..run("queue-redis", 1) });
        assert_eq!((again.runs.len(), again.runs[0].verdict), (2, Verdict::Kept));
        again.save(dir.path()).expect("written over");
        assert_eq!(FaultSet::open(dir.path()).expect("read"), again);
        let text = std::fs::read_to_string(dir.path().join(FAULTS)).expect("the file");
        assert_eq!(text.lines().filter(|line| line.contains("\"lab\":\"queue-redis\"")).count(), 2, "{text}");
        let files = std::fs::read_dir(dir.path()).expect("the folder").count();
        assert_eq!(files, 1, "nothing unfinished stays");
    }

    #[test]
    fn what_is_unknown_is_tolerated_and_what_is_damaged_is_named() {
        let path = Path::new("a/faults.json");
        let set = FaultSet { schema: FAULT_SCHEMA, runs: vec![run("x", 1)], ..FaultSet::default() };
        let text = pretty(&set).expect("JSON");
        let newer = text.replacen("\"lab\"", "\"later\": [1], \"lab\"", 1).replace("noticed", "teleported");
        assert_eq!(read(&newer, path).expect("read").runs[0].events[0].what, EventKind::Other);
        let twice = FaultSet { runs: vec![run("x", 1), run("x", 1)], ..set };
        for (text, words) in [
            ("{", "not valid JSON"),
            ("{}", "schema"),
            ("{\"schema\": 99}", "schema 99"),
            ("{\"schema\": 1, \"runs\": 3}", "does not follow"),
            (&pretty(&twice).expect("JSON"), "x.link-cut.1 twice"),
        ] {
            let error = format!("{:#}", read(text, path).expect_err(words));
            assert!(error.contains(words) && error.contains("a/faults.json"), "{error}");
        }
        let nowhere = format!("{:#}", FaultSet::open(Path::new("/nowhere")).expect_err("missing"));
        assert!(nowhere.contains("/nowhere"), "{nowhere}");
    }
}
