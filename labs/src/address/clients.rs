//! An address in the types of the client libraries that take it whole.

#[cfg(feature = "rabbitmq")]
use lapin::uri::{AMQPAuthority, AMQPQueryString, AMQPScheme, AMQPUri, AMQPUserInfo};

use super::BrokerAddress;

#[cfg(feature = "rabbitmq")]
impl BrokerAddress {
    /// For lapin.
    pub fn amqp_uri(&self) -> anyhow::Result<AMQPUri> {
        let endpoint = self.endpoint("amqp")?;
        let (username, password) = endpoint.login.unwrap_or_default();
        let number = |name: &str| self.parameters.get(name).copied();
        Ok(AMQPUri {
            scheme: AMQPScheme::AMQP,
            authority: AMQPAuthority {
                userinfo: AMQPUserInfo { username, password },
                host: endpoint.host,
                port: endpoint.port,
            },
            vhost: self.vhost().to_owned(),
            query: AMQPQueryString {
                frame_max: number("frame_max").map(u32::try_from).transpose()?,
                channel_max: number("channel_max").map(u16::try_from).transpose()?,
                heartbeat: number("heartbeat").map(u16::try_from).transpose()?,
                ..AMQPQueryString::default()
            },
        })
    }
}

#[cfg(feature = "redis")]
impl BrokerAddress {
    /// For the crate redis.
    pub fn redis_info(&self) -> anyhow::Result<redis::ConnectionInfo> {
        use redis::{ConnectionAddr, IntoConnectionInfo as _, RedisConnectionInfo};
        let at = match self.unix() {
            Some(path) => ConnectionAddr::Unix(path.to_owned()),
            None => {
                let endpoint = self.endpoint("redis")?;
                ConnectionAddr::Tcp(endpoint.host, endpoint.port)
            }
        };
        let mut settings = RedisConnectionInfo::default().set_db(i64::from(self.database));
        if let Some((user, password)) = self.login().map(super::Login::reveal) {
            if !user.is_empty() {
                settings = settings.set_username(user);
            }
            if let Some(password) = password {
                settings = settings.set_password(password);
            }
        }
        Ok(at.into_connection_info()?.set_redis_settings(settings))
    }
}
