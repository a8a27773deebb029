use std::io::{IoSlice, Read as _, Write};
use std::net::{TcpListener, TcpStream, UdpSocket};
use std::os::unix::net::{UnixDatagram, UnixStream};

use super::*;

#[test]
fn work_is_seen_by_all_three() {
    let root = [std::process::id()];
    let tree = Usage::of_tree(&root);
    let [own, thread] = [false, true].map(|by_thread| Own::begin(by_thread).expect("/proc"));
    let start = clock(ClockId::ThreadCPUTime);
    while clock(ClockId::ThreadCPUTime) - start < 60_000_000 {
        std::hint::black_box(0);
    }
    std::thread::sleep(std::time::Duration::from_millis(1));
    let thread = thread.end().expect("/proc");
    // Threads of other tests end meanwhile and take their switches along, but this one's are there.
    assert!(thread.switches > 0, "{thread:?}");
    for (name, used) in
        [("self", own.end().expect("/proc")), ("thread", thread), ("tree", Usage::of_tree(&root) - tree)]
    {
        assert!(used.cpu_ns >= 30_000_000, "{name}: {used:?}");
        assert!(used.rss_bytes > 500_000, "{name}: {used:?}");
    }
}

/// Writes `count` times to something, and says what it was charged for.
fn charged(count: u64, mut write: impl FnMut()) -> Usage {
    let own = Own::begin(true).expect("/proc");
    for _ in 0..count {
        write();
    }
    own.end().expect("/proc")
}

/// A way to write, by its name.
type Way<'a> = (&'a str, Box<dyn FnMut() + 'a>);

/// Every way to hand bytes to the kernel is found exactly, call by call.
#[test]
fn writes_and_bytes_are_exact() {
    let listener = TcpListener::bind("127.0.0.1:0").expect("a port");
    let mut tcp = TcpStream::connect(listener.local_addr().expect("an address")).expect("a connection");
    let (mut unix, mut far) = UnixStream::pair().expect("a pair");
    let (datagram, _other) = UnixDatagram::pair().expect("a pair");
    let udp = UdpSocket::bind("127.0.0.1:0").expect("a port");
    let here = udp.local_addr().expect("an address");
    let (_reader, mut pipe) = std::io::pipe().expect("a pipe");
    let mut file = tempfile::tempfile().expect("a file");
    let halves = [IoSlice::new(&[1; 40]), IoSlice::new(&[2; 60])];
    let mut ways: [Way<'_>; 8] = [
        ("TCP", Box::new(|| tcp.write_all(&[0; 100]).expect("it is sent"))),
        ("Unix", Box::new(|| unix.write_all(&[0; 100]).expect("it is sent"))),
        ("pipe", Box::new(|| pipe.write_all(&[0; 100]).expect("it is written"))),
        ("file", Box::new(|| file.write_all(&[0; 100]).expect("it is written"))),
        ("UDP", Box::new(|| assert_eq!(udp.send_to(&[0; 100], here).expect("it is sent"), 100))),
        ("datagram", Box::new(|| assert_eq!(datagram.send(&[0; 100]).expect("it is sent"), 100))),
        ("writev", Box::new(|| assert_eq!(far.write_vectored(&halves).expect("it is sent"), 100))),
        ("nothing", Box::new(|| ())),
    ];
    for (name, write) in &mut ways {
        let used = charged(7, write);
        let expected = if *name == "nothing" { (Some(0), Some(0)) } else { (Some(7), Some(700)) };
        assert_eq!((used.writes, used.bytes), expected, "{name}: {used:?}");
    }
}

/// A send that would have to wait is a call that takes no bytes, as the kernel counts writes.
#[test]
fn a_full_socket_takes_no_bytes() {
    let (mut unix, mut far) = UnixStream::pair().expect("a pair");
    unix.set_nonblocking(true).expect("it is set");
    let (mut calls, mut bytes) = (0, 0);
    let used = charged(1, || {
        loop {
            calls += 1;
            match unix.write(&[0; 30_000]) {
                Ok(taken) => bytes += taken as u64,
                Err(error) => break assert_eq!(error.kind(), std::io::ErrorKind::WouldBlock),
            }
        }
    });
    assert_eq!((used.writes, used.bytes), (Some(calls), Some(bytes)));
    // Errors arrive as from the C library, and so do the bytes.
    drop(unix);
    let mut came = Vec::new();
    far.read_to_end(&mut came).expect("it ends");
    assert_eq!(came.len() as u64, bytes);
    assert_eq!(far.write(&[0]).expect_err("nobody is there").kind(), std::io::ErrorKind::BrokenPipe);
}

/// The process's sum has what other threads did, also after they have ended.
#[test]
fn other_threads_count_for_the_process_alone() {
    let [process, thread] = [false, true].map(|by_thread| Own::begin(by_thread).expect("/proc"));
    std::thread::scope(|scope| {
        scope.spawn(|| {
            let (mut unix, _far) = UnixStream::pair().expect("a pair");
            for byte in 0..100 {
                unix.write_all(&[byte]).expect("it is sent");
                std::hint::black_box(Box::new(byte));
            }
        });
    });
    let (thread, process) = (thread.end().expect("/proc"), process.end().expect("/proc"));
    assert_eq!(thread.writes, Some(0), "{thread:?}");
    // Tests that run beside this one add to it.
    assert!(process.writes >= Some(100) && process.bytes >= Some(100), "{process:?}");
    assert!(process.allocations >= Some(64), "{process:?}");
}

#[test]
fn allocations_are_exact() {
    let mut kept: Vec<Vec<u8>> = Vec::with_capacity(100);
    let used = charged(100, || kept.push(Vec::with_capacity(10)));
    assert_eq!(used.allocations, Some(100), "one for each vector");
    let used = charged(1, || kept.iter_mut().for_each(|vector| vector.reserve_exact(1_000)));
    assert_eq!(used.allocations, Some(100), "one for each that had to grow");
    let used = charged(1, || kept.clear());
    assert_eq!(used.allocations, Some(0), "giving back is none");
    let used = charged(1, || drop(std::hint::black_box(vec![0_u8; 100])));
    assert_eq!(used.allocations, Some(1), "zeroed memory is one");
}

#[test]
fn what_is_not_known_stays_unknown() {
    let known = Usage { writes: Some(30), bytes: Some(3_000), ..Usage::default() };
    let cost = known.per_message(10);
    assert_eq!(
        (cost.writes_per_msg, cost.bytes_per_msg, cost.allocations_per_msg),
        (Some(3.0), Some(300.0), None)
    );
    assert_eq!((known - Usage::default()).writes, None);
    assert_eq!((cost + Usage::default().per_message(10)).writes_per_msg, None);
}
