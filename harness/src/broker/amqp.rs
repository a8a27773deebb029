//! AMQP 0-9-1, as far as it takes to log in and hear whether RabbitMQ takes messages:
//! without a client library, which would read whatever a server sends.

use anyhow::{Context as _, Result, bail, ensure};
use labs::lab::BrokerAddress;
use labs::printable::printable_bytes;

use super::conversation::Conversation;

const METHOD: u8 = 1;
const HEADER: u8 = 2;
const END: u8 = 0xce;

/// A method's class and number.
type Method = (u16, u16);
const START: Method = (10, 10);
const START_OK: Method = (10, 11);
const TUNE: Method = (10, 30);
const TUNE_OK: Method = (10, 31);
const OPEN: Method = (10, 40);
const OPEN_OK: Method = (10, 41);
const CLOSE: Method = (10, 50);
const BLOCKED: Method = (10, 60);
const CHANNEL_OPEN: Method = (20, 10);
const CHANNEL_OPEN_OK: Method = (20, 11);
const QOS: Method = (60, 10);
const QOS_OK: Method = (60, 11);
const PUBLISH: Method = (60, 40);

/// RabbitMQ's reply codes.
const ACCESS_REFUSED: u16 = 403;
const NOT_ALLOWED: u16 = 530;

/// Logs in, and publishes a message that no queue gets: RabbitMQ says that it blocks a connection
/// when the connection publishes. Returns the properties that the server has told.
pub(super) async fn log_in(amqp: &mut Conversation, address: &BrokerAddress) -> Result<Vec<u8>> {
    amqp.say(b"AMQP\x00\x00\x09\x01").await?;
    let properties = expect(amqp, START, address).await?;
    let endpoint = address.endpoint("amqp")?;
    let (user, password) = endpoint.login.unwrap_or_default();
    let secret = format!("\0{user}\0{password}");
    let start_ok = [client_properties(), short("PLAIN"), long(secret.as_bytes()), short("en_US")].concat();
    amqp.say(&method(0, START_OK, &start_ok)).await?;
    let tune = expect(amqp, TUNE, address).await?;
    // The server's own limits, and no heartbeat.
    let limits = tune.get(..6).context("it sends no limits where they are due")?;
    amqp.say(&method(0, TUNE_OK, &[limits, &[0, 0]].concat())).await?;
    amqp.say(&method(0, OPEN, &[short(address.vhost()), short(""), vec![0]].concat())).await?;
    expect(amqp, OPEN_OK, address).await?;
    amqp.say(&method(1, CHANNEL_OPEN, &short(""))).await?;
    expect(amqp, CHANNEL_OPEN_OK, address).await?;
    let publish = method(1, PUBLISH, &[vec![0, 0], short(""), short("lab-check"), vec![0]].concat());
    // Class 60, weight, a body of no bytes, no properties.
    let empty = frame(HEADER, 1, &[&[0, 60, 0, 0][..], &[0; 8], &[0, 0]].concat());
    // Any request that is answered: so a server that blocks nobody says something, too.
    let qos = method(1, QOS, &[0; 7]);
    amqp.say(&[publish, empty, qos].concat()).await?;
    expect(amqp, QOS_OK, address).await?;
    let bye = [&200u16.to_be_bytes()[..], &short("checked"), &[0; 4]].concat();
    let _ = amqp.say(&method(0, CLOSE, &bye)).await;
    Ok(properties)
}

/// The arguments of the method that is due, or what the server says instead.
async fn expect(amqp: &mut Conversation, due: Method, address: &BrokerAddress) -> Result<Vec<u8>> {
    let (found, arguments) = next_method(amqp).await?;
    match found {
        found if found == due => Ok(arguments),
        CLOSE => bail!(refusal(&arguments, address)),
        BLOCKED => {
            let reason = arguments.get(1..).map(printable_bytes).unwrap_or_default();
            bail!("RabbitMQ has blocked publishers: {reason}");
        }
        (class, number) => {
            bail!("it sends the method {class}.{number} where {}.{} was expected", due.0, due.1)
        }
    }
}

