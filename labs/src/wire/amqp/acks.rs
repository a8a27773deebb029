//! Which `basic.ack` frames settle the deliveries of a channel with the fewest
//! frames. With `multiple`, a frame acks a delivery and all before it. So one
//! frame acks everything before the first unsettled delivery, and deliveries
//! that were acked out of order need a frame each.

use std::collections::BTreeMap;

/// The settled deliveries of one channel, and what RabbitMQ knows of them.
pub(crate) struct Acks {
    /// Every delivery up to this tag is settled, and RabbitMQ knows.
    settled: u64,
    /// Settled deliveries with a higher tag, and whether RabbitMQ knows.
    later: BTreeMap<u64, bool>,
    /// How many of them RabbitMQ does not know.
    unwritten: usize,
    /// So many acks are written together.
    batch: usize,
}

impl Acks {
    /// For a consumer with at most `prefetch` unsettled deliveries. Half of them are acked
    /// together: RabbitMQ goes on delivering while their acks are on the way.
    pub(crate) fn of(prefetch: u16) -> Self {
        let batch = (usize::from(prefetch) / 2).clamp(1, 128);
        Self { settled: 0, later: BTreeMap::new(), unwritten: 0, batch }
    }

    /// A delivery is acked. True when so many acks wait that they should be written.
    pub(crate) fn ack(&mut self, tag: u64) -> bool {
        self.later.insert(tag, false);
        self.unwritten += 1;
        self.unwritten >= self.batch
    }

    /// A delivery was nacked in a frame of its own, so no ack has to name it.
    pub(crate) fn nacked(&mut self, tag: u64) {
        self.later.insert(tag, true);
    }

    /// The frames that ack everything RabbitMQ does not know, as tag and `multiple`. It knows
    /// from now on.
    pub(crate) fn due(&mut self) -> Vec<(u64, bool)> {
        let mut all_up_to = None;
        while let Some(known) = self.later.remove(&(self.settled + 1)) {
            self.settled += 1;
            // The frame must name a tag that RabbitMQ does not yet know as settled.
            all_up_to = if known { all_up_to } else { Some(self.settled) };
        }
        let mut acks: Vec<(u64, bool)> = all_up_to.map(|tag| (tag, true)).into_iter().collect();
        if self.unwritten > 0 {
            for (tag, known) in self.later.iter_mut().filter(|(_, known)| !**known) {
                *known = true;
                acks.push((*tag, false));
            }
        }
        self.unwritten = 0;
        acks
    }
}
