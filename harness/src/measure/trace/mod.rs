//! A trial message by message: when each was due, sent and received. Percentiles
//! can be computed from it exactly, and anything else that somebody may want to
//! know and that a histogram has forgotten.
//!
//! As a file it is CSV, a line a receipt: what a spreadsheet, `pandas` or `awk`
//! reads. It has the messages of warm-up and drain, too.

use std::collections::BTreeSet;
use std::fmt::Write as _;
use std::io::Read as _;
use std::path::Path;

use anyhow::{Context as _, Result, ensure};
use flate2::read::GzDecoder;

use crate::measure::account::{Bitmap, Set};
use crate::results;

mod file;

pub use file::{MARKED, MOST_ENTRIES, Subject, TraceFile, key, of_key};

/// The most bytes of a recording that is decompressed: those of [`MOST_ENTRIES`] messages.
const MOST_BYTES: u64 = 512 << 20;
/// The first line of a recording.
const HEADER: &str = "receiver,producer,sequence,due_ns,sent_ns,received_ns";
/// How the line before it begins where a role had no room for everything.
const CUT: &str = "# cut: ";

/// One message as one receiver saw it, or as nobody did. Times are ns from the
/// common start.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub struct Record {
    /// Which receiver; `None` where receivers share the messages and none got this one.
    pub receiver: Option<u32>,
    /// The sender.
    pub producer: u32,
    /// 0, 1, 2 … for each sender.
    pub sequence: u64,
    /// When it was due; in a closed loop, when it was sent.
    pub due: u64,
    /// When it was handed to the lab.
    pub sent: u64,
    /// When it was received; `None`: never. A message that is received again has
    /// a further record.
    pub received: Option<u64>,
}

/// All records of a trial, by sender, sequence, receiver and time of receipt.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct MessageTrace {
    /// The records.
    pub records: Vec<Record>,
    /// Entries for which a role had no room. Above 0, a record without receipt
    /// says nothing: it may be among what had no room.
    pub cut: u64,
}

/// Where the journals of a trial are.
pub struct Sources<'a> {
    /// The folder of its accounts.
    pub accounts: &'a Path,
    /// The names of its senders, by number.
    pub senders: Vec<String>,
    /// The names of its receivers.
    pub receivers: Vec<String>,
    /// Each receiver is to get every message; otherwise they share them.
    pub copies: bool,
}

/// The name of a trial's recording among the raw data of its result set.
pub fn file(cell: &str, trial: usize) -> String {
    format!("{cell}.{trial}.messages.csv")
}

/// Puts the journals of all roles together. What was refused is left out: it
/// was never accepted.
///
/// # Errors
/// When a trace file is there and cannot be read.
pub fn gather(sources: &Sources<'_>) -> Result<MessageTrace> {
    let dir = sources.accounts;
    let mut recording = MessageTrace::default();
    let mut receipts = Vec::new();
    for (receiver, role) in (0..).zip(&sources.receivers) {
        let Some(trace_file) = TraceFile::existing(dir, role, Subject::Receipts)? else { continue };
        recording.cut += trace_file.cut();
        receipts.extend(trace_file.entries().map(|(key, at)| (of_key(key), receiver, at)));
    }
    receipts.sort_unstable();
    let mut receipts = receipts.into_iter().peekable();
    for (producer, role) in (0..).zip(&sources.senders) {
        let Some(trace_file) = TraceFile::existing(dir, role, Subject::Sends)? else { continue };
        recording.cut += trace_file.cut();
        let refused = Bitmap::existing(dir, role, Set::Refused, producer as usize)?;
        for (sequence, (due, sent)) in (0..).zip(trace_file.entries()) {
            let record = |receiver, received| Record { receiver, producer, sequence, due, sent, received };
            // What a sender had no room for has no times: its receipts are passed over.
            while receipts.next_if(|(message, ..)| *message < (producer, sequence)).is_some() {}
            let mut missing: BTreeSet<u32> =
                if sources.copies { (0..sources.receivers.len() as u32).collect() } else { BTreeSet::new() };
            let mut found = false;
            while let Some((_, receiver, at)) =
                receipts.next_if(|(message, ..)| *message == (producer, sequence))
            {
                missing.remove(&receiver);
                found = true;
                recording.records.push(record(Some(receiver), Some(at)));
            }
            if refused.as_ref().is_some_and(|refused| refused.contains(sequence)) {
                continue;
            }
            recording.records.extend(missing.into_iter().map(|receiver| record(Some(receiver), None)));
            if !sources.copies && !found {
                recording.records.push(record(None, None));
            }
        }
    }
    recording
        .records
        .sort_by_key(|record| (record.producer, record.sequence, record.receiver, record.received));
    Ok(recording)
}

