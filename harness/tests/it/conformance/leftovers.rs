//! What a lab has left in a broker: nothing.

use std::time::Duration;

use anyhow::{Result, ensure};
use labs::lab::Broker;

use super::{Site, durable, mqtt, nats};

/// Nothing is in this broker, in RabbitMQ nothing that is named after the site.
pub(crate) async fn nothing_left(broker: Broker, there: &Site) -> Result<()> {
    match broker {
        Broker::Redis => no_keys_and_clients(there).await,
        Broker::Mqtt => mqtt::nothing_is_left(there).await,
        Broker::Nats => nats::nothing_left(there).await,
        Broker::RabbitMq => no_queues_and_exchanges(there).await,
    }
}

async fn no_keys_and_clients(site: &Site) -> Result<()> {
    let mut redis = redis::Client::open(site.url()?)?.get_multiplexed_async_connection().await?;
    let gone = async {
        loop {
            let keys: Vec<String> = redis::cmd("KEYS").arg("*").query_async(&mut redis).await?;
            ensure!(keys.is_empty(), "these keys stay in Redis: {}", keys.join(", "));
            let clients: String = redis::cmd("CLIENT").arg("LIST").query_async(&mut redis).await?;
            if clients.lines().count() == 1 {
                return Ok(());
            }
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
    };
    site.soon("all clients leave Redis", gone).await
}

/// RabbitMQ tells nobody but its administrator what there is; so everything is
/// asked for that has, or could have, the place's name or a part's.
pub(super) async fn no_queues_and_exchanges(site: &Site) -> Result<()> {
    use lapin::options::{ExchangeDeclareOptions, QueueDeclareOptions};
    let connection = lapin::Connection::connect(site.url()?, Default::default()).await?;
    let place = site.place();
    let parts = ["tasks", "results", "control"].map(|part| place.namespace(part).name());
    let subscribers = durable::IDS.map(|id| format!("{}.{id}", place.name()));
    let dead = format!("{}.dead", place.name());
    for name in [place.name(), dead].into_iter().chain(parts).chain(subscribers) {
        let passive = QueueDeclareOptions { passive: true, ..Default::default() };
        // A failed question closes its channel.
        let channel = connection.create_channel().await?;
        let queue = channel.queue_declare(name.as_str().into(), passive, Default::default()).await;
        ensure!(queue.is_err(), "the queue {name} stays in RabbitMQ");
        let passive = ExchangeDeclareOptions { passive: true, ..Default::default() };
        let channel = connection.create_channel().await?;
        let kind = lapin::ExchangeKind::Topic;
        let exchange =
            channel.exchange_declare(name.as_str().into(), kind, passive, Default::default()).await;
        ensure!(exchange.is_err(), "the exchange {name} stays in RabbitMQ");
    }
    connection.close(200, "done".into()).await?;
    Ok(())
}
