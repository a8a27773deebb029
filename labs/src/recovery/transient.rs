//! Which errors are transient: the connection is gone, or the broker is starting again. All others
//! are final.

use std::borrow::Cow;
use std::error::Error as StdError;
use std::fmt;
use std::io;

use anyhow::Error;

/// A connection has ended. Labs return it where no error of a library says so: a peer has closed
/// its side, the task that writes and reads has ended, nobody has answered in time.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Disconnected(pub Cow<'static, str>);

impl Disconnected {
    /// With the reason, for people.
    pub const fn new(why: &'static str) -> Self {
        Self(Cow::Borrowed(why))
    }
}

impl fmt::Display for Disconnected {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(&self.0)
    }
}

impl StdError for Disconnected {}

/// [`Disconnected`], as an error.
pub fn disconnected(why: impl Into<Cow<'static, str>>) -> Error {
    Error::new(Disconnected(why.into()))
}

/// Marks the error of a request whose connection was lost before the reply came. A responder may
/// have handled it. Find it with [`Error::is`].
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct ConnectionLost;

impl fmt::Display for ConnectionLost {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad("the connection was lost before the reply came; the request may have been handled")
    }
}

impl StdError for ConnectionLost {}

/// Whether the connection is gone, or the broker is starting again, so that the operation may
/// succeed over a new connection. It looks at every cause of the error.
pub fn is_transient(error: &Error) -> bool {
    error.is::<Disconnected>() || error.is::<ConnectionLost>() || error.chain().any(is_cause)
}