impl MessageTrace {
    /// The recording as CSV; see [`MessageTrace::parse`].
    pub fn csv(&self) -> String {
        let mut text = String::new();
        if self.cut > 0 {
            let cut = self.cut;
            // Writing to a `String` cannot fail.
            let _ = writeln!(
                text,
                "{CUT}{cut} entries had no room; a message without received_ns may have been received"
            );
        }
        text.push_str(HEADER);
        text.push('\n');
        let number = |value: Option<u64>| value.map(|value| value.to_string()).unwrap_or_default();
        for record in &self.records {
            let Record { receiver, producer, sequence, due, sent, received } = record;
            let (receiver, received) = (number(receiver.map(u64::from)), number(*received));
            let _ = writeln!(text, "{receiver},{producer},{sequence},{due},{sent},{received}");
        }
        text
    }

    /// Reads what [`MessageTrace::csv`] wrote.
    ///
    /// # Errors
    /// When the text is not such a recording; the line is named.
    pub fn parse(text: &str) -> Result<Self> {
        let mut recording = Self::default();
        let mut lines = (1..).zip(text.lines()).peekable();
        if let Some((_, line)) = lines.next_if(|(_, line)| line.starts_with(CUT)) {
            let number = line[CUT.len()..].split(' ').next().unwrap_or_default();
            recording.cut = number.parse().with_context(|| format!("`{line}` does not say how many"))?;
        }
        let header = lines.next().map(|(_, line)| line);
        ensure!(header == Some(HEADER), "a recording of messages begins with the line `{HEADER}`");
        for (number, line) in lines {
            let record = read(line).with_context(|| format!("line {number} is no record: `{line}`"))?;
            recording.records.push(record);
        }
        Ok(recording)
    }

    /// Reads a file; one whose name ends with `.gz` is decompressed.
    ///
    /// # Errors
    /// When it cannot be read, or is no recording; file and line are named.
    pub fn read(path: &Path) -> Result<Self> {
        let cannot = || format!("cannot read {}", path.display());
        let text = if path.extension().is_some_and(|ending| ending == "gz") {
            let mut text = String::new();
            let file = std::fs::File::open(path).with_context(cannot)?;
            let read = GzDecoder::new(file).take(MOST_BYTES + 1).read_to_string(&mut text);
            let read = read.with_context(cannot)?;
            ensure!(read as u64 <= MOST_BYTES, "{} has more than {MOST_BYTES} bytes", path.display());
            text
        } else {
            results::read_text(path, MOST_BYTES).with_context(cannot)?
        };
        Self::parse(&text).with_context(|| format!("{}", path.display()))
    }
}

