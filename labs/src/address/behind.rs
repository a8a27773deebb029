//! The address of a broker as it is behind proxies on this host.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use anyhow::Result;

use super::{BrokerAddress, protocols};

impl BrokerAddress {
    /// The same broker behind other sockets on this host: `port` says which port of 127.0.0.1
    /// stands for the `HOST:PORT` that it gets, `file` which Unix socket for another.
    pub fn behind(
        &self,
        mut port: impl FnMut(&str) -> Result<u16>,
        file: impl FnOnce(&Path) -> Result<PathBuf>,
    ) -> Result<Self> {
        let mut behind = self.clone();
        if let Some(path) = &self.unix {
            behind.unix = Some(file(path)?);
        } else {
            let mut ports = BTreeMap::new();
            for (protocol, _) in protocols(self.broker) {
                ports.insert(*protocol, port(&self.endpoint(protocol)?.to_string())?);
            }
            (behind.host, behind.ports) = ("127.0.0.1".to_owned(), ports);
        }
        behind.open = behind.text(false);
        Ok(behind)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::broker::Broker;

    #[test]
    fn everything_but_the_sockets_stays() {
        let rabbitmq = "amqp://u:p@127.0.0.1:5/%2fx?heartbeat=3#stomp=6&mqtt=7";
        let rabbitmq = BrokerAddress::parse(Broker::RabbitMq, rabbitmq).expect("an address");
        let mut asked = Vec::new();
        let port = |at: &str| {
            asked.push(at.to_owned());
            Ok(1000 + at.len() as u16 + at.bytes().last().map_or(0, u16::from))
        };
        let behind = rabbitmq.behind(port, |path| Ok(path.to_owned())).expect("it is behind them");
        assert_eq!(asked, ["127.0.0.1:5", "127.0.0.1:6", "127.0.0.1:7"]);
        assert_eq!(behind.reveal(), "amqp://u:p@127.0.0.1:1064/%2fx?heartbeat=3#mqtt=1066&stomp=1065");
        let redis = BrokerAddress::parse(Broker::Redis, "redis+unix:///a/b?db=2&pass=p").expect("an address");
        let behind = redis.behind(|_| Ok(1), |_| Ok("/c".into())).expect("it is behind it");
        assert_eq!((behind.unix(), behind.database()), (Some(Path::new("/c")), 2));
    }
}
