//! The history is asked over the transport's own request/reply lab: a question
//! is a Command, a page the Document that answers it.

use std::io::Write as _;
use std::sync::Arc;
use std::time::Duration;

use anyhow::{Context as _, Result};
use tokio::sync::watch;
use tokio::time::{sleep, timeout};

use super::hub::Hub;
use super::store::{Page, Question, Store};
use crate::erased::RequestReplyLab;
use crate::lab::Place;
use crate::reqrep::{Command, Document, Requester, Responder};

/// How long an answer may take before the history counts as away.
const PATIENCE: Duration = Duration::from_secs(2);
/// Between two attempts to reach it, at least.
const AGAIN: Duration = Duration::from_millis(500);
/// Between two questions about what is new, at least: a burst is one page.
const CALM: Duration = Duration::from_millis(50);
/// And at most: what was published by no instance is found within this time.
const ROUND: Duration = Duration::from_secs(1);

/// Answers questions until told to stop.
pub async fn answer(
    lab: RequestReplyLab,
    place: Place,
    store: Arc<Store>,
    mut stop: watch::Receiver<bool>,
) -> Result<()> {
    let serving = async {
        loop {
            if let Err(error) = serve(&lab, &place, &store).await {
                let _ = writeln!(std::io::stderr(), "history: cannot be asked for now: {error:#}");
            }
            sleep(AGAIN).await;
        }
    };
    tokio::select! {
        () = serving => Ok(()),
        _ = stop.wait_for(|stop| *stop) => Ok(()),
    }
}

async fn serve(lab: &RequestReplyLab, place: &Place, store: &Store) -> Result<()> {
    let mut responder = lab.responder(place).await?;
    while let Some((question, back)) = responder.next().await? {
        let question = serde_json::from_slice(&question).context("that is not a question");
        if let Err(why) = &question {
            place.message_skipped(format_args!("a request to the history: {why}"));
        }
        let reply = match question.and_then(|question| store.page(&question)) {
            Ok(page) => serde_json::to_vec(&page)?,
            // A question that cannot be answered is answered with what is wrong with it.
            Err(error) => serde_json::to_vec(&serde_json::json!({ "error": format!("{error:#}") }))?,
        };
        responder.reply(back, Document::from(reply)).await?;
    }
    Ok(())
}

/// Asks for whatever the hub wants to know, until told to stop: pages for
/// browsers that have come, and what is new.
pub async fn ask(
    lab: RequestReplyLab,
    place: Place,
    hub: Arc<Hub>,
    mut stop: watch::Receiver<bool>,
) -> Result<()> {
    let asking = async {
        loop {
            if let Err(error) = keep_asking(&lab, &place, &hub).await {
                hub.history_away(&format!("{error:#}"));
            }
            sleep(AGAIN).await;
        }
    };
    tokio::select! {
        never = asking => never,
        _ = stop.wait_for(|stop| *stop) => Ok(()),
    }
}

async fn keep_asking(lab: &RequestReplyLab, place: &Place, hub: &Hub) -> Result<()> {
    let requester = timeout(PATIENCE, lab.requester(place)).await.context("cannot be reached in time")??;
    loop {
        while let Some(wanted) = hub.wanted() {
            let answered = question(&requester, &wanted.question).await;
            if answered.is_err() {
                hub.want_again(wanted);
                return answered.map(|_| ());
            }
            hub.answered(&wanted, answered?);
        }
        sleep(CALM).await;
        // Whatever is wanted meanwhile wakes it; otherwise it looks all the same.
        let _ = timeout(ROUND, hub.wants()).await;
        hub.look();
    }
}

async fn question(requester: &impl Requester, question: &Question) -> Result<Page> {
    let asked = requester.ask(Command::from(serde_json::to_vec(question)?));
    let reply = timeout(PATIENCE, asked).await.context("does not answer in time")??;
    serde_json::from_slice(&reply).with_context(|| format!("answers {}", String::from_utf8_lossy(&reply)))
}
