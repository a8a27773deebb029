//! A pre-initialisation queue: a requester that can be used at once, whether
//! the connection is there or not. Requests made before it is there wait, in
//! order, and go when it is.
//!
//! The queue is bounded: when it is full, the next request is refused, and not
//! kept waiting for a place. Each request has a deadline from the moment it was
//! made; one that expires while it waits is never sent, and makes room. The
//! connection is tried again after a pause that doubles with each attempt. When
//! an `ask` fails, its caller is told so, and the connection is made anew: what
//! was asked is not asked again, since it may have been done.
//!
//! It works over every request/reply lab. Run it with `just preinit redis`.

use std::collections::VecDeque;
use std::fmt;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use anyhow::Result;
use futures_util::StreamExt;
use futures_util::stream::FuturesUnordered;
use tokio::sync::{Notify, oneshot, watch};
use tokio::time::{sleep, timeout};

use crate::erased::RequestReplyLab;
use crate::lab::Place;
use crate::reqrep::{Command, Document, Requester};

/// The first pause between two attempts to connect.
const FIRST_PAUSE: Duration = Duration::from_millis(20);
/// And the longest.
const LONGEST_PAUSE: Duration = Duration::from_secs(1);
/// How long one attempt may take.
const ATTEMPT: Duration = Duration::from_secs(5);
/// Requests that are on their way at once; more wait in the queue.
const AT_ONCE: usize = 64;

/// Where the connection stands.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum State {
    /// It is being made.
    Connecting {
        /// Attempts that have failed since it was last there.
        failed: u32,
        /// What was wrong with the last of them.
        why: Option<String>,
    },
    /// It is there.
    Connected,
}

/// Why there is no reply.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Failure {
    /// So many requests wait already: this one was refused.
    Full(usize),
    /// The deadline was over while the request waited: it was never sent.
    Expired(Duration),
    /// The deadline was over after it had been handed to the lab.
    TimedOut(Duration),
    /// The lab could not ask, or lost the connection.
    Failed(String),
}

impl fmt::Display for Failure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Full(depth) => write!(
                f,
                "the queue is full: {depth} requests wait for the connection; ask again later, or make it deeper"
            ),
            Self::Expired(deadline) => {
                write!(f, "expired after {} ms in the queue; it was never sent", deadline.as_millis())
            }
            Self::TimedOut(deadline) => write!(f, "no reply within {} ms", deadline.as_millis()),
            Self::Failed(why) => f.write_str(why),
        }
    }
}

impl std::error::Error for Failure {}

/// Makes a requester that can be used at once, and the task that connects it,
/// which has to run for as long as anybody asks. At most `depth` requests wait.
pub fn early(lab: RequestReplyLab, place: Place, depth: usize) -> (Early, impl Future<Output = ()>) {
    let shared = Arc::new(Shared {
        depth,
        queue: Mutex::default(),
        more: Notify::new(),
        state: watch::Sender::new(State::Connecting { failed: 0, why: None }),
    });
    let driver = Driver { lab, place, shared: Arc::clone(&shared) };
    (Early(shared), driver.run())
}

/// Asks, as soon as that is possible. Clones share the queue.
#[derive(Clone)]
pub struct Early(Arc<Shared>);

struct Shared {
    depth: usize,
    queue: Mutex<VecDeque<Waiting>>,
    more: Notify,
    state: watch::Sender<State>,
}

/// A request that waits. Whoever made it has gone when `reply` is closed.
struct Waiting {
    request: Command,
    /// Tells that the request has been handed to the lab.
    begun: oneshot::Sender<()>,
    reply: oneshot::Sender<Result<Document, Failure>>,
}

impl Early {
    /// Asks, and waits for the reply until the deadline is over. Dropping the
    /// future abandons the request, wherever it is.
    pub async fn ask(&self, request: Command, deadline: Duration) -> Result<Document, Failure> {
        let (reply, replied) = oneshot::channel();
        let (begun, mut has_begun) = oneshot::channel();
        self.0.put(Waiting { request, begun, reply })?;
        match timeout(deadline, replied).await {
            Ok(Ok(reply)) => reply,
            Ok(Err(_)) => Err(Failure::Failed("whatever connects has been stopped".to_owned())),
            Err(_) if has_begun.try_recv().is_ok() => Err(Failure::TimedOut(deadline)),
            Err(_) => Err(Failure::Expired(deadline)),
        }
    }

    /// Where the connection stands, and every change of that.
    pub fn state(&self) -> watch::Receiver<State> {
        self.0.state.subscribe()
    }

    /// Requests that wait and that somebody still waits for.
    pub fn waiting(&self) -> usize {
        self.0.lock().iter().filter(|waiting| !waiting.reply.is_closed()).count()
    }
}

impl Shared {
    fn put(&self, waiting: Waiting) -> Result<(), Failure> {
        let mut queue = self.lock();
        if queue.len() >= self.depth {
            // The dead take nobody's place.
            queue.retain(|waiting| !waiting.reply.is_closed());
        }
        if queue.len() >= self.depth {
            return Err(Failure::Full(self.depth));
        }
        queue.push_back(waiting);
        self.more.notify_one();
        Ok(())
    }

