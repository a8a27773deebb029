//! The address of a broker: read once, by one parser, for labs, checks, baselines and
//! demonstrations. `Display` and `Debug` mask login and password. Code that connects gets the
//! open form from [`BrokerAddress::reveal`] and [`Login::reveal`], and from nowhere else.
//!
//! What a client cannot express is refused, never ignored; an error quotes nothing that could
//! be a password. TLS is not spoken: a scheme that asks for it is refused before a byte is sent.
//!
//! | broker | address |
//! | --- | --- |
//! | Redis | `redis://USER:PASSWORD@HOST:6379/DATABASE`, `redis+unix:///PATH?db=…&user=…&pass=…`; also `valkey` |
//! | RabbitMQ | `amqp://USER:PASSWORD@HOST:5672/VHOST?heartbeat=…#stomp=61613&mqtt=1883` |
//! | MQTT | `mqtt://USER:PASSWORD@HOST:1883`; also `tcp` |
//! | NATS | `nats://USER:PASSWORD@HOST:4222`, `nats://TOKEN@HOST:4222` |

mod behind;
#[cfg(any(feature = "rabbitmq", feature = "redis"))]
mod clients;
mod login;
mod parts;
mod percent;

use std::collections::BTreeMap;
use std::fmt;
use std::path::{Path, PathBuf};

use anyhow::{Context as _, Result, anyhow, bail, ensure};

use crate::broker::Broker;
pub use login::{Endpoint, Login};
use parts::Parts;
use percent::{decode, encode, encode_except, upper_escapes};

/// RabbitMQ's own defaults.
const GUEST: &str = "guest";
const ROOT_VHOST: &str = "/";
/// Parameters of AMQP's query that the client can express, each with its largest value.
const AMQP_PARAMETERS: [(&str, u64); 3] =
    [("channel_max", u16::MAX as u64), ("frame_max", u32::MAX as u64), ("heartbeat", u16::MAX as u64)];
/// Longest name of a vhost, user or password that AMQP and MQTT can carry, bytes.
const LONGEST_SHORT_STRING: usize = 255;
const LONGEST_MQTT_STRING: usize = u16::MAX as usize;

/// The protocols of a broker with their usual ports; its own comes first.
const fn protocols(broker: Broker) -> &'static [(&'static str, u16)] {
    match broker {
        Broker::Redis => &[("redis", 6379)],
        Broker::RabbitMq => &[("amqp", 5672), ("stomp", 61613), ("mqtt", 1883)],
        Broker::Mqtt => &[("mqtt", 1883)],
        Broker::Nats => &[("nats", 4222)],
    }
}

/// Other words for the scheme of a broker's own protocol.
const fn aliases(broker: Broker) -> &'static [&'static str] {
    match broker {
        Broker::Redis => &["valkey"],
        Broker::RabbitMq => &[],
        Broker::Mqtt | Broker::Nats => &["tcp"],
    }
}

/// Schemes of a Redis that listens at a Unix socket.
const UNIX: [&str; 3] = ["redis+unix", "valkey+unix", "unix"];

/// Where a broker listens, who connects, and in which part of it.
#[derive(Clone, PartialEq, Eq)]
pub struct BrokerAddress {
    broker: Broker,
    host: String,
    /// Ports that the address names, by protocol.
    ports: BTreeMap<&'static str, u16>,
    /// The path of a Unix socket, in place of host and ports.
    unix: Option<PathBuf>,
    login: Option<Login>,
    vhost: Option<String>,
    database: u32,
    parameters: BTreeMap<&'static str, u64>,
    /// The whole address, for [`BrokerAddress::reveal`].
    open: String,
}

impl BrokerAddress {
    /// Reads the address of this broker. An error names what is wrong and how it is written, and
    /// quotes no part that could be secret.
    pub fn parse(broker: Broker, text: &str) -> Result<Self> {
        Self::read(broker, text).map_err(|error| {
            let (own, _) = protocols(broker)[0];
            anyhow!("this is not an address of {broker}, as in {own}://HOST:PORT: {error:#}")
        })
    }

