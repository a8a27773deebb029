//! A lab in memory that keeps every promise, and variants of it that break
//! exactly one each: what the checks are tried on.

mod durable;
mod foreign;
mod hand;
mod letters;
mod pubsub;
pub(super) mod queue;
mod reqrep;
pub(super) mod strangers;
mod tank;

use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, LazyLock};

use anyhow::{Result, ensure};
use bytes::Bytes;
use labs::lab::{Broker, Guarantee, Join, Knob, Lab, Overload, Place, Recovery};
use labs::oneway::{OneWay, Sender};
use labs::pipeline::{Pipeline, Sharing, Stage};
use labs::queue::{AttemptLimit, MAX_ATTEMPTS, Producer, Queue};

pub(super) use foreign::FOREIGN;
use hand::Hand;
use harness::roles::Handle;
use letters::Letters;
use tank::{Tank, pause};

/// The broken labs whose roles can be processes.
pub(super) fn handles() -> Vec<Handle> {
    queue::handles()
}

/// The ways to break a promise: values of the knob `fault`.
pub(super) mod fault {
    macro_rules! faults {
        ($($name:ident)+) => { faults!(0, $($name)+); };
        ($n:expr, $name:ident $($rest:ident)*) => {
            pub(in super::super) const $name: usize = $n;
            faults!($n + 1, $($rest)*);
        };
        ($n:expr,) => {};
    }
    faults! {
        NONE SWAPS LOSES DAMAGES LAZY_FLUSH DROPS_TAKEN CLOSES_EARLY HEARS_OTHERS LEAVES_THINGS
        NEVER_WAITS FORGETS DEAF
        IGNORES_FILTER TAKES_ANY_FILTER ONE_COPY REPLAYS JOINS_LATE
        WRONG_REPLY LATE_REPLY ONE_RESPONDER FRAGILE LEAKS
        TWICE NEVER_AGAIN UNFAIR
        CONFIRMS_EARLY IGNORES_PREFETCH ACKED_AGAIN UNMARKED KEEPS
        MISSES BACKWARDS NEVER_FORGETS
        DROPS_EARLY DROPS_ON TURNS_AWAY
        ENDS_AT_FOREIGN IGNORES_FOREIGN FOREIGN_AGAIN
        NEVER_DEAD DEAD_TWICE TWO_FOR_EVER
    }
}
use fault::*;

/// Messages before the sender has to wait.
const DEPTH: usize = 1000;
/// The knob that says which promise the lab breaks.
pub(super) const FAULT: Knob = Knob::new("fault", NONE, "The promise that the lab breaks.");
const HIGH_WATER: Knob = Knob::new("high-water", DEPTH, "Messages before more are dropped.");

/// What the lab says of overload: a const, so a parameter of its type.
pub(super) const SAYS_WAITS: u8 = 0;
pub(super) const SAYS_STORES: u8 = 1;
pub(super) const SAYS_DROPS: u8 = 2;
pub(super) const SAYS_DISCONNECTS: u8 = 3;

/// The lab; the knob `fault` says which promise it breaks.
pub(super) struct Faulty<const SAYS: u8> {
    place: Place,
    fault: usize,
}

impl<const SAYS: u8> Faulty<SAYS> {
    fn registered<T: Default + Send + Sync + 'static>(&self) -> Arc<T> {
        static EVERYBODY: LazyLock<Place> = LazyLock::new(|| Place::new("everybody", None));
        let place = if self.fault == HEARS_OTHERS { &*EVERYBODY } else { &self.place };
        place.registered(T::default)
    }

    fn namespace(&self, stage: Stage) -> Self {
        Self { place: self.place.namespace(stage.namespace()), fault: self.fault }
    }
}

impl<const SAYS: u8> Lab for Faulty<SAYS> {
    const TRANSPORT: &'static str = "faulty";
    const BROKER: Option<Broker> = None;
    const GUARANTEE: Guarantee = Guarantee::AtLeastOnce;
    const OVERLOAD: Overload = match SAYS {
        SAYS_STORES => Overload::Stores,
        SAYS_DROPS => Overload::Drops,
        SAYS_DISCONNECTS => Overload::Disconnects,
        _ => Overload::Waits,
    };
    const JOIN: Join = Join::Confirmed;
    const RECOVERY: Recovery = Recovery::Nobody;
    const KNOBS: &'static [Knob] = &[FAULT, HIGH_WATER, durable::PREFETCH, MAX_ATTEMPTS];

    async fn open(place: &Place) -> Result<Self> {
        let fault = place.knob(FAULT);
        if fault == TURNS_AWAY {
            /// How many are about to open the place.
            #[derive(Default)]
            struct Opening(AtomicUsize);
            let opening: Arc<Opening> = place.registered(Opening::default);
            let others = opening.0.fetch_add(1, Ordering::Relaxed);
            tokio::task::yield_now().await;
            opening.0.fetch_sub(1, Ordering::Relaxed);
            ensure!(others == 0, "{others} are opening it already");
        }
        Ok(Self { place: place.clone(), fault })
    }

    async fn remove(place: &Place) -> Result<()> {
        if place.knob(FAULT) != LEAVES_THINGS {
            place.unregister();
        }
        Ok(())
    }
}

