use bytes::Bytes;

use super::{MessageKind, Progress, ReceiverRecorder, SenderRecorder, Window};
use crate::measure::account::{self, Bitmap, Counter, Counters, Set};
use crate::measure::header::{Header, MARKER, MessageBuilder, PROBE};

const WINDOW: Window = Window { start: 0, from: 1_000, to: 1_000_000 };

struct Pair {
    dir: tempfile::TempDir,
    sends: SenderRecorder,
    receipts: ReceiverRecorder,
}

fn pair(progress: Progress) -> Pair {
    let dir = account::new_dir().expect("a folder");
    let sends = SenderRecorder::open(dir.path(), "sender-0", 9, 0, 64, WINDOW).expect("a ledger");
    let receipts =
        ReceiverRecorder::open(dir.path(), "receiver-0", 9, 0..1, progress, true, WINDOW).expect("books");
    Pair { dir, sends, receipts }
}

impl Pair {
    fn messages(&mut self, count: u64) -> Vec<Bytes> {
        (0..count)
            .map(|at| self.sends.next(2_000 + at * 100, 2_050 + at * 100).expect("a message").1)
            .collect()
    }
    fn count(&self, counter: Counter) -> u64 {
        Counters::open(self.dir.path(), "receiver-0").expect("counters").get(counter)
    }
}

#[test]
fn loss_duplicates_and_disorder_are_counted_exactly() {
    let mut pair = pair(Progress::Highest);
    let sent = pair.messages(10);
    // 3 and 7 are lost, 5 comes twice, 1 comes after 4, and one is damaged.
    for at in [0, 2, 4, 1, 5, 5, 6, 8, 9] {
        pair.receipts.take_at(&sent[at], at == 5, 10_000);
    }
    let mut damaged = sent[0].to_vec();
    damaged[40] ^= 1;
    assert_eq!(pair.receipts.take_at(&damaged, false, 10_000), MessageKind::Bad);
    assert_eq!(pair.count(Counter::Received), 8);
    assert_eq!(pair.count(Counter::Duplicated), 1);
    assert_eq!(pair.count(Counter::Redelivered), 2);
    assert_eq!(pair.count(Counter::Reordered), 1);
    assert_eq!(pair.count(Counter::ReorderDistance), 3);
    assert_eq!(pair.count(Counter::Corrupt), 1);
    assert_eq!(Counters::open(pair.dir.path(), "receiver-0").expect("counters").progress(0), 10);
    let received = Bitmap::open(pair.dir.path(), "receiver-0", Set::Received, 0).expect("a set");
    assert_eq!(account::fate(10, &[received], None, None).expect("a fate").lost, 2);
}

#[test]
fn latencies_count_from_the_due_time_and_within_the_window() {
    let mut pair = pair(Progress::Count);
    let (_, early) = pair.sends.next(500, 600).expect("a message");
    let (_, due) = pair.sends.next(2_000, 2_300).expect("a message");
    pair.receipts.take_at(&early, false, 900);
    pair.receipts.take_at(&due, false, 3_000);
    assert_eq!((pair.receipts.response.len(), pair.receipts.response.max()), (1, 1_000));
    assert_eq!((pair.receipts.service.len(), pair.receipts.service.max()), (1, 700));
    assert_eq!((pair.sends.lag.len(), pair.sends.lag.max()), (1, 300));
    assert_eq!(pair.receipts.measured, 1);
    assert_eq!(pair.receipts.series[0].received, 2);
}

#[test]
fn a_negative_latency_is_counted() {
    let mut pair = pair(Progress::Count);
    let (_, message) = pair.sends.next(5_000, 5_000).expect("a message");
    pair.receipts.take_at(&message, false, 4_999);
    assert_eq!(pair.count(Counter::Negative), 1);
}

#[test]
fn strangers_are_misrouted_and_markers_are_not_messages() {
    let mut pair = pair(Progress::Count);
    let stranger =
        MessageBuilder::new(64).message(&Header { run: 8, producer: 0, sequence: 0, scheduled: 1, lag: 0 });
    let nobody =
        MessageBuilder::new(64).message(&Header { run: 9, producer: 1, sequence: 0, scheduled: 1, lag: 0 });
    assert_eq!(pair.receipts.take_at(&stranger, false, 2_000), MessageKind::Bad);
    assert_eq!(pair.receipts.take_at(&nobody, false, 2_000), MessageKind::Bad);
    let (probe, marker) = (pair.sends.special(PROBE), pair.sends.special(MARKER));
    assert_eq!(pair.receipts.take_at(&probe, false, 2_000), MessageKind::Probe(0));
    assert_eq!(pair.receipts.take_at(&marker, false, 2_000), MessageKind::Marker);
    assert_eq!(pair.receipts.take_at(&marker, false, 2_000), MessageKind::Marker);
    assert_eq!((pair.count(Counter::Misrouted), pair.count(Counter::Received)), (2, 0));
    assert_eq!(pair.count(Counter::Markers), 1);
}
