use proptest::prelude::*;

use super::*;

/// Command, headers, body.
type Plain = (Command, Vec<(String, String)>, Vec<u8>);

fn plain(frame: &Frame) -> Plain {
    let headers = frame.headers().filter(|(name, _)| name != "content-length");
    let headers = headers.map(|(name, value)| (name.into_owned(), value.into_owned())).collect();
    (frame.command, headers, frame.body.to_vec())
}

fn wire((command, headers, body): &Plain) -> BytesMut {
    let headers: Vec<(&str, &str)> = headers.iter().map(|(n, v)| (n.as_str(), v.as_str())).collect();
    let mut out = BytesMut::new();
    encode(Outgoing { command: *command, headers: &headers, body }, &mut out).expect("a short frame");
    out
}

/// All frames, and what was wrong with the next one.
fn read(bytes: &[u8]) -> (Vec<Frame>, Option<String>) {
    let (mut codec, mut input, mut frames) = (Codec::default(), BytesMut::from(bytes), Vec::new());
    loop {
        match codec.decode(&mut input) {
            Ok(Some(frame)) => frames.push(frame),
            Ok(None) => return (frames, None),
            Err(error) => return (frames, Some(error.to_string())),
        }
    }
}

fn any_frame() -> impl Strategy<Value = Plain> {
    let text = || prop_oneof!["[a-z-]{1,12}", "[a-z:\\\\\n\r\u{e9}]{1,12}"];
    let command = prop::sample::select(&Command::ALL[..]);
    let headers = prop::collection::vec((text(), text()), 0..8);
    let body = prop::collection::vec(any::<u8>(), 0..300);
    (command, headers, body).prop_map(|(command, headers, body)| {
        // The two that do not escape cannot carry what would need it.
        let bare = |(name, value): &(String, String)| {
            command.escapes() || !name.contains([':', '\n', '\r']) && !value.contains(['\n', '\r'])
        };
        (command, headers.into_iter().filter(bare).collect(), body)
    })
}

proptest! {
    /// However the bytes are cut up on their way, frames come out as they went in.
    #[test]
    fn frames_survive_any_fragmentation(
        frames in prop::collection::vec(any_frame(), 0..6),
        cuts in prop::collection::vec(1_usize..40, 1..20),
        beats in "[\r\n]{0,4}",
    ) {
        let mut sent = BytesMut::new();
        for frame in &frames {
            sent.extend_from_slice(&wire(frame));
            sent.extend_from_slice(beats.as_bytes());
        }
        let (mut codec, mut input, mut came) = (Codec::default(), BytesMut::new(), Vec::new());
        let mut cuts = cuts.into_iter().cycle();
        while !sent.is_empty() {
            let step = cuts.next().unwrap_or(1).min(sent.len());
            input.extend_from_slice(&sent.split_to(step));
            while let Some(frame) = codec.decode(&mut input).expect("valid frames") {
                came.push(plain(&frame));
            }
        }
        prop_assert_eq!(came, frames);
        prop_assert!(input.is_empty());
    }

    /// Cut at any byte, a frame is not there yet; it comes with the rest.
    #[test]
    fn half_a_frame_is_none(frame in any_frame(), cut: prop::sample::Index) {
        let sent = wire(&frame);
        let at = cut.index(sent.len());
        let (mut codec, mut input) = (Codec::default(), BytesMut::from(&sent[..at]));
        prop_assert!(codec.decode(&mut input).expect("a beginning").is_none());
        input.extend_from_slice(&sent[at..]);
        let whole = codec.decode(&mut input).expect("valid").expect("whole");
        prop_assert_eq!(plain(&whole), frame);
    }
}

#[test]
fn of_headers_with_one_name_the_first_counts() {
    let (frames, error) = read(b"MESSAGE\nfoo:World\ncontent-length:1\nfoo:Hello\ncontent-length:9\n\nx\0");
    assert_eq!((frames.len(), error), (1, None));
    assert_eq!(frames[0].header("foo").as_deref(), Some("World"));
    assert_eq!(frames[0].header("bar"), None);
    assert_eq!(&frames[0].body[..], b"x");
}

#[test]
fn a_body_without_a_length_ends_at_a_zero_byte() {
    let (frames, error) = read(b"MESSAGE\r\na:b\r\n\r\none\0\n\r\n\nRECEIPT\nreceipt-id:7\n\n\0");
    assert_eq!((frames.len(), error), (2, None));
    assert_eq!(&frames[0].body[..], b"one");
    assert_eq!(frames[1].header("receipt-id").as_deref(), Some("7"));
}

