//! Addresses of every broker, as users write them.

use proptest::prelude::*;

use super::*;

const SECRET: &str = "S3cret-Marker";

fn parse(broker: Broker, text: &str) -> BrokerAddress {
    BrokerAddress::parse(broker, text).unwrap_or_else(|error| panic!("{text}: {error:#}"))
}

/// Host, port and login of a broker's own protocol, as labs, checks and baselines get them.
#[test]
fn endpoints_are_read() {
    use Broker::{Mqtt, Nats, RabbitMq, Redis};
    let login = |user: &str, password: &str| Some((user.to_owned(), password.to_owned()));
    let guest = || login("guest", "guest");
    for (broker, text, protocol, host, port, who) in [
        (Redis, "redis://h", "redis", "h", 6379, None),
        (Redis, "valkey://h:7000", "redis", "h", 7000, None),
        (Redis, "REDIS://H:7000/", "redis", "h", 7000, None),
        (Redis, "redis://:pw@h", "redis", "h", 6379, login("", "pw")),
        (Redis, "redis://me:p%40ss%2F1@h:7/3", "redis", "h", 7, login("me", "p@ss/1")),
        (Redis, "redis://me:%2540@[::1]:7", "redis", "::1", 7, login("me", "%40")),
        (RabbitMq, "amqp://h", "amqp", "h", 5672, guest()),
        (RabbitMq, "amqp://me@h", "amqp", "h", 5672, login("me", "guest")),
        (RabbitMq, "amqp://me:@h", "amqp", "h", 5672, login("me", "")),
        (RabbitMq, "amqp://guest:guest@[2001:db8::1]:5672", "amqp", "2001:db8::1", 5672, guest()),
        (RabbitMq, "amqp://me:p%40ss%2F1@h:5673/%2f#stomp=7&mqtt=8", "stomp", "h", 7, login("me", "p@ss/1")),
        (RabbitMq, "amqp://me:pw@h:5673/%2f#stomp=7&mqtt=8", "mqtt", "h", 8, login("me", "pw")),
        (RabbitMq, "amqp://me:pw@h:5673/my%20vhost", "mqtt", "h", 1883, login("my vhost:me", "pw")),
        (RabbitMq, "amqp://me:pw@h:5673/my%20vhost", "stomp", "h", 61613, login("me", "pw")),
        (RabbitMq, "amqp://[::1]:5672", "stomp", "::1", 61613, guest()),
        (RabbitMq, "stomp://h:7", "stomp", "h", 7, guest()),
        (RabbitMq, "stomp://h:7", "amqp", "h", 5672, guest()),
        (RabbitMq, "stomp://h:7#amqp=9", "amqp", "h", 9, guest()),
        (Mqtt, "mqtt://h", "mqtt", "h", 1883, None),
        (Mqtt, "tcp://h:7/", "mqtt", "h", 7, None),
        (Mqtt, "mqtt://me:se@cret@h", "mqtt", "h", 1883, login("me", "se@cret")),
        (Mqtt, "mqtt://me:p%40ss%2F1@h", "mqtt", "h", 1883, login("me", "p@ss/1")),
        (Mqtt, "mqtt://me@[::1]:7", "mqtt", "::1", 7, login("me", "")),
        (Nats, "nats://h", "nats", "h", 4222, None),
        (Nats, "nats://me:pw@127.0.0.1:7", "nats", "127.0.0.1", 7, login("me", "pw")),
        (Nats, "nats://TOKEN@h:7", "nats", "h", 7, login("TOKEN", "")),
    ] {
        let address = parse(broker, text);
        let endpoint = address.endpoint(protocol).expect(text);
        assert_eq!(endpoint, Endpoint { host: host.to_owned(), port, login: who }, "{text}");
        // What one process passes to another is the same address.
        assert_eq!(parse(broker, address.reveal()), address, "{text} became {}", address.reveal());
    }
}

#[test]
fn a_token_is_no_user_with_an_empty_password() {
    let reveal = |text: &str| {
        let address = parse(Broker::Nats, text);
        let (user, password) = address.login().expect("a login").reveal();
        (user.to_owned(), password.map(str::to_owned))
    };
    assert_eq!(reveal("nats://t%2Fk@h"), ("t/k".to_owned(), None));
    assert_eq!(reveal("nats://me:@h"), ("me".to_owned(), Some(String::new())));
}

