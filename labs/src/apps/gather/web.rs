//! The status as a web page, which fetches the latest result once a second.

use anyhow::Result;
use axum::Router;
use axum::http::header;
use axum::routing::get;
use tokio::net::TcpListener;
use tokio::sync::watch;

use crate::apps::web;

/// Serves the page until `stop` resolves; `latest` is the latest result as a JSON
/// object, and `{}` before the first one.
pub async fn serve(
    listener: TcpListener,
    latest: watch::Receiver<String>,
    stop: impl Future<Output = ()>,
) -> Result<()> {
    let answer = move || {
        let text = latest.borrow().clone();
        async move { ([(header::CONTENT_TYPE, "application/json")], text) }
    };
    let pages = Router::new()
        .route("/", web::file("text/html; charset=utf-8", include_str!("page/index.html")))
        .route("/page.css", web::file("text/css; charset=utf-8", include_str!("page/page.css")))
        .route("/page.js", web::file("text/javascript; charset=utf-8", include_str!("page/page.js")))
        .route("/status.json", get(answer));
    web::serve(listener, pages, stop).await
}
