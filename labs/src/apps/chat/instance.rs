//! One instance of the chat: a web server, a thread for the transport and one
//! that asks the history, with the [`Hub`] between them.

use std::future::Future;
use std::sync::Arc;
use std::time::Duration;

use anyhow::{Context as _, Result};
use axum::Router;
use axum::routing::get;
use tokio::net::TcpListener;
use tokio::sync::{mpsc, watch};

use super::hub::{About, Hub, Order, Outgoing};
use super::over::Over;
use super::relay::{self, Route};
use super::{Now, archive, client};
use crate::apps::web;
use crate::lab::Place;

/// How often an instance looks who is still there.
const TICK: Duration = Duration::from_millis(500);

/// What an instance is started with.
pub struct Instance {
    /// Its name: a word of a topic.
    pub name: String,
    /// The transport.
    pub over: Over,
    /// The transport's place, with a role of this instance's own.
    pub place: Place,
    /// Where the history is asked: a place of its own, since a log would keep the questions, too.
    pub library: Place,
    /// In a mesh, where this one publishes and where all do.
    pub mesh: Option<(String, Vec<String>)>,
    /// Whether to ask a history service, or why there is none.
    pub history: Result<(), String>,
    /// Whether the page may stop the broker.
    pub breakable: bool,
    /// Whether the broker runs.
    pub broker_runs: watch::Receiver<bool>,
    /// The time.
    pub now: Now,
}

impl Instance {
    /// Serves browsers at `listener` until `stop` is true. What pages want done
    /// to the broker goes to `orders`.
    pub async fn run(
        self,
        listener: TcpListener,
        orders: mpsc::Sender<Order>,
        stop: watch::Receiver<bool>,
    ) -> Result<()> {
        let (hub, out) = Hub::new(self.about(), self.now, orders);
        let mut threads = vec![self.transport(&hub, out, &stop)?];
        if self.history.is_ok()
            && let Some(lab) = self.over.library
        {
            let place = self.library.clone();
            let (hub, stop) = (Arc::clone(&hub), stop.clone());
            threads.push(thread("history", move || archive::ask(lab, place, hub, stop))?);
        }
        let ticking = {
            let hub = Arc::clone(&hub);
            async move {
                let mut tick = tokio::time::interval(TICK);
                loop {
                    tick.tick().await;
                    hub.tick();
                }
            }
        };
        let watching = {
            let (hub, mut broker_runs) = (Arc::clone(&hub), self.broker_runs);
            async move {
                loop {
                    hub.broker_is(*broker_runs.borrow_and_update());
                    if broker_runs.changed().await.is_err() {
                        std::future::pending::<()>().await;
                    }
                }
            }
        };
        let mut stopped = stop.clone();
        let stopped = async move {
            let _ = stopped.wait_for(|stop| *stop).await;
        };
        let served = tokio::select! {
            served = web::serve(listener, pages(hub), stopped) => served,
            () = ticking => Ok(()),
            () = watching => Ok(()),
        };
        for thread in threads {
            tokio::task::spawn_blocking(move || thread.join())
                .await?
                .map_err(|_| anyhow::anyhow!("a thread of the chat panicked"))??;
        }
        served
    }

    fn about(&self) -> About {
        let over = &self.over;
        About {
            instance: self.name.clone(),
            over: over.name.clone(),
            rooms: over.rooms.clone(),
            guarantee: over.guarantee.to_string(),
            overload: over.overload.to_string(),
            order: over.order().to_owned(),
            history: self.history.clone(),
            breakable: self.breakable,
        }
    }

    fn transport(
        &self,
        hub: &Arc<Hub>,
        out: mpsc::Receiver<Outgoing>,
        stop: &watch::Receiver<bool>,
    ) -> Result<Thread> {
        let route = match &self.mesh {
            Some((own, all)) => Route::mesh(&self.place, own, all),
            None => Route::through(&self.place),
        };
        let (lab, hub, stop) = (self.over.pub_sub, Arc::clone(hub), stop.clone());
        thread("transport", move || relay::run(lab, route, hub, out, stop))
    }
}

/// The page, and where it connects.
fn pages(hub: Arc<Hub>) -> Router {
    Router::new()
        .route("/", web::file("text/html; charset=utf-8", include_str!("page/chat.html")))
        .route("/chat.css", web::file("text/css; charset=utf-8", include_str!("page/chat.css")))
        .route("/chat.js", web::file("text/javascript; charset=utf-8", include_str!("page/chat.js")))
        .route("/way.js", web::file("text/javascript; charset=utf-8", include_str!("page/way.js")))
        .route("/socket", get(client::connect))
        .with_state(hub)
}

type Thread = std::thread::JoinHandle<Result<()>>;

/// A role has a thread and a runtime to itself; its futures cannot leave it.
pub fn thread<F: Future<Output = Result<()>>>(
    name: &str,
    work: impl FnOnce() -> F + Send + 'static,
) -> Result<Thread> {
    let builder = std::thread::Builder::new().name(name.to_owned());
    let started = builder.spawn(move || {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
        let done = runtime.block_on(work());
        // What a client library still waits for is of no interest any more.
        runtime.shutdown_background();
        done
    });
    started.context("cannot start a thread")
}