/// What `connection.close` says.
fn refusal(arguments: &[u8], address: &BrokerAddress) -> String {
    let code = arguments.get(..2).map_or(0, |code| u16::from_be_bytes([code[0], code[1]]));
    let length = arguments.get(2).copied().unwrap_or_default();
    let text = printable_bytes(arguments.get(3..3 + usize::from(length)).unwrap_or_default());
    match code {
        NOT_ALLOWED if text.contains("access to vhost") => format!("the user may not use the vhost: {text}"),
        ACCESS_REFUSED => format!("it refuses the login; are user and password right? It says {text}"),
        NOT_ALLOWED if text.contains("not found") && address.vhost().is_empty() => {
            "vhost `` does not exist; leave out the slash or write /%2f".to_owned()
        }
        NOT_ALLOWED if text.contains("not found") => format!("vhost `{}` does not exist", address.vhost()),
        _ => format!("it closes the connection: {text} ({code})"),
    }
}

/// The next method; heartbeats are skipped.
async fn next_method(amqp: &mut Conversation) -> Result<(Method, Vec<u8>)> {
    loop {
        // Frame: type (1 byte), channel (2), length (4), payload, end mark.
        let head = amqp.exactly(7).await?;
        ensure!(
            (METHOD..=8).contains(&head[0]),
            "it does not speak AMQP 0-9-1, but says `{}`",
            printable_bytes(&[&head[..], &amqp.unread()[..amqp.unread().len().min(93)]].concat())
        );
        let length = u32::from_be_bytes([head[3], head[4], head[5], head[6]]) as usize;
        let mut payload = amqp.exactly(length + 1).await?;
        ensure!(payload.pop() == Some(END), "a frame does not end where it should");
        if head[0] == METHOD {
            ensure!(payload.len() >= 4, "a method has only {} bytes", payload.len());
            let arguments = payload.split_off(4);
            return Ok((
                (u16::from_be_bytes([payload[0], payload[1]]), u16::from_be_bytes([payload[2], payload[3]])),
                arguments,
            ));
        }
    }
}

/// A table with one table, `capabilities`: the client wants to hear why it is refused or blocked.
fn client_properties() -> Vec<u8> {
    let capability = |name: &str| [short(name), b"t\x01".to_vec()].concat();
    let capabilities =
        [capability("authentication_failure_close"), capability("connection.blocked")].concat();
    long(&[short("capabilities"), b"F".to_vec(), long(&capabilities)].concat())
}

fn method(channel: u16, (class, number): Method, arguments: &[u8]) -> Vec<u8> {
    frame(METHOD, channel, &[&class.to_be_bytes()[..], &number.to_be_bytes(), arguments].concat())
}

fn frame(kind: u8, channel: u16, payload: &[u8]) -> Vec<u8> {
    [&[kind][..], &channel.to_be_bytes(), &(payload.len() as u32).to_be_bytes(), payload, &[END]].concat()
}

/// A text of at most 255 bytes behind its length; addresses with longer ones are refused.
fn short(text: &str) -> Vec<u8> {
    let text = &text.as_bytes()[..text.len().min(255)];
    [&[text.len() as u8], text].concat()
}

fn long(bytes: &[u8]) -> Vec<u8> {
    [&(bytes.len() as u32).to_be_bytes()[..], bytes].concat()
}

#[cfg(test)]
mod tests {
    use labs::lab::Broker;

    use super::*;

    #[test]
    fn refusals_are_explained() {
        let said = |code: u16, text: &str, url: &str| {
            let address = BrokerAddress::parse(Broker::RabbitMq, url).expect(url);
            refusal(&[&code.to_be_bytes()[..], &short(text), &[0; 4]].concat(), &address)
        };
        for (code, text, url, expected) in [
            (
                530,
                "NOT_ALLOWED - vhost  not found",
                "amqp://h/",
                "vhost `` does not exist; leave out the slash or write /%2f",
            ),
            (530, "NOT_ALLOWED - vhost a not found", "amqp://h/a", "vhost `a` does not exist"),
            (403, "ACCESS_REFUSED - Login was refused", "amqp://h", "are user and password right?"),
            (
                530,
                "NOT_ALLOWED - access to vhost 'a' refused for user 'me'",
                "amqp://h/a",
                "may not use the vhost",
            ),
            (541, "INTERNAL\x1b[2J", "amqp://h", "INTERNAL\\u{1b}[2J (541)"),
        ] {
            let said = said(code, text, url);
            assert!(said.contains(expected), "{said}");
        }
        let address = BrokerAddress::parse(Broker::RabbitMq, "amqp://h").expect("an address");
        assert!(refusal(&[], &address).contains("closes the connection"));
    }
}