fn read(line: &str) -> Option<Record> {
    let fields: Vec<&str> = line.split(',').collect();
    let &[receiver, producer, sequence, due, sent, received] = fields.as_slice() else { return None };
    let optional = |text: &str| -> Option<Option<u64>> {
        if text.is_empty() { Some(None) } else { text.parse().ok().map(Some) }
    };
    let receiver = optional(receiver)?;
    Some(Record {
        receiver: receiver.map(u32::try_from).transpose().ok()?,
        producer: producer.parse().ok()?,
        sequence: sequence.parse().ok()?,
        due: due.parse().ok()?,
        sent: sent.parse().ok()?,
        received: optional(received)?,
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::measure::account;
    use proptest::prelude::*;

    fn trace_file(dir: &Path, role: &str, subject: Subject, pairs: &[(u64, u64)]) {
        let trace_file = TraceFile::open(dir, role, subject).expect("a journal");
        pairs.iter().for_each(|pair| trace_file.note(*pair));
    }

    fn names(role: &str, count: usize) -> Vec<String> {
        (0..count).map(|index| format!("{role}-{index}")).collect()
    }

    #[test]
    fn every_sent_message_is_in_it_once_for_each_receipt_or_as_lost() {
        let dir = account::new_dir().expect("a folder");
        let accounts = dir.path();
        trace_file(accounts, "s-0", Subject::Sends, &[(0, 1), (10, 11), (20, 21), (30, 31)]);
        trace_file(accounts, "s-1", Subject::Sends, &[(5, 6)]);
        // 0/1 twice, 0/2 never, 0/3 refused, in any order.
        trace_file(accounts, "r-0", Subject::Receipts, &[(key(1, 0), 9), (key(0, 1), 15), (key(0, 0), 16)]);
        trace_file(accounts, "r-1", Subject::Receipts, &[(key(0, 1), 14)]);
        Bitmap::open(accounts, "s-0", Set::Refused, 0).expect("a set").insert(3);
        let sources = |copies| Sources { accounts, senders: names("s", 2), receivers: names("r", 2), copies };
        let shared = gather(&sources(false)).expect("a recording");
        let expected = "receiver,producer,sequence,due_ns,sent_ns,received_ns\n\
                        0,0,0,0,1,16\n0,0,1,10,11,15\n1,0,1,10,11,14\n,0,2,20,21,\n0,1,0,5,6,9\n";
        assert_eq!((shared.csv().as_str(), shared.cut), (expected, 0));
        let copied = gather(&sources(true)).expect("a recording");
        let expected = "receiver,producer,sequence,due_ns,sent_ns,received_ns\n\
                        0,0,0,0,1,16\n1,0,0,0,1,\n0,0,1,10,11,15\n1,0,1,10,11,14\n\
                        0,0,2,20,21,\n1,0,2,20,21,\n0,1,0,5,6,9\n1,1,0,5,6,\n";
        assert_eq!(copied.csv(), expected);
    }

    #[test]
    fn a_compressed_file_is_read_like_a_plain_one() {
        let dir = account::new_dir().expect("a folder");
        let text = format!("{HEADER}\n0,0,0,10,20,30\n");
        let [plain, packed] = ["a.csv", "a.csv.gz"].map(|name| dir.path().join(name));
        std::fs::write(&plain, &text).expect("written");
        let file = std::fs::File::create(&packed).expect("a file");
        let mut encoder = flate2::write::GzEncoder::new(file, flate2::Compression::default());
        std::io::Write::write_all(&mut encoder, text.as_bytes()).expect("packed");
        encoder.finish().expect("packed");
        let trace = MessageTrace::read(&packed).expect("it reads");
        assert_eq!((trace.records.len(), &trace), (1, &MessageTrace::read(&plain).expect("it reads")));
        std::fs::write(&packed, "no gzip").expect("written");
        let error = format!("{:#}", MessageTrace::read(&packed).expect_err("damaged"));
        assert!(error.contains("a.csv.gz"), "{error}");
    }

    #[test]
    fn what_is_no_recording_is_refused_by_its_line() {
        for (bad, words) in [
            ("", "begins with"),
            ("a,b\n", "begins with"),
            ("receiver,producer,sequence,due_ns,sent_ns,received_ns\n0,0,0,0,1,2\n0,0,x,0,1,2\n", "line 3"),
            ("receiver,producer,sequence,due_ns,sent_ns,received_ns\n0,0,0\n", "`0,0,0`"),
        ] {
            let error = format!("{:#}", MessageTrace::parse(bad).expect_err("refused"));
            assert!(error.contains(words), "{error}");
        }
    }

    proptest! {
        #[test]
        fn what_is_written_is_read(
            numbers in prop::collection::vec(
                (any::<Option<u32>>(), any::<u32>(), any::<u64>(), any::<u64>(), any::<u64>(), any::<Option<u64>>()),
                0..20,
            ),
            cut: u64,
        ) {
            let records = numbers
                .into_iter()
                .map(|(receiver, producer, sequence, due, sent, received)| {
                    Record { receiver, producer, sequence, due, sent, received }
                })
                .collect();
            let recording = MessageTrace { records, cut };
            prop_assert_eq!(MessageTrace::parse(&recording.csv()).expect("it reads"), recording);
        }
    }

    #[test]
    fn fuzz_message_traces() {
        let seeds = [
            format!("{HEADER}\n0,0,0,10,20,30\n,1,2,3,4,\n"),
            format!("{CUT}7 entries had no room\n{HEADER}\n4294967295,0,18446744073709551615,1,2,3\n"),
        ];
        fuzz::Target::new("message_traces").seeds(seeds).run(|input| {
            let text = String::from_utf8_lossy(input);
            let Ok(trace) = MessageTrace::parse(&text) else { return false };
            assert_eq!(MessageTrace::parse(&trace.csv()).expect("a trace"), trace);
            true
        });
    }
}
