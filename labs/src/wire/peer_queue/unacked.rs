//! The unacked deliveries of a consumer, from one or several producers that keep
//! the queue themselves: those that wait, those handed out and not settled, and
//! those that are settled here and that their producer might not know. No I/O.
//!
//! A delivery that comes again although it is here, or was acked here, is not
//! handed out again. Another consumer cannot know of it.

use std::collections::{HashSet, VecDeque};

use bytes::Bytes;

use super::QueueFrame;
use crate::queue::Delivery;

/// Settles a delivery: which producer's message it was.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Receipt {
    /// The producer.
    pub producer: usize,
    log: u64,
    id: u64,
}

/// The deliveries of one consumer that are not settled, or not known to be.
#[derive(Debug)]
pub struct UnackedDeliveries {
    waiting: VecDeque<(Receipt, u32, Bytes)>,
    /// Handed out and not settled.
    out: usize,
    most: usize,
    producers: Vec<FromProducer>,
}

/// What came from one producer.
#[derive(Debug, Default)]
struct FromProducer {
    /// The log that numbers its messages; `None` while there is no connection.
    log: Option<u64>,
    /// The log at the last connection; it may still be the same.
    last_log: Option<u64>,
    /// Waiting or handed out.
    here: HashSet<u64>,
    /// Acked, and a producer that is started again may not know.
    done: HashSet<u64>,
    /// Settled, and not reported yet.
    acked: Vec<u64>,
    nacked: Vec<u64>,
    /// What was reported, by token, until it is durable.
    reported: VecDeque<(u64, Vec<u64>)>,
    /// The last one used.
    token: u64,
    /// Up to this token, the producer knows.
    known: u64,
}

impl UnackedDeliveries {
    /// For deliveries from so many producers, of which at most `most` are handed out
    /// and not settled.
    pub fn new(producers: usize, most: usize) -> Self {
        let producers = (0..producers).map(|_| FromProducer::default()).collect();
        Self { waiting: VecDeque::new(), out: 0, most, producers }
    }

    /// A frame has come from a producer.
    pub fn received(&mut self, producer: usize, frame: QueueFrame) {
        let from = &mut self.producers[producer];
        match frame {
            QueueFrame::Welcome(log) => {
                // The numbers of another log mean nothing in this one.
                if from.last_log != Some(log) {
                    *from = FromProducer { token: from.token, ..FromProducer::default() };
                }
                from.known = from.token;
                (from.log, from.last_log) = (Some(log), Some(log));
                // What may have been lost on its way is reported again.
                let reported = std::mem::take(&mut from.reported);
                from.acked.extend(reported.into_iter().flat_map(|(_, ids)| ids));
            }
            QueueFrame::Message(id, attempt, body) => {
                let Some(log) = from.log else { return };
                if from.done.contains(&id) {
                    from.acked.push(id);
                } else if from.here.insert(id) {
                    self.waiting.push_back((Receipt { producer, log, id }, attempt, body));
                }
            }
            QueueFrame::Known(token) => from.known = from.known.max(token),
            QueueFrame::Durable(token) => {
                from.known = from.known.max(token);
                while let Some((_, ids)) = from.reported.pop_front_if(|(reported, _)| *reported <= token) {
                    for id in ids {
                        from.done.remove(&id);
                    }
                }
            }
            // What consumers say, and what is for those who look at dead letters.
            _ => {}
        }
    }

    /// The connection to a producer has broken. What waits will come again; what is
    /// handed out stays here.
    pub fn disconnected(&mut self, producer: usize) {
        let from = &mut self.producers[producer];
        from.log = None;
        from.nacked.clear();
        self.waiting.retain(|(receipt, ..)| {
            let keep = receipt.producer != producer;
            if !keep {
                from.here.remove(&receipt.id);
            }
            keep
        });
    }

    /// Hands out the next delivery, if one waits and fewer than the most are out.
    pub fn hand_out(&mut self) -> Option<Delivery<Bytes, Receipt>> {
        if self.out >= self.most {
            return None;
        }
        let (receipt, attempt, item) = self.waiting.pop_front()?;
        self.out += 1;
        Some(Delivery { item, attempt, receipt })
    }

    /// The consumer is done with it.
    pub fn ack(&mut self, receipt: Receipt) {
        if let Some(from) = self.settled(receipt) {
            from.done.insert(receipt.id);
            from.acked.push(receipt.id);
        }
    }

    /// The consumer is not done with it: it is to be delivered again.
    pub fn nack(&mut self, receipt: Receipt) {
        if let Some(from) = self.settled(receipt) {
            from.nacked.push(receipt.id);
        }
    }

    fn settled(&mut self, receipt: Receipt) -> Option<&mut FromProducer> {
        self.out = self.out.saturating_sub(1);
        let from = &mut self.producers[receipt.producer];
        // When the producer has begun a new log, there is nothing to settle.
        (from.last_log == Some(receipt.log) && from.here.remove(&receipt.id)).then_some(from)
    }

    /// How many settlements were not reported to a producer that is connected.
    pub fn unreported(&self, producer: usize) -> usize {
        let from = &self.producers[producer];
        if from.log.is_some() { from.acked.len() + from.nacked.len() } else { 0 }
    }

    /// The frames that report them; from now on they are reported.
    pub fn report(&mut self, producer: usize) -> Vec<QueueFrame> {
        if self.unreported(producer) == 0 {
            return Vec::new();
        }
        let from = &mut self.producers[producer];
        let (acked, nacked) = (std::mem::take(&mut from.acked), std::mem::take(&mut from.nacked));
        from.token += 1;
        from.reported.push_back((from.token, acked.clone()));
        let nacked = (!nacked.is_empty()).then_some(QueueFrame::Nacked(nacked));
        nacked.into_iter().chain([QueueFrame::Acked(from.token, acked)]).collect()
    }

    /// The frame that says good-bye: what is unsettled goes back.
    pub fn leave(&mut self, producer: usize) -> QueueFrame {
        let from = &mut self.producers[producer];
        from.token += 1;
        QueueFrame::Leave(from.token)
    }

    /// Whether a producer knows all that was settled.
    pub fn is_known(&self, producer: usize) -> bool {
        let from = &self.producers[producer];
        from.acked.is_empty() && from.nacked.is_empty() && from.known == from.token
    }

    /// Whether a connected producer does not know all that was settled.
    pub fn any_connected_does_not_know(&self) -> bool {
        (0..self.producers()).any(|producer| self.is_connected(producer) && !self.is_known(producer))
    }

    /// Whether there is a connection to a producer, and it has answered.
    pub fn is_connected(&self, producer: usize) -> bool {
        self.producers[producer].log.is_some()
    }

    /// How many producers there are.
    pub fn producers(&self) -> usize {
        self.producers.len()
    }
}

#[cfg(test)]
impl UnackedDeliveries {
    /// Whether nothing is left that anybody waits for.
    fn is_empty(&self) -> bool {
        let done =
            |from: &FromProducer| from.here.is_empty() && from.done.is_empty() && from.reported.is_empty();
        self.waiting.is_empty() && self.out == 0 && self.producers.iter().all(done)
    }
}

#[cfg(test)]
mod tests;