    fn read(broker: Broker, text: &str) -> Result<Self> {
        let scheme = parts::scheme(text)?;
        ensure!(
            !parts::asks_for_tls(&scheme),
            "`{scheme}` asks for TLS, and TLS is not spoken here; nothing was sent. Name a port where the broker \
             listens without TLS, and send passwords only over a network that you trust"
        );
        let mut parts = Parts::of(text)?;
        let mut address = Self {
            broker,
            host: std::mem::take(&mut parts.host),
            ports: BTreeMap::new(),
            unix: None,
            login: parts.login.take(),
            vhost: None,
            database: 0,
            parameters: BTreeMap::new(),
            open: String::new(),
        };
        if broker == Broker::Redis && UNIX.contains(&scheme.as_str()) {
            address.read_unix(&parts)?;
        } else {
            address.read_tcp(&scheme, &parts)?;
        }
        address.check_login()?;
        address.open = address.text(false);
        Ok(address)
    }

    fn read_tcp(&mut self, scheme: &str, parts: &Parts) -> Result<()> {
        let known = protocols(self.broker);
        let protocol = if aliases(self.broker).contains(&scheme) { known[0].0 } else { scheme };
        let protocol = known.iter().find(|(name, _)| *name == protocol);
        let (protocol, _) = protocol.with_context(|| format!("its scheme is `{scheme}`"))?;
        ensure!(!self.host.is_empty(), "it names no host");
        self.ports.extend(parts.port.map(|port| (*protocol, port)));
        for (name, value) in &parts.fragment {
            let other = known.iter().find(|(known, _)| known == name && known != protocol);
            let (other, _) = other.with_context(|| match known {
                [_] => "nothing can follow `#` here".to_owned(),
                _ => format!("`{name}` behind `#` is not another protocol of this broker"),
            })?;
            self.ports.insert(other, Parts::port_of(value)?);
        }
        let path = parts.path.as_deref();
        match self.broker {
            Broker::Redis => self.database = database(path.unwrap_or_default())?,
            Broker::RabbitMq => {
                let vhost = path.map(|path| decode(path).map_err(|why| anyhow!("the vhost: {why}")));
                self.vhost = vhost.transpose()?;
            }
            Broker::Mqtt | Broker::Nats => {
                ensure!(path.unwrap_or_default().is_empty(), "nothing can follow the slash behind the host");
            }
        }
        for (name, value) in &parts.query {
            let known = match self.broker {
                Broker::RabbitMq => AMQP_PARAMETERS.iter().find(|(known, _)| known == name),
                // The labs speak RESP 2, so this changes nothing.
                Broker::Redis if name == "protocol" && value == "resp2" => continue,
                _ => None,
            };
            let (known, most) = known.with_context(|| unknown(name, self.broker))?;
            let number = value.parse().ok().filter(|number| number <= most);
            self.parameters.insert(known, number.with_context(|| format!("`{name}` is not a number here"))?);
        }
        Ok(())
    }

    fn read_unix(&mut self, parts: &Parts) -> Result<()> {
        ensure!(
            self.host.is_empty() && parts.port.is_none() && self.login.is_none(),
            "a Unix socket has a path and no host, as in redis+unix:///run/redis.sock"
        );
        ensure!(parts.fragment.is_empty(), "nothing can follow `#` here");
        let path =
            decode(parts.path.as_deref().unwrap_or_default()).map_err(|why| anyhow!("the path: {why}"))?;
        ensure!(!path.is_empty(), "a Unix socket has a path, as in redis+unix:///run/redis.sock");
        self.unix = Some(Path::new("/").join(path));
        let (mut user, mut password) = (None, None);
        for (name, value) in &parts.query {
            match name.as_str() {
                "db" => self.database = database(value)?,
                "user" => user = Some(value.clone()),
                "pass" => password = Some(value.clone()),
                name => bail!("`{name}` is not a parameter here; there are db, user and pass"),
            }
        }
        if user.is_some() || password.is_some() {
            self.login = Some(Login::new(user.unwrap_or_default(), password));
        }
        Ok(())
    }

