//! The user's choice of a broker, `--url BROKER=…`: an address, or where a private one
//! comes from.

use std::collections::BTreeMap;
use std::fs::{File, OpenOptions};
use std::io::{Read as _, Write as _};
use std::os::unix::fs::OpenOptionsExt as _;

use anyhow::{Context as _, Result, bail};
use labs::lab::{Broker, BrokerAddress};

use super::wheel::Wheel;
use crate::process::guard;

/// In the place of an address: the wheel's program, also where there is another.
const WHEEL: &str = "wheel";
/// In the place of an address: the broker inside this program.
const EMBEDDED: &str = "embedded";
/// Before the name of a file that holds the address: who may read the file may read the password,
/// and everybody may read a process's arguments.
const FILE: char = '@';
/// Longest file with an address, bytes.
const LONGEST: u64 = 8192;

/// The source that the user has chosen for a broker.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Choice {
    /// The user's own.
    Address(BrokerAddress),
    /// The program out of its wheel.
    Wheel,
    /// The broker inside this program.
    Embedded,
}

/// The user's choices; a broker that is not in here is found on this machine.
pub type Choices = BTreeMap<Broker, Choice>;

impl Choice {
    /// Reads an address, `@FILE` with an address in it, `wheel` or `embedded`.
    pub fn parse(broker: Broker, text: &str) -> Result<Self> {
        match text {
            WHEEL if Wheel::of(broker).is_some() => Ok(Self::Wheel),
            EMBEDDED if broker == Broker::Mqtt => Ok(Self::Embedded),
            WHEEL | EMBEDDED => bail!("`wheel` is possible for redis and nats, `embedded` for mqtt"),
            _ => address(broker, text).map(Self::Address),
        }
    }
}

/// Reads an address, or the file that holds it.
pub fn address(broker: Broker, text: &str) -> Result<BrokerAddress> {
    let Some(path) = text.strip_prefix(FILE) else { return BrokerAddress::parse(broker, text) };
    let mut held = String::new();
    File::open(path).and_then(|file| file.take(LONGEST).read_to_string(&mut held)).with_context(|| {
        format!("cannot read the address of {broker} in {path}; has the other terminal ended?")
    })?;
    BrokerAddress::parse(broker, held.trim())
}

/// An address as another terminal can use it: an open one as it is, one with a login as a file that
/// only this user can read, and that is removed when this program ends.
pub fn for_another_terminal(address: &BrokerAddress) -> Result<String> {
    if !address.is_secret() {
        return Ok(address.to_string());
    }
    let path = guard::session_dir().join(format!("{}-{}.address", address.broker(), std::process::id()));
    let about = || format!("cannot write {}", path.display());
    let file = OpenOptions::new().write(true).create(true).truncate(true).mode(0o600).open(&path);
    writeln!(file.with_context(about)?, "{}", address.reveal()).with_context(about)?;
    Ok(format!("{FILE}{}", path.display()))
}
