//! A broker's address in a line for a child process's stdin: the only form of it with a password.

use labs::lab::{Broker, BrokerAddress};
use serde::de::Error as _;
use serde::{Deserialize as _, Deserializer, Serialize as _, Serializer};

pub(crate) fn serialize<S: Serializer>(
    address: &Option<BrokerAddress>,
    serializer: S,
) -> Result<S::Ok, S::Error> {
    let open = address.as_ref().map(|address| (address.broker().as_str(), address.reveal()));
    open.serialize(serializer)
}

pub(crate) fn deserialize<'de, D: Deserializer<'de>>(
    deserializer: D,
) -> Result<Option<BrokerAddress>, D::Error> {
    let Some((name, open)) = Option::<(String, String)>::deserialize(deserializer)? else { return Ok(None) };
    let broker = Broker::ALL.into_iter().find(|broker| broker.as_str() == name);
    let broker = broker.ok_or_else(|| D::Error::custom("there is no such broker"))?;
    BrokerAddress::parse(broker, &open).map(Some).map_err(D::Error::custom)
}
