//! Reads the reason codes of the broker's acknowledgements.

use rumqttc::v5::mqttbytes::v5::{PubAckReason, PubCompReason, PubRecReason, SubscribeReasonCode};

/// What the broker says of a message or a request: accepted or refused.
pub(super) type Answer = Result<(), Refusal>;

#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Refusal {
    /// Nobody has subscribed: the broker has dropped it. To MQTT that is not a failure.
    Nobody,
    /// The reason that the broker gives.
    Because(String),
}

pub(super) fn puback(reason: PubAckReason) -> Answer {
    match reason {
        PubAckReason::Success => Ok(()),
        PubAckReason::NoMatchingSubscribers => Err(Refusal::Nobody),
        other => Err(Refusal::Because(format!("{other:?}"))),
    }
}

pub(super) fn pubrec(reason: PubRecReason) -> Answer {
    match reason {
        PubRecReason::Success => Ok(()),
        PubRecReason::NoMatchingSubscribers => Err(Refusal::Nobody),
        other => Err(Refusal::Because(format!("{other:?}"))),
    }
}

pub(super) fn pubcomp(reason: PubCompReason) -> Answer {
    match reason {
        PubCompReason::Success => Ok(()),
        other => Err(Refusal::Because(format!("{other:?}"))),
    }
}

pub(super) fn suback(codes: &[SubscribeReasonCode]) -> Answer {
    match codes.iter().find(|code| !matches!(code, SubscribeReasonCode::Success(_))) {
        None => Ok(()),
        Some(code) => Err(Refusal::Because(format!("{code:?}"))),
    }
}
