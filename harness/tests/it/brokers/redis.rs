//! Redis, as a private broker and as the user's own.

use anyhow::{Context as _, Result, bail, ensure};
use harness::broker::{Options, Server, Source};
use harness::measure::cost::Usage;
use harness::process::runs;
use labs::lab::{Broker, Guarantee};

use super::{empty, listeners, start};
use crate::wait_until;

pub(super) async fn client(server: &Server) -> Result<redis::aio::MultiplexedConnection> {
    Ok(redis::Client::open(server.address().reveal())?.get_multiplexed_async_connection().await?)
}

pub(super) async fn lives() -> Result<()> {
    let dir = tempfile::tempdir()?;
    let mut server = start(Broker::Redis, false, &dir).await?;
    ensure!(
        server.version().starts_with(|first: char| first.is_ascii_digit() || first == 'v'),
        "{}",
        server.version()
    );
    ensure!(server.settings().get("appendonly").map(String::as_str) == Some("no"), "{:?}", server.settings());
    let limit = server.guarantee_limit().context("no limit although nothing is kept")?;
    ensure!(limit.0 == Guarantee::AtLeastOnce, "{limit:?}");
    ensure!(server.died().is_none(), "it is said to have died");
    let pids = server.pids().context("no pids")?;
    listeners(&pids, 1)?;
    ensure!(Usage::of_tree(&pids).rss_bytes > 1 << 20, "its memory is not seen");
    server.kill()?;
    ensure!(!pids.iter().any(|&pid| runs(pid)), "it survived kill");
    server.stop().await?;
    empty(&dir)?;
    // Dropped instead of stopped, it leaves nothing either.
    let server = start(Broker::Redis, false, &dir).await?;
    let pids = server.pids().context("no pids")?;
    drop(server);
    ensure!(!pids.iter().any(|&pid| runs(pid)), "it survived its drop");
    empty(&dir)
}

pub(super) async fn restarts() -> Result<()> {
    let dir = tempfile::tempdir()?;
    let mut server = start(Broker::Redis, true, &dir).await?;
    ensure!(server.guarantee_limit().is_none(), "{:?}", server.guarantee_limit());
    let (url, pids) = (server.address().clone(), server.pids());
    let _: () = redis::cmd("SET").arg("kept").arg("yes").query_async(&mut client(&server).await?).await?;
    server.restart().await?;
    ensure!(*server.address() == url && server.pids() != pids, "another port, or the same process");
    let kept: Option<String> = redis::cmd("GET").arg("kept").query_async(&mut client(&server).await?).await?;
    ensure!(kept.as_deref() == Some("yes"), "the data have gone");
    // One that was ended by somebody else is noticed, and its end is told.
    let pid = server.pids().context("no pids")?[0];
    harness::process::signal(pid, rustix::process::Signal::KILL);
    let mut end = None;
    wait_until("the death is noticed", || {
        end = server.died();
        Ok(end.is_some())
    })?;
    let end = end.unwrap_or_default();
    ensure!(end.contains("signal: 9") && end.contains("Ready to accept"), "{end}");
    server.stop().await?;
    empty(&dir)
}

pub(super) async fn pauses() -> Result<()> {
    let dir = tempfile::tempdir()?;
    let mut server = start(Broker::Redis, false, &dir).await?;
    let pid = server.pids().context("no pids")?[0];
    let mut connection = client(&server).await?;
    let state = || Ok::<_, anyhow::Error>(procfs::process::Process::new(pid as i32)?.stat()?.state);
    server.pause()?;
    wait_until("it stands still", || Ok(state()? == 'T'))?;
    server.resume()?;
    wait_until("it goes on", || Ok(state()? != 'T'))?;
    let _: String = redis::cmd("PING").query_async(&mut connection).await?;
    // A paused one can be stopped as well.
    server.pause()?;
    server.stop().await?;
    empty(&dir)
}

pub(super) async fn by_url() -> Result<()> {
    let dir = tempfile::tempdir()?;
    let own = start(Broker::Redis, true, &dir).await?;
    let source = Source::Url(own.address().clone());
    let options = Options { durable: true, dir: dir.path(), settings: &[] };
    let mut server = Server::start(Broker::Redis, &source, &options).await?;
    ensure!(server.guarantee_limit().is_none() && server.pids().is_none(), "it is not taken for what it is");
    ensure!(server.kill().is_err() && server.pause().is_err(), "the user's own broker can be killed");
    let _: () = redis::cmd("CONFIG")
        .arg("SET")
        .arg("appendonly")
        .arg("no")
        .query_async(&mut client(&own).await?)
        .await?;
    let server = Server::start(Broker::Redis, &source, &options).await?;
    let (guarantee, reason) = server.guarantee_limit().context("its guarantee is not lowered")?;
    ensure!(guarantee == Guarantee::AtLeastOnce && reason.contains("appendonly"), "{reason}");
    server.stop().await?;
    ensure!(own.pids().is_some_and(|pids| runs(pids[0])), "stop ended the user's own broker");
    own.stop().await?;
    match Server::start(Broker::Redis, &source, &options).await {
        Ok(_) => bail!("nothing answers there, and it was taken for a broker"),
        Err(error) => ensure!(format!("{error:#}").contains("is it running"), "{error:#}"),
    }
    Ok(())
}