#[test]
fn vhosts_databases_and_sockets_are_read() {
    for (text, vhost) in [
        ("amqp://h", "/"),
        ("amqp://h/%2f", "/"),
        ("amqp://h/%2F", "/"),
        ("amqp://h/", ""),
        ("amqp://h/a/b", "a/b"),
        ("amqp://h/my%20vhost?heartbeat=10", "my vhost"),
    ] {
        assert_eq!(parse(Broker::RabbitMq, text).vhost(), vhost, "{text}");
    }
    for (text, database, unix) in [
        ("redis://h", 0, None),
        ("redis://h/", 0, None),
        ("redis://h/3", 3, None),
        ("redis://h/3?protocol=resp2", 3, None),
        ("redis+unix:///run/redis.sock", 0, Some("/run/redis.sock")),
        ("unix:///run/my%20redis.sock?db=3", 3, Some("/run/my redis.sock")),
        ("valkey+unix:///a/b?db=1&user=me&pass=p%40w", 1, Some("/a/b")),
    ] {
        let address = parse(Broker::Redis, text);
        assert_eq!((address.database(), address.unix()), (database, unix.map(Path::new)), "{text}");
        assert_eq!(parse(Broker::Redis, address.reveal()), address, "{text}");
    }
    let address = parse(Broker::Redis, "redis+unix:///s?db=1&user=me&pass=p%40w");
    assert_eq!(address.login().map(Login::reveal), Some(("me", Some("p@w"))));
    assert!(address.endpoint("redis").is_err(), "a socket has no port");
}

#[cfg(feature = "rabbitmq")]
#[test]
fn lapin_gets_what_the_address_says() {
    let uri = |text: &str| parse(Broker::RabbitMq, text).amqp_uri().expect(text);
    let all = uri("amqp://me:p%40w@[2001:db8::1]:7/my%20vhost?heartbeat=10&channel_max=5&frame_max=8192");
    assert_eq!((all.authority.host.as_str(), all.authority.port), ("2001:db8::1", 7));
    assert_eq!((&*all.authority.userinfo.username, &*all.authority.userinfo.password), ("me", "p@w"));
    assert_eq!(all.vhost, "my vhost");
    assert_eq!(
        (all.query.heartbeat, all.query.channel_max, all.query.frame_max),
        (Some(10), Some(5), Some(8192))
    );
    assert_eq!(uri("amqp://localhost"), lapin::uri::AMQPUri::default());
}

#[cfg(feature = "redis")]
#[test]
fn the_crate_redis_gets_what_the_address_says() {
    use redis::ConnectionAddr;
    for (text, at, user, password, database) in [
        ("redis://h:7/3", ConnectionAddr::Tcp("h".to_owned(), 7), None, None, 3),
        ("valkey://:p%40w@[::1]:7", ConnectionAddr::Tcp("::1".to_owned(), 7), None, Some("p@w"), 0),
        ("redis+unix:///s?db=2&user=u&pass=p", ConnectionAddr::Unix("/s".into()), Some("u"), Some("p"), 2),
    ] {
        let info = parse(Broker::Redis, text).redis_info().expect(text);
        let redis = info.redis_settings();
        assert_eq!(
            (info.addr(), redis.username(), redis.password(), redis.db()),
            (&at, user, password, database),
            "{text}"
        );
    }
}

