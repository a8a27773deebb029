//! The combinations of pattern and transport that were left out on purpose.

/// Names that look as if there should be a lab, and why there is none.
pub const ABSENT: [(&str, &str); 13] = [
    (
        "oneway-http",
        "HTTP answers every request, so a one-way message would be a request whose reply is ignored: use \
         reqrep-http",
    ),
    (
        "pubsub-http",
        "server-sent events are lines of text and would need an encoding for binary bodies: browsers use \
         pubsub-websocket",
    ),
    (
        "pipeline-websocket",
        "it would be pipeline-tcp with other frames: WebSocket has no mechanism of its own to share work",
    ),
    (
        "pipeline-http",
        "workers would fetch tasks from a task server and post results to it, so the pipeline would be in \
         that server, not in HTTP",
    ),
    (
        "queue-inproc",
        "a queue takes responsibility for messages, but an in-process queue is lost together with its users",
    ),
    (
        "queue-unix",
        "it would be queue-tcp with its log over another socket: a Unix socket neither stores nor \
         acknowledges a message",
    ),
    (
        "queue-websocket",
        "it would be queue-tcp with its log and other frames: a WebSocket neither stores nor acknowledges a \
         message",
    ),
    ("queue-http", "the queue would be the store of a task server, not HTTP, which only answers requests"),
    (
        "oneway-redis-stream",
        "a stream keeps entries after they are read, and each reader has a position (pubsub-redis-stream); \
         delivery of each entry to one receiver is queue-redis-stream",
    ),
    (
        "oneway-jetstream",
        "JetStream adds a store and acknowledgements to oneway-nats, which makes it queue-jetstream",
    ),
    (
        "queue-nats",
        "core NATS neither stores nor acknowledges messages: queue-jetstream is NATS with a store",
    ),
    (
        "durable-redis",
        "a Redis channel stores nothing for a subscriber that is away: durable-redis-stream is Redis with a \
         log",
    ),
    (
        "durable-nats",
        "core NATS stores nothing for a subscriber that is away: durable-jetstream is NATS with a store",
    ),
];