    /// The next that somebody still waits for.
    fn take(&self) -> Option<Waiting> {
        let mut queue = self.lock();
        std::iter::from_fn(|| queue.pop_front()).find(|waiting| !waiting.reply.is_closed())
    }

    fn lock(&self) -> MutexGuard<'_, VecDeque<Waiting>> {
        self.queue.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

struct Driver {
    lab: RequestReplyLab,
    place: Place,
    shared: Arc<Shared>,
}

impl Drop for Driver {
    /// Nobody waits for a reply that cannot come.
    fn drop(&mut self) {
        self.shared.lock().clear();
    }
}

impl Driver {
    async fn run(self) {
        let (mut failed, mut pause) = (0, FIRST_PAUSE);
        loop {
            match timeout(ATTEMPT, self.lab.requester(&self.place)).await {
                Ok(Ok(requester)) => {
                    (failed, pause) = (0, FIRST_PAUSE);
                    self.shared.state.send_replace(State::Connected);
                    let why = Some(self.pass_on(&requester).await);
                    self.shared.state.send_replace(State::Connecting { failed, why });
                }
                refused => {
                    failed += 1;
                    let late = || format!("not connected within {} s", ATTEMPT.as_secs());
                    let why = refused
                        .map_or_else(|_| late(), |error| error.err().map_or_else(late, |e| format!("{e:#}")));
                    self.shared.state.send_replace(State::Connecting { failed, why: Some(why) });
                    sleep(pause).await;
                    pause = (2 * pause).min(LONGEST_PAUSE);
                }
            }
        }
    }

    /// Hands requests to the lab, in their order, until one fails and all that
    /// were on their way have ended. Returns what was wrong.
    async fn pass_on(&self, requester: &impl Requester) -> String {
        let (mut on_their_way, mut broken) = (FuturesUnordered::new(), None);
        loop {
            while broken.is_none()
                && on_their_way.len() < AT_ONCE
                && let Some(waiting) = self.shared.take()
            {
                on_their_way.push(pass(requester, waiting));
            }
            let room = broken.is_none() && on_their_way.len() < AT_ONCE;
            tokio::select! {
                Some(failure) = on_their_way.next() => broken = broken.or(failure),
                () = self.shared.more.notified(), if room => {}
                else => break,
            }
            if on_their_way.is_empty() && broken.is_some() {
                break;
            }
        }
        broken.unwrap_or_default()
    }
}

/// Asks for one who waits, while it waits; returns what was wrong.
async fn pass(requester: &impl Requester, waiting: Waiting) -> Option<String> {
    let Waiting { request, begun, mut reply } = waiting;
    let _ = begun.send(());
    tokio::select! {
        answer = requester.ask(request) => {
            let answer = answer.map_err(|error| format!("{error:#}"));
            let failure = answer.as_ref().err().cloned();
            // Whoever asked may have given up this very moment.
            let _ = reply.send(answer.map_err(Failure::Failed));
            failure
        }
        // Dropping the ask abandons it, so that its late reply finds nobody.
        () = reply.closed() => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::place::Directory;
    use crate::reqrep::tcp::Tcp;

    const SOON: Duration = Duration::from_millis(20);
    const LONG: Duration = Duration::from_secs(60);

    /// A place whose responder nobody knows yet.
    fn nowhere() -> Place {
        Place::new("nowhere", None).with_directory(Arc::new(Directory::supervised()))
    }

    #[tokio::test(flavor = "current_thread")]
    async fn a_full_queue_refuses_and_the_dead_make_room() {
        let (early, driver) = early(RequestReplyLab::of::<Tcp>(), nowhere(), 2);
        let asking = async {
            let ask = |text: &'static str, deadline| early.ask(Command::from(text), deadline);
            let (first, second, third) = tokio::join!(biased; ask("1", SOON), ask("2", SOON), ask("3", LONG));
            assert_eq!(third, Err(Failure::Full(2)));
            assert_eq!((first, second), (Err(Failure::Expired(SOON)), Err(Failure::Expired(SOON))));
            assert_eq!(early.waiting(), 0);
            assert_eq!(ask("4", SOON).await, Err(Failure::Expired(SOON)), "there is room again");
        };
        tokio::select! { () = asking => {}, () = driver => panic!("it never ends") }
    }

    #[tokio::test(flavor = "current_thread")]
    async fn nobody_waits_for_a_driver_that_was_stopped() {
        let (early, driver) = early(RequestReplyLab::of::<Tcp>(), nowhere(), 2);
        let asking = async { early.ask(Command::from("1"), LONG).await };
        let (asked, ()) = tokio::join!(biased; asking, async { drop(driver) });
        assert!(matches!(asked, Err(Failure::Failed(_))), "{asked:?}");
    }
}
