use std::collections::BTreeMap;

use proptest::prelude::*;

use super::*;
use crate::wire::peer_queue::QueueState;

#[derive(Debug, Clone, Copy)]
enum Step {
    Send,
    Deliver,
    Take(usize),
    Ack(usize),
    Nack(usize),
    Report(usize),
    Read,
    Commit,
    Break(usize),
    Restart,
}

fn step() -> impl Strategy<Value = Step> {
    let who = || 0..2usize;
    prop_oneof![
        4 => Just(Step::Send),
        6 => Just(Step::Deliver),
        4 => who().prop_map(Step::Take),
        4 => who().prop_map(Step::Ack),
        1 => who().prop_map(Step::Nack),
        3 => who().prop_map(Step::Report),
        5 => Just(Step::Read),
        2 => Just(Step::Commit),
        1 => who().prop_map(Step::Break),
        1 => Just(Step::Restart),
    ]
}

/// A producer whose log is as old as its last commit, two consumers, and what
/// is on its way between them.
struct World {
    queue: QueueState<usize>,
    log: Vec<u64>,
    /// Settled, and who is to be told, once that is committed.
    settled: Vec<u64>,
    answers: Vec<(usize, u64)>,
    next: u64,
    consumers: Vec<UnackedDeliveries>,
    down: Vec<VecDeque<QueueFrame>>,
    up: Vec<VecDeque<QueueFrame>>,
    working_on: Vec<VecDeque<Receipt>>,
    /// Acked, and by whom.
    acked: BTreeMap<u64, Vec<usize>>,
}

const HOLD: usize = 3;

impl World {
    fn new() -> Self {
        let mut world = Self {
            queue: QueueState::new(1, []),
            log: Vec::new(),
            settled: Vec::new(),
            answers: Vec::new(),
            next: 1,
            consumers: (0..2).map(|_| UnackedDeliveries::new(1, HOLD)).collect(),
            down: vec![VecDeque::new(); 2],
            up: vec![VecDeque::new(); 2],
            working_on: vec![VecDeque::new(); 2],
            acked: BTreeMap::new(),
        };
        (0..2).for_each(|who| world.join(who));
        world
    }

    fn join(&mut self, who: usize) {
        self.queue.join(who, HOLD);
        self.down[who].push_back(QueueFrame::Welcome(77));
    }

    fn broken(&mut self, who: usize) {
        self.down[who].clear();
        self.up[who].clear();
        self.consumers[who].disconnected(0);
        self.queue.leave(&who);
        self.answers.retain(|(consumer, _)| *consumer != who);
    }

    fn read(&mut self) {
        for who in 0..2 {
            while let Some(frame) = self.down[who].pop_front() {
                self.consumers[who].received(0, frame);
            }
            while let Some(frame) = self.up[who].pop_front() {
                match frame {
                    QueueFrame::Acked(token, ids) => {
                        self.settled.extend(ids.into_iter().filter(|id| self.queue.settle(*id)));
                        self.answers.push((who, token));
                        self.down[who].push_back(QueueFrame::Known(token));
                    }
                    QueueFrame::Nacked(ids) => ids.iter().for_each(|id| self.queue.give_back(&who, *id)),
                    _ => {}
                }
            }
        }
    }

    fn step(&mut self, step: Step) -> Result<(), TestCaseError> {
        match step {
            Step::Send => {
                let id = self.queue.add();
                self.log.push(id);
                self.next = id + 1;
            }
            Step::Deliver => {
                if let Some(offer) = self.queue.offer() {
                    let frame = QueueFrame::Message(offer.id, offer.attempt, Bytes::new());
                    self.down[offer.consumer].push_back(frame);
                }
            }
            Step::Take(who) => {
                if let Some(delivery) = self.consumers[who].hand_out() {
                    let id = delivery.receipt.id;
                    let before = self.acked.get(&id).is_some_and(|by| by.contains(&who));
                    prop_assert!(!before, "{who} acked {id}, and it was handed out to it again");
                    let twice = self.working_on[who].iter().any(|receipt| receipt.id == id);
                    prop_assert!(!twice, "{who} works on {id}, and got it again");
                    self.working_on[who].push_back(delivery.receipt);
                    prop_assert!(self.working_on[who].len() <= HOLD);
                }
            }
            Step::Ack(who) => {
                if let Some(receipt) = self.working_on[who].pop_front() {
                    self.acked.entry(receipt.id).or_default().push(who);
                    self.consumers[who].ack(receipt);
                }
            }
            Step::Nack(who) => {
                if let Some(receipt) = self.working_on[who].pop_front() {
                    self.consumers[who].nack(receipt);
                }
            }
            Step::Report(who) => self.up[who].extend(self.consumers[who].report(0)),
            Step::Read => self.read(),
            Step::Commit => {
                let settled = std::mem::take(&mut self.settled);
                self.log.retain(|logged| !settled.contains(logged));
                for (who, token) in self.answers.drain(..) {
                    self.down[who].push_back(QueueFrame::Durable(token));
                }
            }
            Step::Break(who) => {
                self.broken(who);
                self.join(who);
            }
            Step::Restart => {
                (0..2).for_each(|who| self.broken(who));
                self.settled.clear();
                self.queue = QueueState::new(self.next, self.log.iter().copied());
                (0..2).for_each(|who| self.join(who));
            }
        }
        Ok(())
    }
}

proptest! {
    /// Connections break and the producer is restarted at any point: every
    /// message is acked in the end, and nobody gets again what it acked itself.
    #[test]
    fn all_is_done_and_by_each_at_most_once(steps in proptest::collection::vec(step(), 0..300)) {
        let mut world = World::new();
        for step in steps {
            world.step(step)?;
        }
        let all = world.next - 1;
        for _ in 0..=2 * all + 8 {
            let round = [Step::Read, Step::Deliver, Step::Deliver, Step::Deliver, Step::Read];
            let turns = (0..2).flat_map(|who| [Step::Take(who), Step::Ack(who), Step::Report(who)]);
            for step in round.into_iter().chain(turns).chain([Step::Read, Step::Commit, Step::Read]) {
                world.step(step)?;
            }
        }
        prop_assert_eq!(world.acked.len() as u64, all, "some were never done");
        prop_assert!(world.queue.is_empty() && world.log.is_empty(), "the producer does not know it");
        prop_assert!(world.consumers.iter().all(|consumer| consumer.is_known(0)), "a consumer waits to be told");
        prop_assert!(world.consumers.iter().all(UnackedDeliveries::is_empty), "a consumer remembers what is over");
    }
}

#[test]
fn receipts_of_a_log_that_is_gone_settle_nothing() {
    let mut unacked = UnackedDeliveries::new(1, 4);
    unacked.received(0, QueueFrame::Welcome(1));
    unacked.received(0, QueueFrame::Message(5, 1, "old".into()));
    let old = unacked.hand_out().expect("it is there").receipt;
    unacked.disconnected(0);
    unacked.received(0, QueueFrame::Welcome(2));
    unacked.received(0, QueueFrame::Message(5, 1, "new".into()));
    unacked.ack(old);
    assert!(unacked.report(0).is_empty());
    let new = unacked.hand_out().expect("another message of the same number");
    assert_eq!(new.item, "new");
    unacked.ack(new.receipt);
    assert_eq!(unacked.report(0), [QueueFrame::Acked(1, vec![5])]);
}
