//! What the harness adds to each message, on each side: the target is at most
//! 80 ns a side for messages of 64 bytes. It is the code of the measured loops
//! itself that runs here, none of it copied.
//!
//! Run it with `cargo bench -p harness --bench hot_path`.

use std::alloc::{GlobalAlloc, Layout, System};
use std::hint::black_box;
use std::path::Path;
use std::time::{Duration, Instant};

use bytes::Bytes;
use criterion::{Criterion, Throughput, criterion_group, criterion_main};
use harness::measure::account::{self, Bitmap, Set};
use harness::measure::clock;
use harness::measure::cost::Counting;
use harness::measure::header::{Header, MessageBuilder};
use harness::measure::recorder::{Full, Progress, ReceiverRecorder, SenderRecorder, Window};
use harness::stats;

const SIZE: usize = 64;
const RUN: u32 = 7;
/// Messages made beforehand for a receiver to take. They stay in the cache, as
/// those that have just come from a socket do.
const BATCH: u64 = 1024;

/// A window that has begun, and will not end.
fn window() -> Window {
    let now = clock::now();
    Window { start: now, from: now, to: u64::MAX }
}

fn sender_recorder(dir: &Path) -> SenderRecorder {
    SenderRecorder::open(dir, "sender-0", RUN, 0, SIZE, window()).expect("a ledger")
}

/// What a sender does before it hands a message to the lab.
fn sender(c: &mut Criterion) {
    let mut group = c.benchmark_group("sender");
    group.throughput(Throughput::Elements(1));
    let dir = account::new_dir().expect("a folder");
    let mut closed = sender_recorder(dir.path());
    closed.use_cached_clock();
    group.bench_function("closed loop: clock (1 in 16), stamp, account, lag", |b| {
        b.iter(|| {
            let now = closed.now();
            black_box(closed.next(now, now).expect("a message"))
        });
    });
    // Half a microsecond late, as a generator that has caught up is.
    let mut open = sender_recorder(dir.path());
    group.bench_function("open loop: clock, stamp, account, lag", |b| {
        b.iter(|| {
            let now = clock::now();
            black_box(open.next(black_box(now - 500), now).expect("a message"))
        });
    });
    // A queue's producer does both: it sends, and later hears that it is confirmed.
    for (name, is_closed) in [
        ("queue, closed loop: clock (1 in 16), stamp, account, lag; clock, account, confirm", true),
        ("queue, open loop: clock, stamp, account, lag; clock, account, confirm", false),
    ] {
        let mut queue = sender_recorder(dir.path());
        if is_closed {
            queue.use_cached_clock();
        }
        group.bench_function(name, |b| {
            b.iter(|| {
                let now = queue.now();
                let (sequence, message) = queue.next(now, now).expect("a message");
                black_box(message);
                queue.confirm(black_box(sequence), now, clock::now());
            });
        });
    }
    group.finish();
}

/// What a receiver does with a message the lab has given it: `every` is 1 in
/// order, 2 when another consumer gets the messages in between.
fn receive(dir: &Path, every: u64, progress: Progress, open_loop: bool, messages: u64) -> Duration {
    // A role of its own each time: a message is taken once.
    let run = tempfile::tempdir_in(dir).expect("a folder");
    let mut receipts =
        ReceiverRecorder::<Full>::open(run.path(), "receiver-0", RUN, 0..1, progress, open_loop, window())
            .expect("books");
    if !open_loop {
        receipts.use_cached_clock();
    }
    let mut builder = MessageBuilder::new(SIZE);
    let mut batch: Vec<Bytes> = Vec::new();
    let (mut spent, mut sequence) = (Duration::ZERO, 0);
    while sequence < messages {
        let now = clock::now();
        batch.clear();
        for _ in 0..BATCH.min(messages - sequence) {
            let scheduled = now - 20_000 + sequence % 1000;
            let header = Header { run: RUN, producer: 0, sequence: sequence * every, scheduled, lag: 300 };
            batch.push(builder.message(&header));
            sequence += 1;
        }
        let begin = Instant::now();
        for message in &batch {
            black_box(receipts.take(black_box(message), false));
        }
        spent += begin.elapsed();
    }
    spent
}

