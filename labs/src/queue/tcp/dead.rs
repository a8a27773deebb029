//! The dead letters of a queue over TCP. They stay in the log of their producer, with a note of their
//! attempts and the reason. A producer that runs is asked over its socket; the log of one that does
//! not run is read here.

use std::path::{Path, PathBuf};

use anyhow::{Context as _, Result};
use futures_util::FutureExt as _;

use super::log::{Changes, Log, folders};
use crate::lab::Place;
use crate::queue::{DeadLetter, DeadLetters};
use crate::wire::frames::FrameConnection;
use crate::wire::peer_queue::{PeerLetters, QueueFrame, id_of, log_and_number};

/// Dead letters in the logs of producers.
pub enum TcpLetters {
    /// Producers that run.
    Peers(PeerLetters),
    /// The logs of producers that do not, each in a folder.
    Logs(Vec<PathBuf>),
}

impl TcpLetters {
    pub(super) fn open(place: &Place) -> Result<Self> {
        match place.known_peers() {
            Some(producers) => {
                Ok(Self::Peers(PeerLetters::of(producers, |at, question| ask(at, question).boxed_local())))
            }
            None => Ok(Self::Logs(folders(place)?)),
        }
    }
}

/// Asks a producer.
async fn ask(address: String, question: QueueFrame) -> Result<Vec<QueueFrame>> {
    let mut connection = FrameConnection::connect(&address).await?;
    connection.put(&[&question.head()])?;
    connection.flush().await?;
    let mut answers = Vec::new();
    while !matches!(answers.last(), Some(QueueFrame::Found(_))) {
        let answer = connection.next().await?.context("the producer has gone")?;
        answers.push(QueueFrame::decode(answer)?);
    }
    Ok(answers)
}

/// Opens a log. It is locked by a producer that runs.
fn open(folder: &Path) -> Result<Log> {
    let log = Log::open_in(folder, true).map(|(log, _)| log);
    log.context("cannot read the dead letters; if their producer runs, ask it at its address")
}

/// Takes a dead letter out of the log that has it, and puts it in again as a new message if it is
/// returned.
async fn take(folders: &[PathBuf], id: &str, returned: bool) -> Result<bool> {
    let Some((identity, number)) = log_and_number(id) else { return Ok(false) };
    for folder in folders {
        let mut log = open(folder)?;
        if log.identity == identity && log.dead(number).is_some() {
            let new = if returned { vec![log.body(number)?] } else { Vec::new() };
            log.commit(Changes { new, settled: vec![number], failed: Vec::new() }).await?;
            return Ok(true);
        }
    }
    Ok(false)
}

impl DeadLetters for TcpLetters {
    async fn list(&mut self, most: usize) -> Result<Vec<DeadLetter>> {
        let folders = match self {
            Self::Peers(peers) => return peers.list(most).await,
            Self::Logs(folders) => folders,
        };
        let mut letters = Vec::new();
        for folder in folders {
            let mut log = open(folder)?;
            for (number, failed) in log.failed.clone() {
                let Some(reason) = failed.reason else { continue };
                let (id, body) = (id_of(log.identity, number), log.body(number)?);
                letters.push(DeadLetter { id, body, attempts: failed.attempts, reason });
            }
        }
        letters.truncate(most);
        Ok(letters)
    }

    async fn give_back(&mut self, id: &str) -> Result<bool> {
        match self {
            Self::Peers(peers) => peers.give_back(id).await,
            Self::Logs(folders) => take(folders, id, true).await,
        }
    }

    async fn discard(&mut self, id: &str) -> Result<bool> {
        match self {
            Self::Peers(peers) => peers.discard(id).await,
            Self::Logs(folders) => take(folders, id, false).await,
        }
    }
}