    /// What the broker's protocols cannot carry is refused.
    fn check_login(&self) -> Result<()> {
        let (user, password) = self.login.as_ref().map_or(("", None), Login::reveal);
        let longest =
            if self.broker == Broker::RabbitMq { LONGEST_SHORT_STRING } else { LONGEST_MQTT_STRING };
        for part in [user, password.unwrap_or_default(), self.vhost.as_deref().unwrap_or_default()] {
            ensure!(part.len() <= longest, "a name, a password or a vhost is longer than {longest} bytes");
        }
        match self.broker {
            Broker::Mqtt if user.is_empty() && password.is_some() => {
                bail!("MQTT has no password without a user")
            }
            Broker::Redis if !user.is_empty() && password.is_none() => {
                bail!("Redis has no user without a password")
            }
            _ => Ok(()),
        }
    }

    /// Which broker it is.
    pub fn broker(&self) -> Broker {
        self.broker
    }

    /// The whole address with its password, which [`BrokerAddress::parse`] reads again. Only for a
    /// process or a client that connects; never for a person, a file or a process's arguments.
    pub fn reveal(&self) -> &str {
        &self.open
    }

    /// Whether it has a login, which other people must not see.
    pub fn is_secret(&self) -> bool {
        self.login.is_some()
    }

    /// Who connects, if the address says it.
    pub fn login(&self) -> Option<&Login> {
        self.login.as_ref()
    }

    /// The path of the Unix socket, if it is one.
    pub fn unix(&self) -> Option<&Path> {
        self.unix.as_deref()
    }

    /// RabbitMQ's vhost; without one in the address, that is `/`.
    pub fn vhost(&self) -> &str {
        self.vhost.as_deref().unwrap_or(ROOT_VHOST)
    }

    /// The number of Redis's database.
    pub fn database(&self) -> u32 {
        self.database
    }

    /// Host, port and login of one of the broker's protocols (`amqp`, `stomp`, `mqtt`, `redis`,
    /// `nats`). A port that is not named is the usual one. RabbitMQ lets `guest` in where there is
    /// no login, and gets the vhost of an MQTT client in front of its user.
    pub fn endpoint(&self, protocol: &str) -> Result<Endpoint> {
        let known = protocols(self.broker).iter().find(|(name, _)| *name == protocol);
        let (_, usual) = known.with_context(|| format!("{self} is not a broker that speaks {protocol}"))?;
        ensure!(self.unix.is_none(), "{self} is a Unix socket, and has no port");
        let named = self.login.as_ref().map(Login::reveal);
        let login = match (self.broker, named) {
            (Broker::RabbitMq, named) => {
                let (user, password) = named.unwrap_or((GUEST, None));
                let (user, password) = (user.to_owned(), password.unwrap_or(GUEST).to_owned());
                match (protocol, self.vhost()) {
                    ("mqtt", _) if user.contains(':') => {
                        bail!("RabbitMQ takes a `:` in the user of an MQTT client for the end of a vhost")
                    }
                    ("mqtt", vhost) if vhost != ROOT_VHOST => Some((format!("{vhost}:{user}"), password)),
                    _ => Some((user, password)),
                }
            }
            (_, named) => {
                named.map(|(user, password)| (user.to_owned(), password.unwrap_or_default().to_owned()))
            }
        };
        let port = self.ports.get(protocol).unwrap_or(usual);
        Ok(Endpoint { host: self.host.clone(), port: *port, login })
    }

    /// A text of the broker's, or an error about it, without this address's password: a broker may
    /// repeat what it got.
    pub fn without_secrets(&self, text: &str) -> String {
        let (user, password) = self.login.as_ref().map_or(("", None), Login::reveal);
        // A user without a password is a token. A password that equals the user is no secret.
        let secret = password.unwrap_or(if self.broker == Broker::Nats { user } else { "" });
        if secret.is_empty() || password == Some(user) {
            return text.to_owned();
        }
        let mut masked = text.replace(self.reveal(), &self.to_string());
        for secret in [secret.to_owned(), encode(secret), upper_escapes(&encode(secret))] {
            masked = replace_word(&masked, &secret);
        }
        masked
    }

