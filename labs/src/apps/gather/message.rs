//! The messages of scatter-gather, and the topics they are published to.
//!
//! ```text
//! ask         ADDRESS ID\nQUESTION     to all workers
//! ADDRESS     ID\nNAME ok TEXT         a worker's answer, or
//!             ID\nNAME error TEXT
//! here        here NAME                a worker's heartbeat
//!             left NAME                it leaves
//! ```

use std::time::Duration;

use bytes::Bytes;

use crate::apps::answer::{self, Answer};
use crate::reqrep::return_address::{ReturnAddress, open_reply, open_request, reply_message};
use crate::topic::Topic;

/// How often a worker announces itself.
pub const HEARTBEAT: Duration = Duration::from_millis(250);

/// Where questions are published.
pub(super) const QUESTIONS: &str = "ask";
/// Where workers announce themselves.
pub(super) const HERE: &str = "here";

/// Whether this can be a worker's name: a word of a topic, which goes into tables and pages.
pub(super) fn is_name(name: &str) -> bool {
    name.len() <= 64 && !name.contains('.') && Topic::new(name).is_ok()
}

/// Reads a question: its return address, its identifier, its text. The address is a topic below
/// `to`: nobody can make workers publish to each other, or to themselves.
pub(super) fn read_question(request: &Bytes) -> Option<(Topic, Bytes, String)> {
    let (ReturnAddress { address, id }, question) = open_request(request)?;
    let address = std::str::from_utf8(&address).ok().filter(|address| address.starts_with("to."))?;
    Some((Topic::new(address).ok()?, id, std::str::from_utf8(&question).ok()?.to_owned()))
}

/// The answer of the worker `name` to the question `id`.
pub(super) fn answer_message(id: &[u8], name: &str, answer: &Answer) -> Bytes {
    let body = format!("{name} {}", answer::write(answer));
    reply_message(id, body.as_bytes()).into()
}

/// Reads an answer: the question's identifier, the worker's name, what it says.
pub(super) fn read_answer(reply: &Bytes) -> Option<(u64, String, Answer)> {
    let (id, body) = open_reply(reply)?;
    let (name, text) = std::str::from_utf8(&body).ok()?.split_once(' ')?;
    is_name(name).then_some(())?;
    Some((id, name.to_owned(), answer::read(text)?))
}

/// A worker's announcement that it stays, or leaves.
pub(super) fn heartbeat(name: &str, stays: bool) -> Bytes {
    format!("{} {name}", if stays { "here" } else { "left" }).into()
}

/// Reads an announcement: which worker, and whether it stays.
pub(super) fn read_heartbeat(body: &[u8]) -> Option<(&str, bool)> {
    let (word, name) = std::str::from_utf8(body).ok()?.split_once(' ')?;
    let stays = match word {
        "here" => true,
        "left" => false,
        _ => return None,
    };
    is_name(name).then_some((name, stays))
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    proptest! {
        #[test]
        fn an_answer_can_be_read(id: u64, name in "[a-z][a-z0-9-]{0,20}", text: String, good: bool) {
            let answer = if good { Ok(text) } else { Err(text) };
            let reply = answer_message(id.to_string().as_bytes(), &name, &answer);
            prop_assert_eq!(read_answer(&reply), Some((id, name, answer)));
        }

        #[test]
        fn foreign_bytes_cause_no_panic(reply in prop::collection::vec(any::<u8>(), 0..60)) {
            if let Some((_, name, _)) = read_answer(&reply.into()) {
                prop_assert!(is_name(&name));
            }
        }
    }

    #[test]
    fn heartbeats_say_who_comes_and_goes() {
        for (stays, text) in [(true, "here worker-1"), (false, "left worker-1")] {
            assert_eq!(heartbeat("worker-1", stays), text);
            assert_eq!(read_heartbeat(text.as_bytes()), Some(("worker-1", stays)));
        }
        for bad in ["", "here", "here ", "here a b", "here <b>", "gone a", "here a.b"] {
            assert_eq!(read_heartbeat(bad.as_bytes()), None, "{bad:?}");
        }
    }

    #[test]
    fn only_return_addresses_are_answered() {
        for (request, good) in [
            ("to.me 7\nstatus", true),
            ("here 7\nstatus", false),
            ("ask 7\nstatus", false),
            ("to. 7\nstatus", false),
            ("status", false),
        ] {
            assert_eq!(read_question(&Bytes::from(request)).is_some(), good, "{request:?}");
        }
    }

    #[test]
    fn fuzz_gather_answers() {
        let seeds = ["7\nworker-1 ok fine", "18446744073709551615\na error no"];
        fuzz::Target::new("gather_answers").seeds(seeds).run(|input| {
            let reply = Bytes::copy_from_slice(input);
            let Some((id, name, answer)) = read_answer(&reply) else { return false };
            assert!(is_name(&name));
            let body = format!("{name} {}", answer::write(&answer));
            let again = Bytes::from(reply_message(id.to_string().as_bytes(), body.as_bytes()));
            assert_eq!(read_answer(&again), Some((id, name, answer)));
            true
        });
    }

    #[test]
    fn fuzz_gather_workers() {
        let seeds = ["to.me 7\nstatus", "here worker-1", "left worker-1"];
        fuzz::Target::new("gather_workers").seeds(seeds).run(|input| {
            let question = read_question(&Bytes::copy_from_slice(input));
            if let Some((address, id, question)) = &question {
                let again = [address.as_str().as_bytes(), b" ", id, b"\n", question.as_bytes()].concat();
                assert!(address.as_str().starts_with("to.") && again == input);
            }
            let heartbeat = read_heartbeat(input);
            assert!(heartbeat.is_none_or(|(name, _)| is_name(name)));
            question.is_some() || heartbeat.is_some()
        });
    }
}
