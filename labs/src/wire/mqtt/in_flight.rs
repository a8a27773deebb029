//! What is in flight to the broker, and what became of it: messages that are not written or not
//! confirmed yet, and requests that the broker has not answered.

use std::collections::{HashMap, VecDeque};
use std::pin::pin;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Mutex, MutexGuard, PoisonError};

use anyhow::{Context, Error, Result, anyhow, bail};
use tokio::sync::{Notify, Semaphore, oneshot};

use super::answer::{Answer, Refusal};
use crate::recovery::{Disconnected, disconnected, is_transient};

/// Messages in flight at once; one of more than `UNIT` bytes counts as several, so that they are
/// 4 MiB at most.
pub(super) const MESSAGES: usize = 1024;
const UNIT: usize = 4096;

/// The messages that a client has accepted, in order, until they are settled:
/// written at QoS 0, confirmed above.
pub(super) struct InFlight {
    room: Semaphore,
    /// Messages of callers that send at once wait for room one after the other: a free place goes
    /// to the first of them, and nobody who comes later is handed over before it.
    pub(super) turn: tokio::sync::Mutex<()>,
    state: Mutex<State>,
    all_settled: Notify,
    dropped: AtomicU64,
}

#[derive(Default)]
struct State {
    /// Handed over and not yet written: the client has given them no packet identifier.
    unwritten: VecDeque<Entry>,
    /// Written and not yet confirmed, by packet identifier.
    unconfirmed: HashMap<u16, Entry>,
    /// SUBSCRIBE and UNSUBSCRIBE packets that the broker has not yet answered, in order.
    requests: VecDeque<ConfirmationSender>,
    /// The first refusal of a message whose confirmation nobody awaits.
    refused: Option<Refusal>,
    /// Why the connection has ended, and whether a new one may help.
    ended: Option<(String, bool)>,
}

struct Entry {
    room: usize,
    confirm: Option<ConfirmationSender>,
}

impl Default for InFlight {
    fn default() -> Self {
        Self {
            room: Semaphore::new(MESSAGES),
            turn: tokio::sync::Mutex::default(),
            state: Mutex::default(),
            all_settled: Notify::new(),
            dropped: AtomicU64::new(0),
        }
    }
}

impl InFlight {
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
    pub(super) fn accept(&self, room: usize, confirm: Option<ConfirmationSender>) {
        let mut state = self.lock();
        // After the end nobody would confirm it: dropped, it is answered at once.
        if state.ended.is_none() {
            state.unwritten.push_back(Entry { room, confirm });
        }
    }

    /// Notes down a SUBSCRIBE or UNSUBSCRIBE that is handed over now.
    pub(super) fn request(&self, confirm: ConfirmationSender) {
        let mut state = self.lock();
        // After the end nobody would answer: dropped, it is answered at once.
        if state.ended.is_none() {
            state.requests.push_back(confirm);
        }
    }

    /// The oldest message that was not yet written now is, under this identifier (0: QoS 0).
    pub(super) fn written(&self, id: u16) {
        let mut state = self.lock();
        let Some(entry) = state.unwritten.pop_front() else { return };
        if id == 0 {
            self.settle(&mut state, entry, Ok(()));
        } else {
            state.unconfirmed.insert(id, entry);
        }
    }

    /// The broker has accepted this message or refused it.
    pub(super) fn confirmed(&self, id: u16, answer: Answer) {
        let mut state = self.lock();
        // At QoS 2 there may be two answers: the second finds nothing left to settle.
        if let Some(entry) = state.unconfirmed.remove(&id) {
            self.settle(&mut state, entry, answer);
        }
    }

    /// An acknowledgement is written.
    pub(super) fn acked(&self) {
        self.room.add_permits(1);
    }

    /// The broker has answered the oldest request.
    pub(super) fn answered(&self, answer: Answer) {
        if let Some(request) = self.lock().requests.pop_front() {
            request.tell(answer);
        }
    }

    /// A message that came in found no room and was dropped.
    pub(super) fn dropped(&self) {
        self.dropped.fetch_add(1, Ordering::Relaxed);
    }

    /// How many messages were dropped.
    pub(super) fn dropped_so_far(&self) -> u64 {
        self.dropped.load(Ordering::Relaxed)
    }

    /// The connection has ended: everyone who waits gets an error.
    pub(super) fn end(&self, why: &Error) {
        let mut state = self.lock();
        state.ended.get_or_insert_with(|| (format!("{why:#}"), is_transient(why)));
        state.unwritten.clear();
        state.unconfirmed.clear();
        state.requests.clear();
        self.room.close();
        self.all_settled.notify_waiters();
    }

    /// Why the connection has ended.
    pub(super) fn why(&self) -> Error {
        match &self.lock().ended {
            Some(ended) => ended_because(ended),
            None => disconnected("the connection has been given up"),
        }
    }

