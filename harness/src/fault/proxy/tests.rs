use std::io;
use std::num::NonZeroU64;
use std::path::Path;
use std::time::{Duration, Instant};

use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};
use tokio::io::{AsyncRead, AsyncReadExt as _, AsyncWrite, AsyncWriteExt as _};
use tokio::net::{TcpListener, TcpStream, UnixListener, UnixStream};
use tokio::time::timeout;

use super::*;

mod cost;
mod streams;

/// Longer than any machine takes.
const DEADLINE: Duration = Duration::from_secs(60);
/// In this time nothing is to arrive: on a slow machine, nothing would have anyway.
const SHORT: Duration = Duration::from_millis(100);

/// A server that sends back what it gets, on this task's runtime.
async fn echo() -> std::net::SocketAddr {
    let listener = TcpListener::bind("127.0.0.1:0").await.expect("a port");
    let address = listener.local_addr().expect("an address");
    tokio::spawn(async move {
        loop {
            let (mut stream, _) = listener.accept().await.expect("a connection");
            tokio::spawn(async move {
                let (mut from, mut to) = stream.split();
                let _ = tokio::io::copy(&mut from, &mut to).await;
                let _ = to.shutdown().await;
            });
        }
    });
    address
}

fn port(proxy: &Proxy) -> std::net::SocketAddr {
    match proxy.address() {
        Address::Tcp(address) => *address,
        Address::Unix(path) => panic!("{}", path.display()),
    }
}

async fn connect(proxy: &Proxy) -> TcpStream {
    TcpStream::connect(port(proxy)).await.expect("the proxy listens")
}

/// Sends so many bytes and gets them back.
async fn round_trip(stream: &mut (impl AsyncRead + AsyncWrite + Unpin), bytes: usize) -> io::Result<()> {
    let sent: Vec<u8> = (0..bytes).map(|n| n as u8).collect();
    stream.write_all(&sent).await?;
    let mut received = vec![0; bytes];
    timeout(DEADLINE, stream.read_exact(&mut received)).await.expect("in time")?;
    assert_eq!(received, sent);
    Ok(())
}

/// A round trip over a new connection, which may be reset before it is used.
async fn new_round_trip(proxy: &Proxy, bytes: usize) -> io::Result<()> {
    round_trip(&mut TcpStream::connect(port(proxy)).await?, bytes).await
}

async fn until(what: &str, mut done: impl FnMut() -> bool) {
    let deadline = Instant::now() + DEADLINE;
    while !done() {
        assert!(Instant::now() < deadline, "{what}");
        tokio::time::sleep(Duration::from_millis(1)).await;
    }
}

