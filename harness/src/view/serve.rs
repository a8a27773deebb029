//! Answers the page of a view.

use std::time::Duration;

use anyhow::Result;
use axum::Router;
use axum::body::Bytes;
use axum::extract::{DefaultBodyLimit, RawQuery, Request, State};
use axum::http::{StatusCode, header};
use axum::middleware::{self, Next};
use axum::response::{Html, IntoResponse, Response};
use axum::routing::{get, post};
use labs::apps::web;
use serde_json::{Value, json};
use tokio::net::TcpListener;
use tokio::sync::{mpsc, oneshot, watch};

use super::act::Act;
use super::live::Order;
use super::shared::Shared;
use crate::replay::{self, Format, LIVE, Replay, ReplayEvent, SCRIPT, STYLE};

/// How long a question for news may stay open.
const NEWS: Duration = Duration::from_secs(10);
/// The longest body of a request, bytes.
const LONGEST: usize = 4 << 10;
/// The header with the token: a page from elsewhere cannot send it.
const TOKEN: &str = "x-lab-token";

#[derive(Clone)]
struct Page {
    shared: Shared,
    orders: mpsc::Sender<Order>,
    token: String,
}

/// Serves the page until `stop`.
pub(crate) async fn serve(
    listener: TcpListener,
    shared: Shared,
    orders: mpsc::Sender<Order>,
    token: String,
    stop: impl Future<Output = ()>,
) -> Result<()> {
    let page = Page { shared, orders, token };
    let guarded = Router::new()
        .route("/events", get(events))
        .route("/act", post(act))
        .route("/save.html", get(|page| save(page, Format::Html)))
        .route("/save.log", get(|page| save(page, Format::ShiViz)))
        .route("/save.json", get(|page| save(page, Format::OpenTelemetry)))
        .layer(DefaultBodyLimit::max(LONGEST))
        .route_layer(middleware::from_fn_with_state(page.clone(), knows_token))
        .with_state(page);
    // The page itself says nothing about the run.
    let routes = Router::new()
        .route("/", get(|| async { Html(LIVE()) }))
        .route("/view.js", web::file("text/javascript; charset=utf-8", SCRIPT))
        .route("/view.css", web::file("text/css; charset=utf-8", STYLE))
        .merge(guarded);
    web::serve(listener, routes, stop).await
}

impl Shared {
    /// Learns of changes.
    pub(super) fn watch(&self) -> watch::Receiver<u64> {
        self.changes.subscribe()
    }

    /// The events from this number on, and all that is so now; with it, whether there is news.
    pub(super) fn since(&self, number: usize) -> (String, bool) {
        let told = self.told();
        let events = told.events.iter().filter(|(at, _)| *at >= number).map(|(_, event)| event);
        let events: Vec<&ReplayEvent> = events.collect();
        // Something that the page does not know yet has gone: it begins anew.
        let first = number + usize::from(told.dropped > number);
        let next = told.next;
        let mut answer = json!({ "replay": told.head, "first": first, "next": next, "events": events });
        if let (Some(answer), Ok(Value::Object(now))) =
            (answer.as_object_mut(), serde_json::to_value(&told.now))
        {
            answer.extend(now);
        }
        (answer.to_string(), number < next || told.now.over)
    }

    /// The replay so far.
    pub(crate) fn replay(&self) -> Option<Replay> {
        let told = self.told();
        let mut replay = told.head.clone()?;
        replay.events = told.events.iter().map(|(_, event)| event.clone()).collect();
        Some(replay)
    }
}

/// Refuses who does not know the token.
async fn knows_token(State(page): State<Page>, request: Request, next: Next) -> Response {
    let given = request.headers().get(TOKEN).and_then(|value| value.to_str().ok()).unwrap_or_default();
    // The time of the comparison says nothing about where two tokens differ.
    let differ = given.len() != page.token.len()
        || given.bytes().zip(page.token.bytes()).fold(0, |differ, (a, b)| differ | (a ^ b)) != 0;
    if differ {
        let why = "This needs the token of the address that `lab view` has printed.\n";
        return (StatusCode::FORBIDDEN, why).into_response();
    }
    next.run(request).await
}

async fn events(State(page): State<Page>, RawQuery(asked): RawQuery) -> Response {
    let since = asked.as_deref().and_then(|asked| asked.strip_prefix("since="));
    let Ok(since) = since.unwrap_or("0").parse::<usize>() else {
        return (StatusCode::BAD_REQUEST, "give a number, as in /events?since=0").into_response();
    };
    let mut changes = page.shared.watch();
    let (mut answer, news) = page.shared.since(since);
    // That something else can be done now is news, too.
    if !news && tokio::time::timeout(NEWS, changes.changed()).await.is_ok() {
        answer = page.shared.since(since).0;
    }
    ([(header::CONTENT_TYPE, "application/json")], answer).into_response()
}

async fn act(State(page): State<Page>, body: Bytes) -> Response {
    let refuse = |status: StatusCode, why: String| (status, why).into_response();
    let act: Act = match serde_json::from_slice(&body) {
        Ok(act) => act,
        Err(error) => return refuse(StatusCode::BAD_REQUEST, format!("this is not an act: {error}")),
    };
    let (answer, answered) = oneshot::channel();
    // The queue is bounded: one user cannot do more at a time.
    if page.orders.try_send((act, answer)).is_err() {
        return refuse(StatusCode::TOO_MANY_REQUESTS, "too much is being done; try again".to_owned());
    }
    match answered.await {
        Ok(Ok(())) => StatusCode::NO_CONTENT.into_response(),
        Ok(Err(why)) => refuse(StatusCode::CONFLICT, why),
        Err(_) => refuse(StatusCode::GONE, "the lab has ended".to_owned()),
    }
}

async fn save(State(page): State<Page>, format: Format) -> Response {
    let kind = match format {
        Format::Html => "text/html; charset=utf-8",
        Format::ShiViz => "text/plain; charset=utf-8",
        Format::OpenTelemetry => "application/json",
    };
    let text = page.shared.replay().map(|replay| replay::text(&[replay], format));
    match text {
        Some(Ok(text)) => ([(header::CONTENT_TYPE, kind)], text).into_response(),
        Some(Err(error)) => (StatusCode::INTERNAL_SERVER_ERROR, error.to_string()).into_response(),
        None => (StatusCode::CONFLICT, "nothing has happened yet").into_response(),
    }
}