/// Each is refused with these words, and none of its parts is quoted.
#[test]
fn what_cannot_be_expressed_is_refused() {
    use Broker::{Mqtt, Nats, RabbitMq, Redis};
    let tls = "TLS is not spoken here; nothing was sent";
    for (broker, text, said) in [
        (RabbitMq, "amqps://me:S3cret-Marker@h", tls),
        (Redis, "rediss://:S3cret-Marker@h", tls),
        (Redis, "valkeys://:S3cret-Marker@h", tls),
        (Mqtt, "mqtts://me:S3cret-Marker@h", tls),
        (Mqtt, "ssl://me:S3cret-Marker@h", tls),
        (Mqtt, "wss://me:S3cret-Marker@h", tls),
        (RabbitMq, "stomp+ssl://me:S3cret-Marker@h", tls),
        (Nats, "tls://me:S3cret-Marker@h", tls),
        (Nats, "nats+tls://me:S3cret-Marker@h", tls),
        (Redis, "S3cret-Marker", "it has no scheme"),
        (Redis, "amqp://:S3cret-Marker@h", "its scheme is `amqp`"),
        (RabbitMq, "redis://:S3cret-Marker@h", "its scheme is `redis`"),
        (Mqtt, "ws://me:S3cret-Marker@h", "its scheme is `ws`"),
        (Redis, "redis://:S3cret-Marker@", "it names no host"),
        (Redis, "redis://:S3cret-Marker@:6379", "it names no host"),
        (Redis, "redis://:S3cret-Marker@h:x", "a port is a number from 1 to 65535"),
        (Redis, "redis://me:S3cret-Marker", "a port is a number from 1 to 65535"),
        (Mqtt, "mqtt://me:S3cret-Marker@h:99999", "a port is a number from 1 to 65535"),
        (RabbitMq, "amqp://me:S3cret-Marker@h#stomp=x", "a port is a number from 1 to 65535"),
        (RabbitMq, "amqp://me:S3cret-Marker@::1", "written in brackets"),
        (RabbitMq, "amqp://me:S3cret-Marker@[::1", "has no `]`"),
        (RabbitMq, "amqp://me:S3cret-Marker@[::1%25eth0]", "not an IPv6 address"),
        (Nats, "nats://me:S3cret-Marker@a:1,b:2", "brackets"),
        (Redis, "redis://:S3cret-Mar/ker@h", "an `@` follows the host"),
        (Redis, "redis://:7/S3cret-Marker@h", "an `@` follows the host"),
        (RabbitMq, "amqp://me:7#S3cret-Marker@h", "an `@` follows the host"),
        (RabbitMq, "amqp://me:7?S3cret-Marker@h", "an `@` follows the host"),
        (Redis, "redis://:S3cret-Marker%@h", "the login cannot be read: `%` is not followed"),
        (Redis, "redis://:S3cret-Marker%0a@h", "control characters"),
        (Redis, "redis://:S3cret-Marker%ff@h", "not UTF-8"),
        (Redis, "redis://:S3cret-Marker @h", "it has blanks"),
        (Redis, "redis://:S3cret-Marker@h/x", "a database of Redis is a number"),
        (Redis, "redis://:S3cret-Marker@h/-1", "a database of Redis is a number"),
        (Redis, "redis://:S3cret-Marker@h?protocol=resp3", "`protocol` is a parameter"),
        (Redis, "redis://:S3cret-Marker@h#insecure", "nothing can follow `#`"),
        (Redis, "redis://me@h", "no user without a password"),
        (Redis, "redis+unix://h/s?pass=S3cret-Marker", "a Unix socket has a path and no host"),
        (Redis, "redis+unix://?pass=S3cret-Marker", "a Unix socket has a path"),
        (Redis, "redis+unix:///s?password=S3cret-Marker", "`password` is not a parameter here"),
        (RabbitMq, "amqp://me:S3cret-Marker@h/v?cacertfile=x", "`cacertfile` is not a parameter"),
        (
            RabbitMq,
            "amqp://me:S3cret-Marker@h/v?connection_timeout=x",
            "`connection_timeout` is not a parameter",
        ),
        (RabbitMq, "amqp://me:S3cret-Marker@h/v?heartbeat=99999", "`heartbeat` is not a number here"),
        (RabbitMq, "amqp://me:S3cret-Marker@h/v?heartbeat=1&heartbeat=2", "`heartbeat` is given twice"),
        (RabbitMq, "amqp://me:S3cret-Marker@h#https=1", "`https` behind `#` is not another protocol"),
        (Mqtt, "mqtt://me:S3cret-Marker@h/topic", "nothing can follow the slash"),
        (Mqtt, "mqtt://me:S3cret-Marker@h?clientId=x", "`clientId` is a parameter"),
        (Mqtt, "mqtt://:S3cret-Marker@h", "no password without a user"),
        (Nats, "nats://me:S3cret-Marker@h/x", "nothing can follow the slash"),
    ] {
        let error = match BrokerAddress::parse(broker, text) {
            Ok(address) => panic!("{text} became {}", address.reveal()),
            Err(error) => format!("{error:#}"),
        };
        assert!(error.contains(said), "{text}: {error}");
        assert!(!error.contains("S3cret") && !error.contains("ker@"), "{text}: {error}");
    }
    let long = format!("amqp://me:{}@h", "x".repeat(256));
    assert!(BrokerAddress::parse(Broker::RabbitMq, &long).is_err(), "AMQP cannot carry it");
}