    /// Waits until everything accepted is settled; an error when some of it was refused, or when
    /// the connection has ended. Cancel-safe.
    pub(super) async fn settled(&self) -> Result<()> {
        loop {
            let mut changed = pin!(self.all_settled.notified());
            // Before the check, or a change between check and wait would go unnoticed.
            changed.as_mut().enable();
            {
                let mut state = self.lock();
                if let Some(ended) = &state.ended {
                    return Err(ended_because(ended));
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
            // That nobody has subscribed to a message is not a failure.
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

fn ended_because((why, transient): &(String, bool)) -> Error {
    let text = format!("the connection has ended: {why}");
    if *transient { disconnected(text) } else { anyhow!(text) }
}

/// Tells whoever awaits the confirmation what became of a message or a request.
pub(super) struct ConfirmationSender(oneshot::Sender<Answer>);

impl ConfirmationSender {
    /// The two ends of one confirmation.
    pub(super) fn pair() -> (Self, Confirmation) {
        let (sender, answer) = oneshot::channel();
        (Self(sender), Confirmation(answer))
    }

    fn tell(self, answer: Answer) {
        // Nobody awaits it any more: that is not an error.
        let _ = self.0.send(answer);
    }
}

/// The broker's answer to a message or a request, when it comes.
pub(crate) struct Confirmation(oneshot::Receiver<Answer>);

impl Confirmation {
    /// Returns when the broker has accepted it; an error when it has refused.
    pub(crate) async fn wait(self) -> Result<()> {
        match self
            .0
            .await
            .context(Disconnected::new("the connection ended before the broker had answered"))?
        {
            Ok(()) => Ok(()),
            // A broker that was restarted may have lost the sessions: they are made when it is joined.
            Err(Refusal::Nobody) => {
                Err(disconnected("the broker has dropped the message: nobody has subscribed"))
            }
            Err(Refusal::Because(why)) => bail!("the broker refused: {why}"),
        }
    }
}

#[cfg(test)]
mod tests {
    use futures_util::FutureExt;

    use super::*;

    fn send(in_flight: &InFlight) -> Confirmation {
        let (sender, waiting) = ConfirmationSender::pair();
        let room = in_flight.room(64).now_or_never().expect("room").expect("open");
        in_flight.accept(room, Some(sender));
        waiting
    }

    fn told(waiting: Confirmation) -> Option<Result<(), String>> {
        waiting.wait().now_or_never().map(|answer| answer.map_err(|error| error.to_string()))
    }

    #[test]
    fn each_confirmation_finds_its_message_whatever_the_order() {
        let in_flight = InFlight::default();
        let [first, second, third] = [(); 3].map(|()| send(&in_flight));
        // The client numbers them as it writes them; the broker answers as it likes.
        [7, 8, 9].into_iter().for_each(|id| in_flight.written(id));
        in_flight.confirmed(9, Err(Refusal::Because("QuotaExceeded".to_owned())));
        in_flight.confirmed(7, Ok(()));
        assert_eq!(told(first), Some(Ok(())));
        assert_eq!(told(second), None, "8 is not confirmed");
        assert!(told(third).expect("answered").expect_err("refused").contains("QuotaExceeded"));
    }

    #[test]
    fn a_cancelled_wait_does_not_shift_the_next_confirmation() {
        let in_flight = InFlight::default();
        let (gone, stays) = (send(&in_flight), send(&in_flight));
        drop(gone);
        in_flight.written(1);
        in_flight.written(2);
        in_flight.confirmed(1, Err(Refusal::Nobody));
        assert!(in_flight.settled().now_or_never().is_none(), "2 is not confirmed");
        in_flight.confirmed(2, Ok(()));
        assert_eq!(told(stays), Some(Ok(())));
        assert!(in_flight.settled().now_or_never().expect("all is settled").is_ok());
    }

    #[test]
    fn a_flush_waits_for_the_last_write_and_reports_a_refusal_once() {
        let in_flight = InFlight::default();
        for id in [0, 5] {
            let room = in_flight.room(0).now_or_never().expect("room").expect("open");
            in_flight.accept(room, None);
            assert!(in_flight.settled().now_or_never().is_none(), "not written");
            in_flight.written(id);
        }
        assert!(in_flight.settled().now_or_never().is_none(), "written is not confirmed at QoS 1");
        in_flight.confirmed(5, Err(Refusal::Because("NotAuthorized".to_owned())));
        assert!(in_flight.settled().now_or_never().expect("settled").is_err());
        assert!(in_flight.settled().now_or_never().expect("settled").is_ok());
    }

    #[test]
    fn the_room_is_bounded_in_messages_and_bytes_and_comes_back() {
        let in_flight = InFlight::default();
        let waiting: Vec<Confirmation> = (0..MESSAGES).map(|_| send(&in_flight)).collect();
        assert!(in_flight.room(0).now_or_never().is_none(), "{MESSAGES} are on their way");
        (1..=MESSAGES as u16).for_each(|id| in_flight.written(id));
        (1..=MESSAGES as u16).for_each(|id| in_flight.confirmed(id, Ok(())));
        assert!(waiting.into_iter().all(|waiting| told(waiting) == Some(Ok(()))));
        let large = in_flight.room(usize::MAX).now_or_never().expect("it fits alone").expect("open");
        assert!(in_flight.room(1).now_or_never().is_none(), "the large one takes all the room");
        in_flight.accept(large, None);
        in_flight.written(0);
        assert!(in_flight.room(1).now_or_never().is_some());
    }

    #[test]
    fn the_end_wakes_everyone() {
        let in_flight = InFlight::default();
        let (unwritten, (asked, answer)) = (send(&in_flight), ConfirmationSender::pair());
        in_flight.request(asked);
        in_flight.end(&disconnected("broken pipe"));
        assert!(told(unwritten).expect("at once").is_err());
        assert!(told(answer).expect("at once").is_err());
        for error in
            [in_flight.settled().now_or_never(), in_flight.room(1).now_or_never().map(|r| r.map(drop))]
        {
            assert!(error.expect("at once").expect_err("ended").to_string().contains("broken pipe"));
        }
    }
}
