//! What other programs put into a broker, in the words of each protocol.

use bytes::Bytes;
use lapin::BasicProperties;
use lapin::types::{AMQPValue, FieldTable};
use rumqttc::v5::mqttbytes::v5::PublishProperties;

use super::super::faulty::FOREIGN;
use super::stranger::Put;

/// Words that a topic cannot have: odd characters, empty ones, and not UTF-8.
const ODD: [&[u8]; 6] = ["haus.küche".as_bytes(), b"a..b", b".", b"a*b", b"x y", b"x.\xff\xfe"];

fn redis<const N: usize>(words: [&[u8]; N]) -> Put {
    Put::Redis(words.map(Bytes::copy_from_slice).to_vec())
}

fn too_long() -> String {
    "x".repeat(300)
}

fn amqp(exchange: &str, key: &str) -> Put {
    Put::Amqp(exchange.to_owned(), key.to_owned(), BasicProperties::default())
}

/// Events that are none, at the place of this name.
pub(super) fn events(transport: &str, place: &str) -> Vec<Put> {
    let (long, topic) = (too_long(), b"it.stream");
    match transport {
        "redis" => {
            let odd = ODD.into_iter().chain([&b""[..], long.as_bytes()]);
            odd.map(|odd| redis([b"PUBLISH", &[place.as_bytes(), b":", odd].concat(), b"foreign"])).collect()
        }
        "redis-stream" => {
            let stream = format!("{place}:stream");
            let add = |fields: &[&[u8]]| {
                let words = [&[b"XADD", stream.as_bytes(), b"*"], fields].concat();
                Put::Redis(words.into_iter().map(Bytes::copy_from_slice).collect())
            };
            let odd = ODD.into_iter().chain([&b""[..], long.as_bytes()]);
            odd.map(|odd| add(&[b"topic", odd, b"body", b"foreign"]))
                .chain([add(&[b"body", b"foreign"]), add(&[b"topic", topic]), add(&[b"hello", b"world"])])
                .collect()
        }
        // A subject that is not UTF-8 ends the client's connection, and one with an empty word
        // reaches nobody.
        "nats" | "jetstream" => ["haus.küche", "a/b", "a$b", &long]
            .map(|odd| Put::Nats(format!("PUB {place}.{odd} 7\r\nforeign\r\n").into_bytes()))
            .into(),
        // Mosquitto refuses what is not UTF-8.
        "mqtt" => ["/haus/küche", "/a//b", "/", "/x y", "/a.b", "", &format!("/{long}")]
            .map(|odd| Put::Mqtt(format!("{place}{odd}"), PublishProperties::default()))
            .into(),
        // A key that is not UTF-8 ends the client's connection.
        "rabbitmq" => ["haus.küche", "a..b", "", "a*b", "x y"].map(|odd| amqp(place, odd)).into(),
        "stomp" => {
            let many = (0..300).map(|number| {
                (format!("header-{number}").into(), AMQPValue::LongString("\n:\\".repeat(100).into()))
            });
            let headers: FieldTable = many.collect::<std::collections::BTreeMap<_, _>>().into();
            let many = BasicProperties::default().with_headers(headers);
            let broken = [format!("destination:/topic/{place}.").as_bytes(), b"x\xff\n\nforeign\0"].concat();
            let odd = ["haus.küche", "a..b", "", "a*b", "x y"];
            odd.map(|odd| amqp("amq.topic", &format!("{place}.{odd}")))
                .into_iter()
                .chain([
                    amqp("amq.topic", place),
                    Put::Amqp("amq.topic".to_owned(), format!("{place}.x y"), many),
                    Put::Stomp(broken),
                ])
                .collect()
        }
        "faulty" => vec![Put::Lab(Bytes::from_static(FOREIGN))],
        _ => Vec::new(),
    }
}

/// Requests that no responder can answer, because they do not say to whom.
pub(super) fn requests(transport: &str, variant: Option<&str>, place: &str) -> Vec<Put> {
    let requests = format!("{place}:requests");
    match (transport, variant) {
        ("redis", _) => {
            [&b""[..], b"hello", b"7\n", b"\xff\xfe\n", b" 7\nhello", format!("{requests} 7\n").as_bytes()]
                .map(|letter| redis([b"RPUSH", requests.as_bytes(), letter]))
                .into()
        }
        ("redis-stream", _) => {
            let stream = format!("{place}:stream");
            let stream = stream.as_bytes();
            vec![
                redis([b"XADD", stream, b"*", b"body", b"hello"]),
                redis([b"XADD", stream, b"*", b"reply-to", b"me", b"body", b"hello"]),
                redis([b"XADD", stream, b"*", b"reply-to", b"me", b"id", b"7"]),
            ]
        }
        ("nats", _) => vec![Put::Nats(format!("PUB {place} 7\r\nforeign\r\n").into_bytes())],
        ("mqtt", _) => {
            let data = PublishProperties { correlation_data: Some("7".into()), ..Default::default() };
            [PublishProperties::default(), data]
                .map(|properties| Put::Mqtt(format!("{place}/requests"), properties))
                .into()
        }
        ("rabbitmq", _) => {
            let data = BasicProperties::default().with_correlation_id("7".into());
            [BasicProperties::default(), data]
                .map(|properties| Put::Amqp(String::new(), place.to_owned(), properties))
                .into()
        }
        // RabbitMQ refuses some of these itself.
        ("stomp", _) => {
            ["", "reply-to:\n", "reply-to:/queue/\n", "reply-to:/topic\n", "reply-to:/exchange\n"]
                .map(|address| {
                    Put::Stomp(format!("destination:/queue/{place}\n{address}\nforeign\0").into_bytes())
                })
                .into()
        }
        ("zeromq", None) => [vec!["foreign"], vec!["", "two", "frames"], vec!["no body", ""]]
            .map(|frames| Put::Dealer(frames.into_iter().map(Bytes::from).collect()))
            .into(),
        ("zeromq", Some(_)) => [vec!["foreign"], vec!["12345678", "foreign"]]
            .map(|frames| Put::Dealer(frames.into_iter().map(Bytes::from).collect()))
            .into(),
        ("faulty", _) => vec![Put::Lab(Bytes::from_static(FOREIGN))],
        _ => Vec::new(),
    }
}