#[test]
fn what_is_shown_has_no_login() {
    for (broker, text, shown) in [
        (
            Broker::RabbitMq,
            "amqp://me:S3cret-Marker@h:5672/%2f#stomp=7&mqtt=8",
            "amqp://…@h:5672/%2f#mqtt=8&stomp=7",
        ),
        (Broker::RabbitMq, "amqp://h", "amqp://h"),
        (Broker::RabbitMq, "amqp://me:S3cret-Marker@[::1]/v?heartbeat=9", "amqp://…@[::1]/v?heartbeat=9"),
        (Broker::Nats, "nats://S3cret-Marker@h", "nats://…@h"),
        (Broker::Redis, "valkey://:S3cret-Marker@h:7/3", "redis://…@h:7/3"),
        (Broker::Redis, "unix:///s%20t?db=3&pass=S3cret-Marker", "redis+unix:///s%20t?db=3&pass=…"),
        (Broker::Mqtt, "mqtt://S3cret-Marker:S3cret-Marker@h", "mqtt://…@h"),
    ] {
        let address = parse(broker, text);
        assert_eq!((address.to_string(), format!("{address:?}")), (shown.to_owned(), shown.to_owned()));
        let endpoint =
            address.unix().is_none().then(|| format!("{:?}", address.endpoint(protocols(broker)[0].0)));
        let parts = format!("{:?} {endpoint:?}", address.login());
        assert!(!parts.contains(SECRET), "{parts}");
        assert!(!format!("{:?}", crate::place::Place::new("p", Some(&address)).broker()).contains(SECRET));
    }
}

#[test]
fn what_a_broker_repeats_is_masked() {
    let redis = parse(Broker::Redis, "redis://:p%40ss-w0rd@h");
    assert_eq!(
        redis.without_secrets("unknown command `AUTH` with `p@ss-w0rd`"),
        "unknown command `AUTH` with `…`"
    );
    assert_eq!(redis.without_secrets(redis.reveal()), "redis://…@h");
    let nats = parse(Broker::Nats, "nats://tok@h");
    assert_eq!(
        nats.without_secrets("token tok is not the token of 'tok'"),
        "token … is not the token of '…'"
    );
    let guest = parse(Broker::RabbitMq, "amqp://guest:guest@h");
    assert_eq!(guest.without_secrets("user 'guest'"), "user 'guest'");
}

proptest! {
    /// Whatever a login, a vhost or a socket's path is, it is passed on unchanged and never shown.
    #[test]
    fn logins_survive_every_way(user in "[^\\p{C}]{1,12}", password in "[^\\p{C}]{1,12}", vhost in "[^\\p{C}]{0,12}") {
        let text = format!("amqp://{}:{}@h/{}", encode(&user), encode(&password), encode(&vhost));
        let address = parse(Broker::RabbitMq, &text);
        prop_assert_eq!(address.login().map(Login::reveal), Some((&*user, Some(&*password))));
        prop_assert_eq!(address.vhost(), &vhost);
        prop_assert_eq!(&parse(Broker::RabbitMq, address.reveal()), &address);
        prop_assert!(address.to_string().starts_with("amqp://…@h/"));
    }

    /// Any text is read or refused.
    #[test]
    fn no_text_is_too_much(text in "(redis|amqp|mqtt|nats|unix)://\\PC{0,40}") {
        for broker in Broker::ALL {
            if let Ok(address) = BrokerAddress::parse(broker, &text) {
                prop_assert_eq!(&parse(broker, address.reveal()), &address);
            }
        }
    }
}