impl<const SAYS: u8> OneWay for Faulty<SAYS> {
    type Sender = Push;
    type Receiver = Hand;
    async fn sender(&self) -> Result<Push> {
        let mut push = Push::into(self.registered(), self.fault);
        if SAYS == SAYS_DROPS {
            push.high_water = Some(self.place.knob(HIGH_WATER));
        }
        Ok(push)
    }
    async fn receiver(&self) -> Result<Hand> {
        Ok(Hand::of(self.registered(), &self.place, usize::MAX, self.fault))
    }
}

impl Queue for Faulty<SAYS_WAITS> {
    type Producer = Push;
    type Consumer = Hand;
    type DeadLetters = Letters;
    async fn producer(&self) -> Result<Push> {
        Ok(Push::into(self.registered(), self.fault))
    }
    async fn consumer(&self, prefetch: u16) -> Result<Hand> {
        let mut hand = Hand::of(self.registered(), &self.place, usize::from(prefetch), self.fault);
        hand.limit = AttemptLimit::of(&self.place);
        Ok(hand)
    }
    async fn dead_letters(&self) -> Result<Letters> {
        Ok(Letters(self.registered()))
    }
}

impl Pipeline for Faulty<SAYS_WAITS> {
    const SHARING: Sharing = Sharing::OnDemand;
    type Push = Push;
    type Pull = Hand;
    type Control = Self;
    async fn push(&self, stage: Stage) -> Result<Push> {
        Ok(Push::into(self.namespace(stage).registered(), self.fault))
    }
    async fn pull(&self, stage: Stage) -> Result<Hand> {
        Ok(Hand::of(self.namespace(stage).registered(), &self.place, 4, self.fault))
    }
}

/// Puts into the tank.
pub(super) struct Push {
    tank: Arc<Tank>,
    fault: usize,
    number: usize,
    put: usize,
    kept: std::cell::RefCell<Vec<Bytes>>,
    /// Where the oldest are dropped, and nobody waits.
    high_water: Option<usize>,
    dropped: std::cell::Cell<usize>,
}

impl Push {
    fn into(tank: Arc<Tank>, fault: usize) -> Self {
        let number = tank.lock().another_sender();
        Self {
            tank,
            fault,
            number,
            put: 0,
            kept: Default::default(),
            high_water: None,
            dropped: Default::default(),
        }
    }

    async fn pour(&self, body: Bytes) {
        if let Some(high_water) = self.high_water.filter(|_| self.fault != NEVER_WAITS) {
            return self.pour_over(body, high_water);
        }
        while !matches!(self.fault, FORGETS | NEVER_WAITS) && self.tank.lock().ready.len() >= DEPTH {
            pause().await;
        }
        let mut tank = self.tank.lock();
        if self.fault == FORGETS && tank.ready.len() >= DEPTH {
            tank.ready.pop_front();
        }
        if self.fault == TWICE {
            tank.put(body.clone());
        }
        tank.put(body);
    }

    /// The oldest give way.
    fn pour_over(&self, body: Bytes, high_water: usize) {
        let mut tank = self.tank.lock();
        let holds = if self.fault == DROPS_EARLY { high_water / 2 } else { high_water };
        if tank.ready.len() >= holds {
            tank.ready.pop_front();
            self.dropped.set(self.dropped.get() + 1);
        }
        // Once it has dropped some it drops on, without need.
        if self.fault == DROPS_ON && self.dropped.get() > 0 && tank.ready.len() == 7 {
            return;
        }
        tank.put(body);
    }
}

impl Sender for Push {
    async fn send(&mut self, mut body: Bytes) -> Result<()> {
        self.put += 1;
        // Held back for one, ten, or every other message.
        let holds_back = match self.fault {
            LOSES if self.put.is_multiple_of(100) => return Ok(()),
            DEAF if self.number > 2 => return Ok(()),
            SWAPS => self.put % 100 == 50,
            CLOSES_EARLY => self.put % 10 != 9,
            LAZY_FLUSH => self.kept.get_mut().is_empty(),
            _ => false,
        };
        if self.fault == DAMAGES {
            // What a careless use of text does to bytes.
            body = String::from_utf8_lossy(&body).into_owned().into();
        }
        if holds_back {
            self.kept.get_mut().push(body);
            return Ok(());
        }
        let kept = std::mem::take(self.kept.get_mut());
        match self.fault {
            SWAPS => {
                self.pour(body).await;
                for kept in kept {
                    self.pour(kept).await;
                }
            }
            _ => {
                for body in kept.into_iter().chain([body]) {
                    self.pour(body).await;
                }
            }
        }
        Ok(())
    }

    async fn flush(&mut self) -> Result<()> {
        Ok(())
    }

    async fn close(self) -> Result<()> {
        Ok(())
    }
}

impl Producer for Push {
    async fn send(&self, body: Bytes) -> Result<()> {
        if self.fault == CONFIRMS_EARLY && self.kept.borrow().len() < 10 {
            self.kept.borrow_mut().push(body);
            return Ok(());
        }
        if self.fault == SWAPS && body.first() == Some(&50) {
            pause().await; // others overtake it
        }
        for body in self.kept.take().into_iter().chain([body]) {
            self.pour(body).await;
        }
        Ok(())
    }

    async fn close(self) -> Result<()> {
        Ok(())
    }
}
