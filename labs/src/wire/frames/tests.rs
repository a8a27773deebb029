use std::time::Duration;

use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpStream;
use tokio::time::timeout;

use super::*;
use crate::lab::Place;
use crate::wire::sockets::{Bound, MAX_CONNECTIONS};

/// Far more than anything here takes.
const PATIENCE: Duration = Duration::from_secs(60);

async fn listener(name: &str) -> (Place, FrameListener, String) {
    let place = Place::new(&format!("frames-{}-{name}", std::process::id()), None);
    let listener = FrameListener::new(Bound::tcp(&place).await.expect("a free port"));
    let address = place.peer().await.expect("it was announced");
    (place, listener, address)
}

async fn peer(address: &str) -> TcpStream {
    TcpStream::connect(address).await.expect("it listens")
}

fn frame(body: &[u8]) -> Vec<u8> {
    [&u32::try_from(body.len()).expect("short").to_be_bytes()[..], body].concat()
}

/// The next frame; all that others do to the listener happens meanwhile.
async fn next(listener: &mut FrameListener) -> (u64, Vec<u8>) {
    let next = timeout(PATIENCE, listener.next()).await.expect("soon");
    let (id, frame) = next.expect("somebody is here");
    (id, frame.to_vec())
}

#[tokio::test]
async fn an_error_of_a_peer_ends_its_connection_only() {
    let (place, mut listener, address) = listener("error").await;
    for (bytes, counted) in [
        (&[0xff; 4][..], true),
        (b"GET / HTTP/1.1\r\n\r\n", true),
        (&[0, 0, 0, 9, 1, 2], true),
        (&[0, 0], true),
        (&[], false),
    ] {
        let before = place.incidents().counts().peers_disconnected;
        let mut good = peer(&address).await;
        let mut bad = peer(&address).await;
        bad.write_all(bytes).await.expect("written");
        let gone = async {
            bad.shutdown().await.expect("open");
            // It ends when the listener has closed it, too.
            let _ = bad.read(&mut [0]).await;
            good.write_all(&frame(b"well")).await.expect("written");
        };
        let (came, ()) = tokio::join!(next(&mut listener), gone);
        assert_eq!(came.1, b"well");
        let after = place.incidents().counts().peers_disconnected;
        assert_eq!(after - before, u64::from(counted), "{bytes:?}");
    }
}

#[tokio::test]
async fn those_who_have_left_leave_nothing_behind() {
    let (place, mut listener, address) = listener("left").await;
    let mut first = peer(&address).await;
    first.write_all(&frame(b"first")).await.expect("written");
    let (first_id, _) = next(&mut listener).await;
    // While somebody is connected, nobody takes those who leave for the last.
    let _stays = peer(&address).await;
    drop(first);
    let come_and_go = async {
        for _ in 0..2_000 {
            drop(peer(&address).await);
        }
        let mut last = peer(&address).await;
        last.write_all(&frame(b"last")).await.expect("written");
        last
    };
    let ((id, _), mut last) = tokio::join!(next(&mut listener), come_and_go);
    assert!(listener.len() <= 3, "{} connections for one peer", listener.len());
    assert_eq!(place.incidents().counts().peers_disconnected, 0);
    // What is meant for one that has left reaches nobody else.
    assert!(!listener.put(first_id, &[b"late"]).expect("short"));
    assert!(listener.put(id, &[b"yours"]).expect("short"));
    listener.flush().await;
    let mut came = [0; 9];
    last.read_exact(&mut came).await.expect("a frame");
    assert_eq!(came[..], frame(b"yours"));
}

#[tokio::test]
async fn what_is_buffered_of_all_peers_is_bounded() {
    const BAD: usize = 8;
    const LONG: usize = 15 << 20;
    let (place, mut listener, address) = listener("long").await;
    listener.have_patience(Duration::from_millis(300));
    // Each announces the longest frame and sends half of it, as far as it is read.
    let half = vec![7; MAX_FRAME / 2];
    let mut bad = Vec::new();
    for _ in 0..BAD {
        let mut peer = peer(&address).await;
        let (half, head) = (half.clone(), u32::try_from(MAX_FRAME).expect("short").to_be_bytes());
        bad.push(tokio::spawn(async move {
            let _ = peer.write_all(&head).await;
            let _ = peer.write_all(&half).await;
            let _ = peer.read(&mut [0]).await;
        }));
    }
    let mut small = peer(&address).await;
    let mut large = Vec::new();
    for _ in 0..6 {
        let mut peer = peer(&address).await;
        large.push(tokio::spawn(async move {
            peer.write_all(&frame(&vec![1; LONG])).await.expect("written");
            peer
        }));
    }
    let mut whole = 0;
    while whole < large.len() {
        small.write_all(&frame(b"small")).await.expect("written");
        // One that sends little is read at once, whatever the others do.
        loop {
            let (_, body) = next(&mut listener).await;
            assert!(listener.buffered_bytes() <= 64 << 20, "{} bytes", listener.buffered_bytes());
            if body.len() < LONG {
                break;
            }
            assert!(body.iter().all(|byte| *byte == 1));
            whole += 1;
        }
    }
    // Those who kept the others waiting had to go.
    assert!(place.incidents().counts().peers_disconnected > 0);
    bad.into_iter().for_each(|task| task.abort());
}

#[tokio::test]
async fn a_peer_that_reads_nothing_does_not_fill_the_memory() {
    let (place, mut listener, address) = listener("deaf").await;
    let mut deaf = peer(&address).await;
    deaf.write_all(&frame(b"ask").repeat(100)).await.expect("written");
    let answer = vec![0; 1 << 20];
    for _ in 0..100 {
        let (id, _) = next(&mut listener).await;
        listener.put(id, &[&answer]).expect("short");
    }
    // From here on it knows how much is unwritten.
    listener.write().await;
    deaf.write_all(&frame(b"ask again")).await.expect("written");
    let mut other = peer(&address).await;
    other.write_all(&frame(b"well")).await.expect("written");
    let (_, body) = next(&mut listener).await;
    assert_eq!(body, b"well", "one whose answers nobody reads is not read");
    // It waits until the deaf one is given up.
    let ended = timeout(PATIENCE, listener.next());
    let leave = async {
        let mut counts = place.incidents().watch();
        let _ = counts.wait_for(|counts| counts.peers_disconnected == 1).await;
        drop(other);
    };
    let (ended, ()) = tokio::join!(ended, leave);
    assert!(ended.expect("soon").is_none());
}

#[tokio::test]
async fn one_that_says_nothing_makes_room_for_others() {
    let (_, mut listener, address) = listener("silent").await;
    let mut silent = Vec::new();
    let mut good = Vec::new();
    for number in 0..MAX_CONNECTIONS + 2 {
        // Only the first and the last two speak; the last two find no place at first.
        let mut peer = peer(&address).await;
        if number == 0 || number >= MAX_CONNECTIONS {
            peer.write_all(&frame(b"well")).await.expect("written");
            good.push(peer);
        } else {
            silent.push(peer);
        }
        if number == 0 {
            next(&mut listener).await;
        } else if number % 50 == 0 {
            let _ = timeout(Duration::from_millis(1), listener.next()).await;
        }
    }
    for _ in 0..2 {
        assert_eq!(next(&mut listener).await.1, b"well");
    }
    assert!(listener.len() <= MAX_CONNECTIONS);
}