/// What happens to a connection that was open before the fault, to a new one, and to one after it.
/// `None`: it is reset. A time: a round trip takes at least that long.
#[tokio::test]
async fn each_fault_does_what_its_name_says() {
    type Done = (&'static str, fn(&Proxy), Option<u64>, Option<u64>);
    let table: [Done; 6] = [
        ("cut", |proxy| proxy.cut(), None, Some(0)),
        ("tear", |proxy| proxy.tear(), None, Some(0)),
        ("refuse", |proxy| proxy.refuse(true), None, None),
        ("delay", |proxy| proxy.delay(Duration::from_millis(40)), Some(80), Some(80)),
        (
            "throttle",
            |proxy| proxy.throttle(NonZeroU64::new(10_000).expect("not zero")),
            Some(100),
            Some(100),
        ),
        ("heal", Proxy::heal, Some(0), Some(0)),
    ];
    for (name, begin, old, new) in table {
        let proxy = Proxy::tcp(echo().await).expect("a proxy");
        let mut before = connect(&proxy).await;
        round_trip(&mut before, 1_000).await.expect(name);
        begin(&proxy);
        for (is_new, expected) in [(false, old), (true, new)] {
            let began = Instant::now();
            let went = match is_new {
                false => round_trip(&mut before, 1_000).await,
                true => new_round_trip(&proxy, 1_000).await,
            };
            match expected {
                Some(least) => {
                    went.expect(name);
                    assert!(began.elapsed() >= Duration::from_millis(least), "{name} {:?}", began.elapsed());
                }
                None => assert!(went.is_err(), "{name}"),
            }
        }
        drop(before);
        proxy.heal();
        round_trip(&mut connect(&proxy).await, 1_000).await.expect(name);
        // What was read here may not be counted yet.
        let counted = |traffic: Traffic| traffic.up_bytes >= 2_000 && traffic.down_bytes >= 2_000;
        until("bytes are counted", || counted(proxy.traffic()) && proxy.traffic().accepted == 3).await;
        until("connections end", || proxy.traffic().open == 0).await;
    }
}

#[tokio::test]
async fn a_black_hole_holds_what_comes_in_its_direction() {
    for direction in [Direction::Up, Direction::Down] {
        let proxy = Proxy::tcp(echo().await).expect("a proxy");
        let mut old = connect(&proxy).await;
        round_trip(&mut old, 10).await.expect("it forwards");
        proxy.blackhole(direction);
        let mut new = connect(&proxy).await;
        for stream in [&mut old, &mut new] {
            stream.write_all(b"held").await.expect("the kernel takes it");
            let mut byte = [0];
            assert!(timeout(SHORT, stream.read(&mut byte)).await.is_err(), "{direction:?}");
        }
        // The other direction is not affected.
        let up = if direction == Direction::Up { 10 } else { 18 };
        until("the other direction goes on", || proxy.traffic().up_bytes == up).await;
        proxy.heal();
        for stream in [&mut old, &mut new] {
            let mut held = [0; 4];
            timeout(DEADLINE, stream.read_exact(&mut held)).await.expect("in time").expect("it goes on");
            assert_eq!(&held, b"held");
        }
    }
}

/// A torn connection ends inside of what was written at once; a quiet one ends, too.
#[tokio::test]
async fn a_tear_is_inside_a_frame() {
    let listener = TcpListener::bind("127.0.0.1:0").await.expect("a port");
    let proxy = Proxy::tcp(listener.local_addr().expect("an address")).expect("a proxy");
    let (mut busy, mut quiet) = (connect(&proxy).await, connect(&proxy).await);
    let (mut server, _) = listener.accept().await.expect("a connection");
    let (_other, _) = listener.accept().await.expect("a connection");
    let mut received = vec![0; 100];
    // Which of the two the server has first is not known.
    busy.write_all(&[1; 100]).await.expect("written");
    let mut is_busy = false;
    until("it forwards", || proxy.traffic().up_bytes == 100).await;
    if let Ok(read) = timeout(SHORT, server.read_exact(&mut received)).await {
        read.expect("forwarded");
        is_busy = true;
    }
    proxy.tear();
    busy.write_all(&[2; 100]).await.expect("written");
    let mut byte = [0];
    for stream in [&mut busy, &mut quiet] {
        let read = timeout(DEADLINE, stream.read(&mut byte)).await.expect("in time");
        assert!(matches!(read, Ok(0) | Err(_)));
    }
    let passed = proxy.traffic().up_bytes - 100;
    assert!((1..100).contains(&passed), "{passed} bytes");
    if is_busy {
        let mut rest = Vec::new();
        let _ = timeout(DEADLINE, server.read_to_end(&mut rest)).await.expect("in time");
        assert_eq!(rest.len() as u64, passed);
    }
}

#[tokio::test]
async fn a_half_closed_connection_still_gets_its_answer() {
    let proxy = Proxy::tcp(echo().await).expect("a proxy");
    let mut stream = connect(&proxy).await;
    let sent = vec![7; 300_000];
    let (mut from, mut to) = stream.split();
    let (_, received) = tokio::join!(
        async {
            to.write_all(&sent).await.expect("written");
            to.shutdown().await.expect("half closed");
        },
        async {
            let mut received = Vec::new();
            timeout(DEADLINE, from.read_to_end(&mut received)).await.expect("in time").expect("an end");
            received
        }
    );
    assert!(received == sent, "{} bytes", received.len());
}

/// What arrives before a cut is the beginning of what was sent.
#[tokio::test]
async fn a_cut_in_mid_stream_loses_the_end_and_nothing_else() {
    let listener = TcpListener::bind("127.0.0.1:0").await.expect("a port");
    let proxy = Proxy::tcp(listener.local_addr().expect("an address")).expect("a proxy");
    let mut client = connect(&proxy).await;
    let (mut server, _) = listener.accept().await.expect("a connection");
    let writing = tokio::spawn(async move {
        for n in 0_u64.. {
            if client.write_all(&n.to_be_bytes()).await.is_err() {
                return n;
            }
        }
        unreachable!("it ends with an error")
    });
    let mut received = Vec::new();
    let mut chunk = vec![0; 8_192];
    while received.len() < 100_000 {
        let read = timeout(DEADLINE, server.read(&mut chunk)).await.expect("in time").expect("forwarded");
        received.extend_from_slice(&chunk[..read]);
    }
    proxy.cut();
    let _ = timeout(DEADLINE, server.read_to_end(&mut received)).await.expect("in time");
    let sent = timeout(DEADLINE, writing).await.expect("in time").expect("it wrote");
    for (n, bytes) in received.chunks_exact(8).enumerate() {
        assert_eq!(bytes, (n as u64).to_be_bytes());
    }
    assert!(received.len() as u64 <= sent * 8);
}

/// A reader that does not read makes the writer wait, and then gets everything.
#[tokio::test]
async fn a_slow_reader_bounds_memory() {
    const MOST: usize = 64 << 20;
    let listener = TcpListener::bind("127.0.0.1:0").await.expect("a port");
    let proxy = Proxy::tcp(listener.local_addr().expect("an address")).expect("a proxy");
    let mut client = connect(&proxy).await;
    let (mut server, _) = listener.accept().await.expect("a connection");
    let (chunk, mut sent) = (vec![9; 32 << 10], 0);
    // It waits when nothing could be written for a while.
    while let Ok(wrote) = timeout(SHORT * 3, client.write(&chunk)).await {
        sent += wrote.expect("written");
        assert!(sent < MOST, "{sent} bytes were taken from the writer");
    }
    client.shutdown().await.expect("half closed");
    let (mut received, mut space) = (0, vec![0; 1 << 20]);
    loop {
        match timeout(DEADLINE, server.read(&mut space)).await.expect("in time").expect("forwarded") {
            0 => break,
            read => received += read,
        }
    }
    assert_eq!(received, sent);
}

#[tokio::test]
async fn what_is_behind_the_proxy_may_go_away_and_come_back() {
    // Bound, so that nobody else takes the port; but nobody listens.
    let socket = tokio::net::TcpSocket::new_v4().expect("a socket");
    socket.bind("127.0.0.1:0".parse().expect("an address")).expect("a port");
    let address = socket.local_addr().expect("an address");
    let proxy = Proxy::tcp(address).expect("a proxy");
    assert!(new_round_trip(&proxy, 10).await.is_err());
    assert_eq!(proxy.traffic().refused, 1);
    let listener = socket.listen(16).expect("it listens");
    let (mut client, server) = tokio::join!(connect(&proxy), listener.accept());
    let (mut server, _) = server.expect("a connection");
    client.write_all(b"back").await.expect("written");
    let mut received = [0; 4];
    timeout(DEADLINE, server.read_exact(&mut received)).await.expect("in time").expect("forwarded");
    // Its end is passed on.
    drop(server);
    assert_eq!(timeout(DEADLINE, client.read(&mut received)).await.expect("in time").expect("an end"), 0);
}

#[tokio::test]
async fn a_thousand_connections_are_open_at_once_and_not_many_more() {
    let limit = getrlimit(Resource::Nofile);
    let wanted = limit.maximum.unwrap_or(8_192).min(8_192);
    setrlimit(Resource::Nofile, Rlimit { current: Some(wanted), maximum: limit.maximum })
        .expect("more files");
    // A connection has four ends in this process.
    assert!(wanted >= 5_000, "this test needs 5,000 open files, and {wanted} are allowed");
    let proxy = Proxy::tcp(echo().await).expect("a proxy");
    let mut streams = Vec::new();
    for _ in 0..MOST_CONNECTIONS {
        let mut stream = connect(&proxy).await;
        round_trip(&mut stream, 100).await.expect("it forwards");
        streams.push(stream);
    }
    assert_eq!(proxy.traffic().open, MOST_CONNECTIONS);
    assert!(new_round_trip(&proxy, 10).await.is_err(), "one too many");
    for stream in &mut streams {
        round_trip(stream, 100).await.expect("it still forwards");
    }
    drop(streams);
    until("connections end", || proxy.traffic().open == 0).await;
    // Its place is free a moment after a connection has ended.
    let deadline = Instant::now() + DEADLINE;
    while new_round_trip(&proxy, 10).await.is_err() {
        assert!(Instant::now() < deadline, "there is room again");
    }
}

fn threads(name: &str) -> usize {
    let tasks = std::fs::read_dir("/proc/self/task").expect("threads").flatten();
    let names = tasks.filter_map(|task| std::fs::read_to_string(task.path().join("comm")).ok());
    names.filter(|found| found.trim() == name).count()
}

#[tokio::test]
async fn nothing_of_a_proxy_is_left() {
    let proxy = Proxy::tcp(echo().await).expect("a proxy");
    let address = port(&proxy);
    let mut stream = connect(&proxy).await;
    round_trip(&mut stream, 10).await.expect("it forwards");
    let name = format!("proxy:{}", address.port());
    assert_eq!(threads(&name), 1);
    proxy.blackhole(Direction::Up);
    drop(proxy);
    assert_eq!(threads(&name), 0);
    assert!(round_trip(&mut stream, 10).await.is_err(), "its connections are reset");
    assert!(TcpStream::connect(address).await.is_err(), "nobody listens");
}

#[tokio::test]
async fn unix_sockets_are_forwarded_and_their_file_is_removed() {
    let dir = tempfile::tempdir().expect("a folder");
    let path = dir.path().join("socket");
    let listener = UnixListener::bind(&path).expect("a socket");
    let proxy = Proxy::unix(&path).expect("a proxy");
    let Address::Unix(beside) = proxy.address().clone() else { panic!("a path") };
    assert!(Proxy::unix(&path).is_err_and(|error| error.to_string().contains("socket.link")));
    let accept = || async { listener.accept().await.expect("a connection").0 };
    let (mut client, mut server) =
        tokio::join!(async { UnixStream::connect(&beside).await.expect("it listens") }, accept());
    client.write_all(b"forwarded").await.expect("written");
    let mut received = [0; 9];
    timeout(DEADLINE, server.read_exact(&mut received)).await.expect("in time").expect("forwarded");
    proxy.cut();
    let read = timeout(DEADLINE, client.read(&mut received)).await.expect("in time");
    assert!(matches!(read, Ok(0) | Err(_)), "{read:?}");
    let (_client, _server) =
        tokio::join!(async { UnixStream::connect(&beside).await.expect("it listens") }, accept());
    drop(proxy);
    assert!(!Path::new(&beside).exists() && path.exists());
}
