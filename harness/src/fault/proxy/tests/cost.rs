//! What the proxy itself costs.

use std::time::{Duration, Instant};

use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpStream;

use super::super::Proxy;
use super::{echo, port, round_trip};

/// Printed for the documentation of the proxy. Run it alone, in a release build.
#[tokio::test]
#[ignore = "measures"]
async fn its_own_latency_and_throughput() {
    let upstream = echo().await;
    let proxy = Proxy::tcp(upstream).expect("a proxy");
    for (name, address) in [("direct", upstream), ("proxy", port(&proxy)), ("direct", upstream)] {
        let mut stream = TcpStream::connect(address).await.expect("connected");
        stream.set_nodelay(true).expect("no delay");
        let mut times = Vec::new();
        for n in 0..2_000 {
            tokio::time::sleep(Duration::from_millis(2)).await;
            let began = Instant::now();
            round_trip(&mut stream, 64 + n % 2).await.expect("it forwards");
            times.push(began.elapsed());
        }
        times.sort();
        let (p50, p99) = (times[times.len() / 2], times[times.len() * 99 / 100]);
        let (mut from, mut to) = stream.split();
        let (chunk, total) = (vec![1; 64 << 10], 2_usize << 30);
        let began = Instant::now();
        let write = async {
            for _ in 0..total / chunk.len() {
                to.write_all(&chunk).await.expect("written");
            }
            to.shutdown().await.expect("half closed");
        };
        let read = async {
            let (mut read, mut space) = (0, vec![0; 256 << 10]);
            while read < total {
                read += from.read(&mut space).await.expect("it comes back");
            }
        };
        tokio::join!(write, read);
        let per_s = total as f64 / began.elapsed().as_secs_f64() / 1e6;
        println!("{name}: round trip p50 {p50:?}, p99 {p99:?}; {per_s:.0} MB/s there and back");
    }
}
