//! What is on its way to the broker, and what became of it.

use std::collections::{HashMap, VecDeque};
use std::pin::pin;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Mutex, MutexGuard, PoisonError};

use anyhow::{Context, Error, Result, anyhow, bail};
use tokio::sync::{Notify, Semaphore, oneshot};

use super::{Answer, Refusal};

/// Messages on their way at once; one of more than `UNIT` bytes counts as several.
pub(super) const MESSAGES: usize = 1024;
const UNIT: usize = 4096;

/// The messages that a client has accepted, in order, until they are settled:
/// written at QoS 0, confirmed above.
pub(super) struct Traffic {
    room: Semaphore,
    state: Mutex<State>,
    all_settled: Notify,
    dropped: AtomicU64,
}

#[derive(Default)]
struct State {
    /// Handed over and not yet written; the client knows no name for them.
    unwritten: VecDeque<Entry>,
    /// Written and not yet confirmed, by packet identifier.
    unconfirmed: HashMap<u16, Entry>,
    /// Subscriptions that the broker has not yet answered, in order.
    asked: VecDeque<Confirmation>,
    /// The first refusal of a message for which nobody waits.
    refused: Option<Refusal>,
    /// Why the connection has ended.
    ended: Option<String>,
}

struct Entry {
    room: usize,
    confirm: Option<Confirmation>,
}

impl Default for Traffic {
    fn default() -> Self {
        Self {
            room: Semaphore::new(MESSAGES),
            state: Mutex::default(),
            all_settled: Notify::new(),
            dropped: AtomicU64::new(0),
        }
    }
}

impl Traffic {
    /// Waits until another message of this size may follow, and takes its room. Cancel-safe.
    pub(super) async fn room(&self, bytes: usize) -> Result<usize> {
        let room = bytes.div_ceil(UNIT).clamp(1, MESSAGES);
        match self.room.acquire_many(room as u32).await {
            Ok(permit) => permit.forget(),
            Err(_) => return Err(self.why()),
        }
        Ok(room)
    }

    /// The same for an acknowledgement, which is settled when it is written.
    pub(super) async fn room_for_ack(&self) -> Result<()> {
        self.room(0).await.map(drop)
    }

    /// Notes down a message that is handed over now.
    pub(super) fn accept(&self, room: usize, confirm: Option<Confirmation>) {
        self.lock().unwritten.push_back(Entry { room, confirm });
    }

    /// Notes down a subscription that is handed over now.
    pub(super) fn ask(&self, confirm: Confirmation) {
        let mut state = self.lock();
        // Who asks after the end is answered at once: nobody else will.
        if state.ended.is_none() {
            state.asked.push_back(confirm);
        }
    }

    /// The oldest message that was not yet written is, under this identifier (0: QoS 0).
    pub(super) fn written(&self, id: u16) {
        let mut state = self.lock();
        let Some(entry) = state.unwritten.pop_front() else { return };
        if id == 0 {
            self.settle(&mut state, entry, Ok(()));
        } else {
            state.unconfirmed.insert(id, entry);
        }
    }

    /// The broker has taken this message, or not.
    pub(super) fn confirmed(&self, id: u16, answer: Answer) {
        let mut state = self.lock();
        // QoS 2 answers twice: what the first answer has settled, the second finds gone.
        if let Some(entry) = state.unconfirmed.remove(&id) {
            self.settle(&mut state, entry, answer);
        }
    }

    /// An acknowledgement is written.
    pub(super) fn acked(&self) {
        self.room.add_permits(1);
    }

    /// The broker has answered the oldest subscription.
    pub(super) fn answered(&self, answer: Answer) {
        if let Some(asked) = self.lock().asked.pop_front() {
            asked.tell(answer);
        }
    }

    /// A message that came found no room.
    pub(super) fn dropped(&self) {
        self.dropped.fetch_add(1, Ordering::Relaxed);
    }

    /// How many did.
    pub(super) fn dropped_so_far(&self) -> u64 {
        self.dropped.load(Ordering::Relaxed)
    }

    /// The connection has ended: nobody will be answered any more.
    pub(super) fn end(&self, why: &str) {
        let mut state = self.lock();
        state.ended.get_or_insert_with(|| why.to_owned());
        state.unwritten.clear();
        state.unconfirmed.clear();
        state.asked.clear();
        self.room.close();
        self.all_settled.notify_waiters();
    }

    /// Why the connection has ended.
    pub(super) fn why(&self) -> Error {
        match &self.lock().ended {
            Some(why) => anyhow!("the connection has ended: {why}"),
            None => anyhow!("the connection has been given up"),
        }
    }

    /// Waits until everything accepted is settled; an error when some of it was
    /// refused, or nobody can tell any more. Cancel-safe.
    pub(super) async fn settled(&self) -> Result<()> {
        loop {
            let mut changed = pin!(self.all_settled.notified());
            // Before looking, or what happens in between would go unnoticed.
            changed.as_mut().enable();
            {
                let mut state = self.lock();
                if let Some(why) = &state.ended {
                    bail!("the connection has ended: {why}");
                }
                if let Some(Refusal::Because(why)) = state.refused.take() {
                    bail!("the broker did not take a message: {why}");
                }
                if state.unwritten.is_empty() && state.unconfirmed.is_empty() {
                    return Ok(());
                }
            }
            changed.await;
        }
    }