fn receiver(c: &mut Criterion) {
    let mut group = c.benchmark_group("receiver");
    group.throughput(Throughput::Elements(1));
    let dir = account::new_dir().expect("a folder");
    for (name, every, progress, open_loop) in [
        ("closed loop, in order: clock (1 in 16), check, account, record", 1, Progress::Highest, false),
        ("open loop, in order: clock, check, account, record", 1, Progress::Highest, true),
        ("closed loop, every second message", 2, Progress::Count, false),
        ("open loop, every second message", 2, Progress::Count, true),
    ] {
        group.bench_function(name, |b| {
            b.iter_custom(|messages| receive(dir.path(), every, progress, open_loop, messages));
        });
    }
    group.finish();
}

/// What the two sides are made of.
fn parts(c: &mut Criterion) {
    let mut group = c.benchmark_group("part");
    group.bench_function("clock", |b| b.iter(|| black_box(clock::now())));
    for size in [SIZE, 1024] {
        let header = Header { run: RUN, producer: 0, sequence: 12_345, scheduled: clock::now(), lag: 300 };
        let mut message = vec![1; size];
        group.bench_function(format!("stamp, write, {size} B"), |b| {
            b.iter(|| black_box(&header).write(black_box(&mut message)));
        });
        let mut builder = MessageBuilder::new(size);
        group.bench_function(format!("stamp, mint, {size} B"), |b| {
            b.iter(|| black_box(builder.message(black_box(&header))));
        });
        group.bench_function(format!("stamp, read, {size} B"), |b| {
            b.iter(|| black_box(Header::read(black_box(&message))));
        });
    }
    let dir = account::new_dir().expect("a folder");
    for every in [1, 2] {
        group.bench_function(format!("bitmap, insert, every {every}"), |b| {
            b.iter_custom(|messages| {
                // A new set each time: a message goes in once.
                let run = tempfile::tempdir_in(dir.path()).expect("a folder");
                let set = Bitmap::open(run.path(), "receiver-0", Set::Received, 0).expect("a set");
                let begin = Instant::now();
                for sequence in 0..messages {
                    black_box(set.insert(black_box(sequence * every)));
                }
                begin.elapsed()
            });
        });
    }
    let mut histogram = stats::new_histogram();
    let mut value = 0_u64;
    group.bench_function("histogram, record", |b| {
        b.iter(|| {
            // Latencies between 0 and 65 µs, none like the one before.
            value = (value + 7919) % 65_536;
            histogram.saturating_record(black_box(value));
        });
    });
    group.finish();
}

/// What counting adds to an allocation: the same memory taken and given back, by
/// the system's allocator and by the one that counts.
fn heap(c: &mut Criterion) {
    let mut group = c.benchmark_group("heap");
    let layout = Layout::new::<[u8; SIZE]>();
    #[expect(unsafe_code, reason = "allocators are unsafe to call; what is taken is given back at once")]
    fn pair(heap: &impl GlobalAlloc, layout: Layout) {
        // SAFETY: the layout is not empty, and the memory is given back once, with the same layout.
        unsafe {
            let memory = heap.alloc(layout);
            heap.dealloc(black_box(memory), layout);
        }
    }
    group.bench_function("system", |b| b.iter(|| pair(&System, black_box(layout))));
    group.bench_function("counted", |b| b.iter(|| pair(&Counting, black_box(layout))));
    group.finish();
}

criterion_group! {
    name = benches;
    config = Criterion::default().warm_up_time(Duration::from_millis(500)).measurement_time(Duration::from_secs(2)).without_plots();
    targets = sender, receiver, parts, heap
}
criterion_main!(benches);
