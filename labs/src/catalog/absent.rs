//! The combinations of pattern and transport that were left out on purpose.

/// Names that look as if there should be a lab, and why there is none.
pub const ABSENT: [(&str, &str); 13] = [
    (
        "oneway-http",
        "HTTP answers every request, so that a message that nothing answers would be a request/reply whose reply is thrown away",
    ),
    (
        "pubsub-http",
        "server-sent events are lines of text, and a body of bytes would have to be dressed up to pass as one: pubsub-websocket is what browsers have for that",
    ),
    (
        "pipeline-websocket",
        "it would be pipeline-tcp, credits and all, in other frames: WebSocket has nothing of its own to share work out with",
    ),
    (
        "pipeline-http",
        "workers that fetch tasks and post results are clients of a task server, and its store, not HTTP, would be the pipeline",
    ),
    (
        "queue-inproc",
        "a queue takes responsibility for messages, and one that dies with the process of its users can take none",
    ),
    (
        "queue-unix",
        "it would be queue-tcp, log and all, over another socket, which itself can answer for no message",
    ),
    (
        "queue-websocket",
        "it would be queue-tcp, log and all, in other frames: a WebSocket neither stores nor acknowledges a message",
    ),
    (
        "queue-http",
        "a request is answered or fails, and the server's store, not HTTP, would be the queue: that is a task server of one's own making",
    ),
    (
        "oneway-redis-stream",
        "a stream keeps what was read, for readers who each have a position: pubsub-redis-stream; to one receiver, once, it is queue-redis-stream",
    ),
    (
        "oneway-jetstream",
        "what JetStream adds to oneway-nats is a store and acknowledgements, and that is queue-jetstream",
    ),
    ("queue-nats", "core NATS keeps nothing and acknowledges nothing: queue-jetstream is NATS with a store"),
    (
        "durable-redis",
        "a channel keeps nothing for a subscriber that is away: durable-redis-stream is Redis with a log",
    ),
    (
        "durable-nats",
        "core NATS keeps nothing for a subscriber that is away: durable-jetstream is NATS with a store",
    ),
];