    /// The address; `masked` leaves out the login.
    fn text(&self, masked: bool) -> String {
        let (user, password) = self.login.as_ref().map_or(("", None), Login::reveal);
        let mut query: Vec<String> = Vec::new();
        if let Some(path) = &self.unix {
            if self.database > 0 {
                query.push(format!("db={}", self.database));
            }
            match (masked, user, password) {
                (true, ..) => query.extend(self.login.as_ref().map(|_| "pass=…".to_owned())),
                (false, user, password) => {
                    query.extend(
                        Some(user)
                            .filter(|user| !user.is_empty())
                            .map(|user| format!("user={}", encode(user))),
                    );
                    query.extend(password.map(|password| format!("pass={}", encode(password))));
                }
            }
            return format!(
                "redis+unix://{}{}",
                encode_except(&path.to_string_lossy(), "/"),
                joined('?', &query)
            );
        }
        let (own, _) = protocols(self.broker)[0];
        let login = match (&self.login, masked) {
            (None, _) => String::new(),
            (Some(_), true) => "…@".to_owned(),
            (Some(_), false) => {
                let password = password.map(|password| format!(":{}", encode(password)));
                format!("{}{}@", encode(user), password.unwrap_or_default())
            }
        };
        let host = if self.host.contains(':') { format!("[{}]", self.host) } else { self.host.clone() };
        let port = self.ports.get(own).map(|port| format!(":{port}")).unwrap_or_default();
        let path = match (&self.vhost, self.database) {
            (Some(vhost), _) => format!("/{}", encode(vhost)),
            (None, 0) => String::new(),
            (None, database) => format!("/{database}"),
        };
        query.extend(self.parameters.iter().map(|(name, value)| format!("{name}={value}")));
        let others = self.ports.iter().filter(|(name, _)| **name != own);
        let others: Vec<String> = others.map(|(name, port)| format!("{name}={port}")).collect();
        let (query, others) = (joined('?', &query), joined('#', &others));
        format!("{own}://{login}{host}{port}{path}{query}{others}")
    }
}

/// The address without its login.
impl fmt::Display for BrokerAddress {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(&self.text(true))
    }
}

impl fmt::Debug for BrokerAddress {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

fn joined(before: char, pairs: &[String]) -> String {
    if pairs.is_empty() { String::new() } else { format!("{before}{}", pairs.join("&")) }
}

fn database(text: &str) -> Result<u32> {
    match text {
        "" => Ok(0),
        number => number.parse().ok().context("a database of Redis is a number, as in redis://HOST:PORT/3"),
    }
}

fn unknown(name: &str, broker: Broker) -> String {
    match broker {
        Broker::RabbitMq => {
            let known = AMQP_PARAMETERS.map(|(name, _)| name).join(", ");
            format!("`{name}` is not a parameter that the labs' client has; it has {known}")
        }
        _ => format!("`{name}` is a parameter, and the labs' client has none"),
    }
}

/// `text` with `…` for each `secret`. A short one counts only as a word of its own: else it would
/// be found in other words.
fn replace_word(text: &str, secret: &str) -> String {
    let mut masked = String::with_capacity(text.len());
    let mut rest = text;
    while let Some(at) = rest.find(secret) {
        let (before, after) = (&rest[..at], &rest[at + secret.len()..]);
        let inside = before
            .chars()
            .next_back()
            .or_else(|| masked.chars().next_back())
            .is_some_and(char::is_alphanumeric)
            || after.starts_with(char::is_alphanumeric);
        masked.push_str(before);
        masked.push_str(if inside && secret.len() < 8 { secret } else { "…" });
        rest = after;
    }
    masked + rest
}

#[cfg(test)]
mod tests;