/// Requests that are answered to nobody: their return address takes no reply.
pub(super) fn unanswerable(transport: &str, place: &str) -> Vec<Put> {
    let (requests, stream, counter) =
        (format!("{place}:requests"), format!("{place}:stream"), format!("{place}:requesters"));
    match transport {
        // The key holds a number.
        "redis" => vec![redis([b"RPUSH", requests.as_bytes(), format!("{counter} 7\nhello").as_bytes()])],
        "redis-stream" => {
            let fields = [b"reply-to", counter.as_bytes(), b"id", b"7", b"body", b"hello"];
            let words = [&[b"XADD", stream.as_bytes(), b"*"][..], &fields].concat();
            vec![Put::Redis(words.into_iter().map(Bytes::copy_from_slice).collect())]
        }
        "rabbitmq" => ["no-such-queue", "amq.rabbitmq.reply-to.nonsense"]
            .map(|address| {
                let properties = BasicProperties::default().with_reply_to(address.into());
                Put::Amqp(String::new(), place.to_owned(), properties)
            })
            .into(),
        _ => Vec::new(),
    }
}

/// Replies to the first requester that answer none of its requests.
pub(super) fn replies(transport: &str, place: &str) -> Vec<Put> {
    let replies = format!("{place}:replies:1");
    match transport {
        "redis" => [&b""[..], b"hello", b"seven\nhello", b"999999\nhello"]
            .map(|letter| redis([b"RPUSH", replies.as_bytes(), letter]))
            .into(),
        "redis-stream" => {
            let replies = replies.as_bytes();
            vec![
                redis([b"XADD", replies, b"*", b"body", b"hello"]),
                redis([b"XADD", replies, b"*", b"id", b"seven", b"body", b"hello"]),
                redis([b"XADD", replies, b"*", b"id", b"999999", b"body", b"hello"]),
                redis([b"XADD", replies, b"*", b"id", b"1"]),
            ]
        }
        _ => Vec::new(),
    }
}

/// Entries of a queue that cannot be delivered: without a body, or with a broken count of attempts.
pub(super) fn entries(transport: &str, place: &str) -> Vec<Put> {
    match transport {
        "redis" => vec![redis([b"RPUSH", format!("{place}:again").as_bytes(), b"many tasks"])],
        "redis-stream" => {
            vec![redis([b"XADD", format!("{place}:stream").as_bytes(), b"*", b"hello", b"world"])]
        }
        "rabbitmq" => [
            AMQPValue::LongString("many".into()),
            AMQPValue::LongLongInt(-1),
            AMQPValue::LongLongInt(i64::from(u32::MAX)),
            AMQPValue::Boolean(true),
        ]
        .map(|count| {
            let mut headers = FieldTable::default();
            headers.insert("x-delivery-count".into(), count);
            let properties = BasicProperties::default().with_headers(headers);
            Put::Amqp(String::new(), place.to_owned(), properties)
        })
        .into(),
        "stomp" => ["many", "0", "-1", "4294967296"]
            .map(|count| {
                Put::Stomp(format!("destination:/queue/{place}\nattempt:{count}\n\nforeign\0").into_bytes())
            })
            .into(),
        "mqtt" => ["many", "", "0", "-1", "4294967296"]
            .map(|count| {
                let user_properties = vec![("attempt".to_owned(), count.to_owned())];
                let properties = PublishProperties { user_properties, ..Default::default() };
                Put::Mqtt(format!("{place}/queue"), properties)
            })
            .into(),
        "faulty" => vec![Put::Lab(Bytes::from_static(FOREIGN))],
        _ => Vec::new(),
    }
}

/// Messages that are not a body, where there are such: of ØMQ those that have not one frame.
pub(super) fn bodies(transport: &str) -> Vec<Put> {
    match transport {
        "zeromq" => [vec!["two", "frames"], vec!["", "with", "a delimiter"]]
            .map(|frames| Put::Push(frames.into_iter().map(Bytes::from).collect()))
            .into(),
        "faulty" => vec![Put::Lab(Bytes::from_static(FOREIGN))],
        _ => Vec::new(),
    }
}

/// The same at a stage of a pipeline, which is a queue over some brokers.
pub(super) fn results(transport: &str, place: &str) -> Vec<Put> {
    match transport {
        "redis-stream" | "rabbitmq" => entries(transport, place),
        _ => bodies(transport),
    }
}