    fn settle(&self, state: &mut State, entry: Entry, answer: Answer) {
        self.room.add_permits(entry.room);
        match (entry.confirm, answer) {
            (Some(confirm), answer) => confirm.tell(answer),
            (None, Err(refusal @ Refusal::Because(_))) => {
                state.refused.get_or_insert(refusal);
            }
            // An event for which nobody has subscribed is no failure.
            (None, _) => {}
        }
        if state.unwritten.is_empty() && state.unconfirmed.is_empty() {
            self.all_settled.notify_waiters();
        }
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Tells one who waits what became of a message.
pub(super) struct Confirmation(oneshot::Sender<Answer>);

impl Confirmation {
    /// The two ends.
    pub(super) fn pair() -> (Self, Waiting) {
        let (waits, answer) = oneshot::channel();
        (Self(waits), Waiting(answer))
    }

    fn tell(self, answer: Answer) {
        // Whoever has given up waiting is told nothing.
        let _ = self.0.send(answer);
    }
}

/// The waiting end.
pub(crate) struct Waiting(oneshot::Receiver<Answer>);

impl Waiting {
    pub(crate) async fn wait(self) -> Result<()> {
        match self.0.await.context("the connection ended before the broker had answered")? {
            Ok(()) => Ok(()),
            Err(Refusal::Nobody) => bail!("the broker has dropped the message: nobody has subscribed"),
            Err(Refusal::Because(why)) => bail!("the broker refused: {why}"),
        }
    }
}

#[cfg(test)]
mod tests {
    use futures_util::FutureExt;

    use super::*;

    fn send(traffic: &Traffic) -> Waiting {
        let (sender, waiting) = Confirmation::pair();
        let room = traffic.room(64).now_or_never().expect("room").expect("open");
        traffic.accept(room, Some(sender));
        waiting
    }

    fn told(waiting: Waiting) -> Option<Result<(), String>> {
        waiting.wait().now_or_never().map(|answer| answer.map_err(|error| error.to_string()))
    }

    #[test]
    fn each_confirmation_finds_its_message_whatever_the_order() {
        let traffic = Traffic::default();
        let [first, second, third] = [(); 3].map(|()| send(&traffic));
        // The client numbers them as it writes them; the broker answers as it likes.
        [7, 8, 9].into_iter().for_each(|id| traffic.written(id));
        traffic.confirmed(9, Err(Refusal::Because("QuotaExceeded".to_owned())));
        traffic.confirmed(7, Ok(()));
        assert_eq!(told(first), Some(Ok(())));
        assert_eq!(told(second), None, "8 is not confirmed");
        assert!(told(third).expect("answered").expect_err("refused").contains("QuotaExceeded"));
    }

    #[test]
    fn who_gives_up_waiting_shifts_nobody_elses_confirmation() {
        let traffic = Traffic::default();
        let (gone, stays) = (send(&traffic), send(&traffic));
        drop(gone);
        traffic.written(1);
        traffic.written(2);
        traffic.confirmed(1, Err(Refusal::Nobody));
        assert!(traffic.settled().now_or_never().is_none(), "2 is not confirmed");
        traffic.confirmed(2, Ok(()));
        assert_eq!(told(stays), Some(Ok(())));
        assert!(traffic.settled().now_or_never().expect("all is settled").is_ok());
    }

    #[test]
    fn a_flush_waits_for_the_last_write_and_reports_a_refusal_once() {
        let traffic = Traffic::default();
        for id in [0, 5] {
            let room = traffic.room(0).now_or_never().expect("room").expect("open");
            traffic.accept(room, None);
            assert!(traffic.settled().now_or_never().is_none(), "not written");
            traffic.written(id);
        }
        assert!(traffic.settled().now_or_never().is_none(), "written is not confirmed at QoS 1");
        traffic.confirmed(5, Err(Refusal::Because("NotAuthorized".to_owned())));
        assert!(traffic.settled().now_or_never().expect("settled").is_err());
        assert!(traffic.settled().now_or_never().expect("settled").is_ok());
    }

    #[test]
    fn the_room_is_bounded_in_messages_and_bytes_and_comes_back() {
        let traffic = Traffic::default();
        let waiting: Vec<Waiting> = (0..MESSAGES).map(|_| send(&traffic)).collect();
        assert!(traffic.room(0).now_or_never().is_none(), "{MESSAGES} are on their way");
        (1..=MESSAGES as u16).for_each(|id| traffic.written(id));
        (1..=MESSAGES as u16).for_each(|id| traffic.confirmed(id, Ok(())));
        assert!(waiting.into_iter().all(|waiting| told(waiting) == Some(Ok(()))));
        let large = traffic.room(usize::MAX).now_or_never().expect("it fits alone").expect("open");
        assert!(traffic.room(1).now_or_never().is_none(), "the large one takes all the room");
        traffic.accept(large, None);
        traffic.written(0);
        assert!(traffic.room(1).now_or_never().is_some());
    }

    #[test]
    fn the_end_wakes_everyone() {
        let traffic = Traffic::default();
        let (unwritten, (asked, answer)) = (send(&traffic), Confirmation::pair());
        traffic.ask(asked);
        traffic.end("broken pipe");
        assert!(told(unwritten).expect("at once").is_err());
        assert!(told(answer).expect("at once").is_err());
        for error in [traffic.settled().now_or_never(), traffic.room(1).now_or_never().map(|r| r.map(drop))] {
            assert!(error.expect("at once").expect_err("ended").to_string().contains("broken pipe"));
        }
    }
}
