//! The return address: where a reply goes. The replier learns it from the
//! request and knows nothing else of who asks, so that requesters come and go
//! without its being told, and several repliers can share one queue of requests.
//!
//! Together with the [correlation identifier](super::correlation) it is all that
//! a reply needs: *to whom*, and *to which of their questions*. A protocol that
//! has a place for both carries them there (AMQP's `reply-to` and
//! `correlation-id`, MQTT's response topic and correlation data). Where it has
//! none, as on a Redis list, they are a line of text in front of the body.
//!
//! ```text
//! ADDRESS ID\n   the request's body
//! ID\n           the reply's body
//! ```

use bytes::Bytes;

/// Where a reply goes, and which request it answers: both as the request had
/// them, for the replier has no business with what they mean.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ReturnAddress<A = Bytes, I = A> {
    /// A queue, a topic, a list: whatever the transport delivers to.
    pub address: A,
    /// The requester's own mark, which goes back unread.
    pub id: I,
}

/// A request message. `address` has no line break; it may have spaces.
pub fn request_message(address: &str, id: u64, body: &[u8]) -> Vec<u8> {
    [format!("{address} {id}\n").as_bytes(), body].concat()
}

/// A reply message.
pub fn reply_message(id: &[u8], body: &[u8]) -> Vec<u8> {
    [id, b"\n", body].concat()
}

/// Opens a request: its return address and its body. `None` for what has no
/// return address: it cannot be answered.
pub fn open_request(message: &Bytes) -> Option<(ReturnAddress, Bytes)> {
    let (line, body) = split_line(message)?;
    let space = line.iter().rposition(|byte| *byte == b' ')?;
    Some((ReturnAddress { address: line.slice(..space), id: line.slice(space + 1..) }, body))
}

/// Opens a reply: the identifier of the request it answers, and its body.
/// `None` for what answers no request of ours.
pub fn open_reply(message: &Bytes) -> Option<(u64, Bytes)> {
    let (line, body) = split_line(message)?;
    Some((std::str::from_utf8(&line).ok()?.parse().ok()?, body))
}

fn split_line(message: &Bytes) -> Option<(Bytes, Bytes)> {
    let end = message.iter().position(|byte| *byte == b'\n')?;
    Some((message.slice(..end), message.slice(end + 1..)))
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    proptest! {
        #[test]
        fn what_is_written_can_be_read(
            address in "[^\n]*", id: u64, body in prop::collection::vec(any::<u8>(), 0..50),
        ) {
            let message = request_message(&address, id, &body).into();
            let (to, read) = open_request(&message).expect("a request");
            prop_assert_eq!(&to.address[..], address.as_bytes());
            prop_assert_eq!(&read[..], &body[..]);
            let (answered, read) = open_reply(&reply_message(&to.id, &body).into()).expect("a reply");
            prop_assert_eq!((answered, &read[..]), (id, &body[..]));
        }

        #[test]
        fn whatever_comes_is_no_panic(message in prop::collection::vec(any::<u8>(), 0..60)) {
            let message = Bytes::from(message);
            if let Some((to, body)) = open_request(&message) {
                prop_assert_eq!([&to.address[..], b" ", &to.id, b"\n", &body].concat(), &message[..]);
            }
            if let Some((_, body)) = open_reply(&message) {
                prop_assert!(message.ends_with(&body));
            }
        }
    }

    #[test]
    fn what_has_no_return_address_is_not_answered() {
        for message in ["", "body", "line\nbody", "\n"] {
            assert_eq!(open_request(&Bytes::from(message)), None, "{message:?}");
        }
        for message in ["", "7", "seven\nbody", "\nbody"] {
            assert_eq!(open_reply(&Bytes::from(message)), None, "{message:?}");
        }
    }

    #[test]
    fn fuzz_return_address() {
        let seeds = [request_message("to.me", 7, b"body"), request_message("a list", u64::MAX, b"")];
        fuzz::Target::new("return_address").seeds(seeds).run(|input| {
            let message = Bytes::copy_from_slice(input);
            if let Some((id, body)) = open_reply(&message) {
                let again = reply_message(id.to_string().as_bytes(), &body);
                assert_eq!(open_reply(&again.into()), Some((id, body)));
            }
            let Some((to, body)) = open_request(&message) else { return false };
            assert_eq!([&to.address[..], b" ", &to.id, b"\n", &body].concat(), input);
            true
        });
    }
}