fn is_cause(cause: &(dyn StdError + 'static)) -> bool {
    is_io(cause)
        || cause.is::<Disconnected>()
        || cause.is::<tokio::time::error::Elapsed>()
        || is_redis(cause)
        || is_amqp(cause)
        || is_nats(cause)
        || is_mqtt(cause)
        || is_zeromq(cause)
        || is_websocket(cause)
        || is_http(cause)
}

fn is_io(cause: &(dyn StdError + 'static)) -> bool {
    use io::ErrorKind as Kind;
    let Some(error) = cause.downcast_ref::<io::Error>() else { return false };
    let kinds = [
        Kind::ConnectionRefused,
        Kind::ConnectionReset,
        Kind::ConnectionAborted,
        Kind::NotConnected,
        Kind::BrokenPipe,
        Kind::UnexpectedEof,
        Kind::TimedOut,
        Kind::HostUnreachable,
        Kind::NetworkUnreachable,
        Kind::NetworkDown,
    ];
    // An error of another library inside is not among its causes.
    kinds.contains(&error.kind()) || error.get_ref().is_some_and(|inner| is_cause(inner))
}

#[cfg(feature = "redis")]
fn is_redis(cause: &(dyn StdError + 'static)) -> bool {
    use redis::{ErrorKind, ServerErrorKind};
    // Loading: it reads its log after a restart.
    cause.downcast_ref::<redis::RedisError>().is_some_and(|error| {
        matches!(error.kind(), ErrorKind::Io | ErrorKind::Server(ServerErrorKind::BusyLoading))
    })
}

#[cfg(feature = "rabbitmq")]
fn is_amqp(cause: &(dyn StdError + 'static)) -> bool {
    use lapin::ErrorKind;
    use lapin::protocol::{AMQPErrorKind, AMQPHardError};
    match cause.downcast_ref::<lapin::Error>().map(lapin::Error::kind) {
        Some(
            ErrorKind::InvalidChannel(_)
            | ErrorKind::InvalidChannelState(..)
            | ErrorKind::InvalidConnectionState(_)
            | ErrorKind::IOError(_)
            | ErrorKind::MissingHeartbeatError,
        ) => true,
        // The broker is stopped, or something in it has crashed.
        Some(ErrorKind::ProtocolError(error)) => matches!(
            error.kind(),
            AMQPErrorKind::Hard(AMQPHardError::CONNECTIONFORCED | AMQPHardError::INTERNALERROR)
        ),
        _ => false,
    }
}

#[cfg(feature = "nats")]
fn is_nats(cause: &(dyn StdError + 'static)) -> bool {
    use async_nats::client::{FlushError, PublishError, PublishErrorKind, RequestError, RequestErrorKind};
    use async_nats::jetstream::context::{PublishError as Store, PublishErrorKind as StoreKind};
    if let Some(error) = cause.downcast_ref::<async_nats::ConnectError>() {
        use async_nats::ConnectErrorKind as Kind;
        return matches!(error.kind(), Kind::Io | Kind::TimedOut | Kind::MaxReconnects);
    }
    if let Some(error) = cause.downcast_ref::<PublishError>() {
        return error.kind() == PublishErrorKind::Send;
    }
    if let Some(error) = cause.downcast_ref::<RequestError>() {
        return matches!(error.kind(), RequestErrorKind::TimedOut | RequestErrorKind::Other);
    }
    if let Some(error) = cause.downcast_ref::<Store>() {
        return matches!(error.kind(), StoreKind::TimedOut | StoreKind::BrokenPipe);
    }
    cause.is::<FlushError>()
}

#[cfg(feature = "mqtt")]
fn is_mqtt(cause: &(dyn StdError + 'static)) -> bool {
    use rumqttc::v5::mqttbytes::Error;
    use rumqttc::v5::mqttbytes::v5::{ConnectReturnCode as Code, DisconnectReasonCode as Reason};
    use rumqttc::v5::{ConnectionError, StateError};
    match cause.downcast_ref::<ConnectionError>() {
        Some(ConnectionError::ConnectionRefused(code)) => {
            matches!(code, Code::ServerUnavailable | Code::ServerBusy)
        }
        Some(ConnectionError::MqttState(state)) => match state {
            StateError::Io(_) | StateError::ConnectionAborted | StateError::AwaitPingResp => true,
            StateError::Deserialization(Error::Io(error)) => is_io(error),
            // Another client has the session now: taking it back would go on for ever.
            StateError::ServerDisconnect { reason_code, .. } => *reason_code != Reason::SessionTakenOver,
            _ => false,
        },
        Some(other) => !matches!(other, ConnectionError::NotConnAck(_)),
        None => cause.downcast_ref::<rumqttc::v5::ClientError>().is_some(),
    }
}

#[cfg(feature = "zeromq")]
fn is_zeromq(cause: &(dyn StdError + 'static)) -> bool {
    use zeromq::ZmqError;
    matches!(
        cause.downcast_ref::<ZmqError>(),
        Some(
            ZmqError::Network(_) | ZmqError::ReturnToSender { .. } | ZmqError::ReturnToSenderMultipart { .. }
        )
    )
}

#[cfg(feature = "websocket")]
fn is_websocket(cause: &(dyn StdError + 'static)) -> bool {
    use tokio_tungstenite::tungstenite::Error;
    use tokio_tungstenite::tungstenite::error::ProtocolError;
    matches!(
        cause.downcast_ref::<Error>(),
        Some(
            Error::ConnectionClosed
                | Error::AlreadyClosed
                | Error::Protocol(
                    ProtocolError::ResetWithoutClosingHandshake
                        | ProtocolError::SendAfterClosing
                        | ProtocolError::HandshakeIncomplete
                )
        )
    )
}

#[cfg(feature = "http")]
fn is_http(cause: &(dyn StdError + 'static)) -> bool {
    let is = |error: &hyper::Error| {
        error.is_closed() || error.is_canceled() || error.is_incomplete_message() || error.is_timeout()
    };
    cause.downcast_ref::<hyper::Error>().is_some_and(is)
}

macro_rules! without {
    ($($feature:literal $is:ident),*) => {$(
        #[cfg(not(feature = $feature))]
        fn $is(_: &(dyn StdError + 'static)) -> bool {
            false
        }
    )*};
}
without!(
    "redis" is_redis, "rabbitmq" is_amqp, "nats" is_nats, "mqtt" is_mqtt, "zeromq" is_zeromq,
    "websocket" is_websocket, "http" is_http
);

/// Whether the broker has refused the login: it will refuse it the next time, too.
pub(super) fn is_refused_login(error: &Error) -> bool {
    error.chain().any(refuses_login)
}

#[cfg_attr(
    not(any(feature = "redis", feature = "nats", feature = "mqtt", feature = "rabbitmq")),
    expect(unused_variables, reason = "no client is built in that says so")
)]
fn refuses_login(cause: &(dyn StdError + 'static)) -> bool {
    #[cfg(feature = "redis")]
    if let Some(error) = cause.downcast_ref::<redis::RedisError>() {
        return error.kind() == redis::ErrorKind::AuthenticationFailed
            || matches!(error.code(), Some("WRONGPASS" | "NOAUTH"));
    }
    #[cfg(feature = "nats")]
    if let Some(error) = cause.downcast_ref::<async_nats::ConnectError>() {
        use async_nats::ConnectErrorKind as Kind;
        return matches!(error.kind(), Kind::AuthorizationViolation | Kind::Authentication);
    }
    #[cfg(feature = "mqtt")]
    if let Some(rumqttc::v5::ConnectionError::ConnectionRefused(code)) = cause.downcast_ref() {
        use rumqttc::v5::mqttbytes::v5::ConnectReturnCode as Code;
        return matches!(code, Code::BadUserNamePassword | Code::NotAuthorized | Code::Banned);
    }
    #[cfg(feature = "rabbitmq")]
    if let Some(error) = cause.downcast_ref::<lapin::Error>() {
        use lapin::protocol::{AMQPErrorKind, AMQPSoftError};
        return matches!(error.kind(), lapin::ErrorKind::ProtocolError(error)
            if matches!(error.kind(), AMQPErrorKind::Soft(AMQPSoftError::ACCESSREFUSED)));
    }
    false
}

#[cfg(test)]
mod tests {
    use anyhow::Context as _;

    use super::*;

    fn io(kind: io::ErrorKind) -> Error {
        Error::new(io::Error::from(kind))
    }

    #[test]
    fn what_a_new_connection_may_mend_is_transient() {
        let transient = [
            io(io::ErrorKind::ConnectionReset),
            io(io::ErrorKind::UnexpectedEof),
            io(io::ErrorKind::ConnectionRefused),
            Error::new(io::Error::other(Disconnected("inside".into()))),
            disconnected("the peer has left"),
            Error::new(ConnectionLost),
            #[cfg(feature = "redis")]
            Error::new(redis::RedisError::from(io::Error::from(io::ErrorKind::BrokenPipe))),
            #[cfg(feature = "rabbitmq")]
            Error::new(lapin::Error::from(lapin::ErrorKind::MissingHeartbeatError)),
            #[cfg(feature = "nats")]
            Error::new(async_nats::ConnectError::new(async_nats::ConnectErrorKind::Io)),
            #[cfg(feature = "nats")]
            Error::new(async_nats::client::PublishError::new(async_nats::client::PublishErrorKind::Send)),
            #[cfg(feature = "mqtt")]
            Error::new(rumqttc::v5::ConnectionError::RequestsDone),
            #[cfg(feature = "mqtt")]
            Error::new(rumqttc::v5::ConnectionError::MqttState(rumqttc::v5::StateError::Deserialization(
                rumqttc::v5::mqttbytes::Error::Io(io::ErrorKind::ConnectionReset.into()),
            ))),
            #[cfg(feature = "zeromq")]
            Error::new(zeromq::ZmqError::Network(io::ErrorKind::ConnectionReset.into())),
            #[cfg(feature = "websocket")]
            Error::new(tokio_tungstenite::tungstenite::Error::ConnectionClosed),
        ];
        for error in transient {
            assert!(is_transient(&error), "{error:?}");
            let error = Err::<(), _>(error).context("one thing").context("another").expect_err("it is one");
            assert!(is_transient(&error), "{error:?}");
            assert!(!is_refused_login(&error), "{error:?}");
        }
        let marked = Err::<(), _>(anyhow::anyhow!("ended")).context(Disconnected("in a context".into()));
        assert!(is_transient(&marked.expect_err("it is one")));
    }

    #[test]
    fn what_would_fail_again_is_final() {
        let last = [
            anyhow::anyhow!("the frame is too long"),
            io(io::ErrorKind::PermissionDenied),
            io(io::ErrorKind::InvalidData),
            io(io::ErrorKind::AddrInUse),
            #[cfg(feature = "redis")]
            Error::new(redis::RedisError::from((redis::ErrorKind::AuthenticationFailed, "no"))),
            #[cfg(feature = "nats")]
            Error::new(async_nats::client::PublishError::new(
                async_nats::client::PublishErrorKind::MaxPayloadExceeded,
            )),
            #[cfg(feature = "nats")]
            Error::new(async_nats::ConnectError::new(async_nats::ConnectErrorKind::AuthorizationViolation)),
            #[cfg(feature = "mqtt")]
            Error::new(rumqttc::v5::ConnectionError::ConnectionRefused(
                rumqttc::v5::mqttbytes::v5::ConnectReturnCode::NotAuthorized,
            )),
            #[cfg(feature = "websocket")]
            Error::new(tokio_tungstenite::tungstenite::Error::Utf8("no text".to_owned())),
        ];
        for error in last {
            assert!(!is_transient(&error), "{error:?}");
        }
    }

    #[test]
    fn a_refused_login_is_known() {
        let refused: Vec<Error> = vec![
            #[cfg(feature = "redis")]
            Error::new(redis::RedisError::from((redis::ErrorKind::AuthenticationFailed, "no"))),
            #[cfg(feature = "nats")]
            Error::new(async_nats::ConnectError::new(async_nats::ConnectErrorKind::AuthorizationViolation)),
            #[cfg(feature = "mqtt")]
            Error::new(rumqttc::v5::ConnectionError::ConnectionRefused(
                rumqttc::v5::mqttbytes::v5::ConnectReturnCode::BadUserNamePassword,
            )),
        ];
        for error in refused {
            assert!(is_refused_login(&error.context("cannot connect")));
        }
        assert!(!is_refused_login(&io(io::ErrorKind::ConnectionRefused)));
    }
}
