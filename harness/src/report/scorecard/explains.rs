//! Which failure scenario shows what a fault does to messages.

/// The scenario about a fault, such as `broker-restart`, for labs of a pattern; of several faults, the
/// one about the first. `None`: there is none.
pub fn explains(fault: &str, pattern: &str) -> Option<&'static str> {
    let fans_out = matches!(pattern, "pubsub" | "durable");
    Some(match fault.split('+').next()? {
        "sender-kill" | "sender-restart" => "publisher-confirms",
        "receiver-kill" | "receiver-restart" if fans_out => "late-subscriber",
        "receiver-kill" | "receiver-restart" if pattern == "reqrep" => "late-reply",
        "receiver-kill" | "receiver-restart" => "ack-too-early",
        "worker-kill" | "worker-restart" | "worker-pause" => "orphaned-work",
        "receiver-pause" | "sender-pause" if fans_out => "slow-subscriber",
        "receiver-pause" | "sender-pause" => "back-pressure",
        "broker-kill" | "broker-restart" | "disk-full" | "disk-readonly" => "durable-queue",
        "broker-pause" => "coordinated-omission",
        "link-cut" | "link-tear" | "link-refuse" => "reconnect-storm",
        "link-delay" | "link-throttle" | "link-blackhole" => "back-pressure",
        _ => return None,
    })
}
