//! Streams through a proxy whose faults change meanwhile.

use std::num::NonZeroU64;
use std::time::Duration;

use proptest::prelude::*;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::time::timeout;

use super::super::{Direction, Proxy};
use super::{DEADLINE, connect, echo};

/// What is done between two writes.
#[derive(Debug, Clone, Copy)]
enum Between {
    Nothing,
    Delay(u64),
    Throttle(u64),
    Hole(Direction),
    Heal,
}

fn between() -> impl Strategy<Value = Between> {
    prop_oneof![
        Just(Between::Nothing),
        (0..4_u64).prop_map(Between::Delay),
        (100_000..5_000_000_u64).prop_map(Between::Throttle),
        prop::sample::select(vec![Direction::Up, Direction::Down]).prop_map(Between::Hole),
        Just(Between::Heal),
    ]
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(24))]
    #[test]
    fn bytes_are_neither_changed_nor_reordered(
        writes in prop::collection::vec((1..40_000_usize, between()), 1..12),
        seed in any::<u8>(),
    ) {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().expect("a runtime");
        runtime.block_on(async {
            let proxy = Proxy::tcp(echo().await).expect("a proxy");
            let mut stream = connect(&proxy).await;
            let (mut from, mut to) = stream.split();
            let total: usize = writes.iter().map(|(size, _)| size).sum();
            // 251 is prime: no two places near each other look alike.
            let bytes: Vec<u8> = (0..total).map(|n| (n % 251) as u8 ^ seed).collect();
            let send = async {
                let mut at = 0;
                for (size, between) in &writes {
                    to.write_all(&bytes[at..at + size]).await.expect("written");
                    at += size;
                    match *between {
                        Between::Nothing => {}
                        Between::Delay(ms) => proxy.delay(Duration::from_millis(ms)),
                        Between::Throttle(rate) => proxy.throttle(NonZeroU64::new(rate).expect("not zero")),
                        Between::Hole(direction) => proxy.blackhole(direction),
                        Between::Heal => proxy.heal(),
                    }
                }
                proxy.heal();
                to.shutdown().await.expect("half closed");
            };
            let mut received = Vec::new();
            let (_, ended) = tokio::join!(send, timeout(DEADLINE, from.read_to_end(&mut received)));
            ended.expect("in time").expect("an end");
            assert!(received == bytes, "{} of {} bytes", received.len(), bytes.len());
        });
    }
}