/// Whoever sent it, it does not end the connection.
#[test]
fn a_head_that_is_not_utf_8_is_read_with_replacements() {
    let (frames, error) =
        read(b"MESSAGE\ndestination:/topic/a.\xff\nack:7\n\nx\0RECEIPT\nreceipt-id:7\n\n\0");
    assert_eq!((frames.len(), error), (2, None));
    assert_eq!(frames[0].header("destination").as_deref(), Some("/topic/a.\u{fffd}"));
    assert_eq!((frames[0].header("ack").as_deref(), &frames[0].body[..]), (Some("7"), &b"x"[..]));
}

#[test]
fn login_is_not_escaped_and_all_else_is() {
    let headers = [("passcode", "a:b\\c")];
    for (command, expected) in [
        (Command::Connect, "CONNECT\npasscode:a:b\\c\n\n\0"),
        (Command::Send, "SEND\npasscode:a\\cb\\\\c\n\n\0"),
    ] {
        let mut out = BytesMut::new();
        encode(Outgoing { command, headers: &headers, body: b"" }, &mut out).expect("a short frame");
        assert_eq!(std::str::from_utf8(&out), Ok(expected));
        assert_eq!(read(&out).0[0].header("passcode").as_deref(), Some("a:b\\c"));
    }
}

#[test]
fn what_breaks_the_rules_is_refused() {
    let many = format!("SEND\n{}\n\0", "a:b\n".repeat(MAX_HEADERS + 1));
    let long = format!("SEND\na:{}\n\n\0", "b".repeat(MAX_HEAD));
    let endless = format!("SEND\na:{}", "b".repeat(MAX_HEAD));
    let body = [b"SEND\n\n".to_vec(), vec![b'x'; LONGEST_BODY + 1]].concat();
    for (bytes, told) in [
        (&b"GET / HTTP/1.1\r\n\r\n"[..], "`GET / HTTP/1.1` is not a STOMP command"),
        (b"SEND\nnonsense\n\n\0", "`nonsense` is not a STOMP header"),
        (b"SEND\na:\\t\n\n\0", "`a:\\\\t` has a wrong escape"),
        (b"SEND\na:\\\n\n\0", "`a:\\\\` has a wrong escape"),
        (b"SEND\ncontent-length:1x\n\nx\0", "`1x` is not the length"),
        (b"SEND\ncontent-length:134217729\n\n", "134217729 bytes is announced"),
        (b"SEND\ncontent-length:1\n\nxy\0", "longer than was announced"),
        (many.as_bytes(), "more than 32768 headers"),
        (long.as_bytes(), "too long a head"),
        (endless.as_bytes(), "too long a head"),
        (&body, "does not end"),
    ] {
        let (frames, error) = read(bytes);
        let error = error.unwrap_or_default();
        assert!(frames.is_empty() && error.contains(told), "`{told}` was due, and came: {error}");
    }
    let command = Command::Send;
    let too_long = Outgoing { command, headers: &[], body: &vec![0; MAX_BODY + 1] };
    assert!(encode(too_long, &mut BytesMut::new()).is_err());
}

#[test]
fn fuzz_stomp() {
    let seeds = [
        &b"MESSAGE\ndestination:/queue/a\nmessage-id:1\ncontent-length:5\n\nhello\0\n"[..],
        b"CONNECTED\r\nversion:1.2\r\nheart-beat:0,0\r\n\r\n\0RECEIPT\nreceipt-id:7\n\n\0",
        b"ERROR\nmessage:a\\cb\\n\\\\\n\nwhy\0",
    ];
    fuzz::Target::new("stomp").seeds(seeds).memory(2 << 20).run(|input| {
        let (frames, error) = fuzz::same_in_pieces(input, |pieces| {
            let (mut codec, mut input, mut frames) = (Codec::default(), BytesMut::new(), Vec::new());
            for piece in pieces {
                input.extend_from_slice(piece);
                while let Some(frame) = codec.decode(&mut input).transpose() {
                    match frame {
                        Ok(frame) => frames.push(plain(&frame)),
                        Err(error) => return (frames, Some(error.to_string())),
                    }
                }
            }
            (frames, None)
        });
        for frame in &frames {
            assert!(frame.1.len() <= MAX_HEADERS);
            // A line break cannot be written in a header of a command that does not escape.
            if frame.0.escapes() || !frame.1.iter().any(|(n, v)| format!("{n}{v}").contains('\r')) {
                assert_eq!(plain(&read(&wire(frame)).0[0]), *frame);
            }
        }
        error.is_none() && !frames.is_empty()
    });
}
