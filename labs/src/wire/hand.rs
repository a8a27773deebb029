//! What a consumer has in its hand, from one or several producers that keep
//! the queue themselves: deliveries that wait, those handed out and not
//! settled, and what it has settled and its producer might yet forget.
//! No I/O.
//!
//! A delivery that comes again although it is in the hand, or was acked here,
//! is not handed out again. Another consumer cannot know of it.

use std::collections::{HashSet, VecDeque};

use bytes::Bytes;

use super::word::Word;
use crate::queue::Delivery;

/// Settles a delivery: which producer's message it was.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Receipt {
    /// The producer.
    pub source: usize,
    log: u64,
    id: u64,
}

/// What a consumer has in its hand.
#[derive(Debug)]
pub struct Hand {
    waiting: VecDeque<(Receipt, u32, Bytes)>,
    /// Handed out and not settled.
    out: usize,
    most: usize,
    sources: Vec<Source>,
}

#[derive(Debug, Default)]
struct Source {
    /// The log that numbers its messages; `None` while there is no connection.
    log: Option<u64>,
    /// The one before, which it may still be.
    last_log: Option<u64>,
    here: HashSet<u64>,
    /// Acked, and a producer that is started again may not know.
    done: HashSet<u64>,
    acked: Vec<u64>,
    nacked: Vec<u64>,
    /// What was told, by token, until it is durable.
    told: VecDeque<(u64, Vec<u64>)>,
    token: u64,
    /// Up to this token, the producer knows.
    known: u64,
}

impl Hand {
    /// An empty hand for deliveries from `sources` producers, that has handed
    /// out at most `most`.
    pub fn new(sources: usize, most: usize) -> Self {
        let sources = (0..sources).map(|_| Source::default()).collect();
        Self { waiting: VecDeque::new(), out: 0, most, sources }
    }

    /// A producer says something.
    pub fn hear(&mut self, source: usize, word: Word) {
        let from = &mut self.sources[source];
        match word {
            Word::Welcome(log) => {
                // The numbers of another log mean nothing in this one.
                if from.last_log != Some(log) {
                    *from = Source { token: from.token, ..Source::default() };
                }
                from.known = from.token;
                (from.log, from.last_log) = (Some(log), Some(log));
                // What may have been lost on its way is told again.
                let told = std::mem::take(&mut from.told);
                from.acked.extend(told.into_iter().flat_map(|(_, ids)| ids));
            }
            Word::Message(id, attempt, body) => {
                let Some(log) = from.log else { return };
                if from.done.contains(&id) {
                    from.acked.push(id);
                } else if from.here.insert(id) {
                    self.waiting.push_back((Receipt { source, log, id }, attempt, body));
                }
            }
            Word::Known(token) => from.known = from.known.max(token),
            Word::Durable(token) => {
                from.known = from.known.max(token);
                while let Some((_, ids)) = from.told.pop_front_if(|(told, _)| *told <= token) {
                    for id in ids {
                        from.done.remove(&id);
                    }
                }
            }
            Word::Join(_) | Word::Acked(..) | Word::Nacked(_) | Word::Leave(_) => {}
        }
    }

    /// The connection to a producer has broken. What waits will come again;
    /// what is handed out stays in the hand.
    pub fn lost(&mut self, source: usize) {
        let from = &mut self.sources[source];
        from.log = None;
        from.nacked.clear();
        self.waiting.retain(|(receipt, ..)| {
            let keep = receipt.source != source;
            if !keep {
                from.here.remove(&receipt.id);
            }
            keep
        });
    }

    /// Hands out the next delivery, if there is one and it may.
    pub fn take(&mut self) -> Option<Delivery<Bytes, Receipt>> {
        if self.out >= self.most {
            return None;
        }
        let (receipt, attempt, item) = self.waiting.pop_front()?;
        self.out += 1;
        Some(Delivery { item, attempt, receipt })
    }

    /// Done with it.
    pub fn ack(&mut self, receipt: Receipt) {
        if let Some(from) = self.settled(receipt) {
            from.done.insert(receipt.id);
            from.acked.push(receipt.id);
        }
    }

    /// Not done with it.
    pub fn nack(&mut self, receipt: Receipt) {
        if let Some(from) = self.settled(receipt) {
            from.nacked.push(receipt.id);
        }
    }

    fn settled(&mut self, receipt: Receipt) -> Option<&mut Source> {
        self.out = self.out.saturating_sub(1);
        let from = &mut self.sources[receipt.source];
        // Of a log that is no more there is nothing to settle.
        (from.last_log == Some(receipt.log) && from.here.remove(&receipt.id)).then_some(from)
    }

    /// How much a producer has not been told.
    pub fn untold(&self, source: usize) -> usize {
        let from = &self.sources[source];
        if from.log.is_some() { from.acked.len() + from.nacked.len() } else { 0 }
    }

    /// What to tell it, and from now on it has been told.
    pub fn tell(&mut self, source: usize) -> Vec<Word> {
        if self.untold(source) == 0 {
            return Vec::new();
        }
        let from = &mut self.sources[source];
        let (acked, nacked) = (std::mem::take(&mut from.acked), std::mem::take(&mut from.nacked));
        from.token += 1;
        from.told.push_back((from.token, acked.clone()));
        let nacked = (!nacked.is_empty()).then_some(Word::Nacked(nacked));
        nacked.into_iter().chain([Word::Acked(from.token, acked)]).collect()
    }

    /// Says good-bye: what is unsettled goes back.
    pub fn leave(&mut self, source: usize) -> Word {
        let from = &mut self.sources[source];
        from.token += 1;
        Word::Leave(from.token)
    }

    /// Whether a producer knows all that was settled.
    pub fn is_known(&self, source: usize) -> bool {
        let from = &self.sources[source];
        from.acked.is_empty() && from.nacked.is_empty() && from.known == from.token
    }

    /// Whether there is a connection to a producer, and it has welcomed us.
    pub fn is_welcome(&self, source: usize) -> bool {
        self.sources[source].log.is_some()
    }

    /// How many producers there are.
    pub fn sources(&self) -> usize {
        self.sources.len()
    }
}

#[cfg(test)]
impl Hand {
    /// Whether nothing is left that anybody waits for.
    fn is_empty(&self) -> bool {
        let done = |from: &Source| from.here.is_empty() && from.done.is_empty() && from.told.is_empty();
        self.waiting.is_empty() && self.out == 0 && self.sources.iter().all(done)
    }
}

#[cfg(test)]
mod tests;
