//! The loop of a lab whose page is served.

use std::time::Duration;

use tokio::sync::{mpsc, oneshot};

use super::act::Act;
use super::session::{Session, TICK};

/// From one message to the next, where they are sent by themselves.
const AUTO: Duration = Duration::from_secs(1);

/// An act, and who wants to know whether it could be done.
pub(crate) type Order = (Act, oneshot::Sender<Result<(), String>>);

impl Session<'_> {
    /// Goes on until `orders` ends: hears the roles, and does what it is told.
    pub(crate) async fn play(&mut self, orders: &mut mpsc::Receiver<Order>) {
        self.auto = true;
        let mut tick = tokio::time::interval(TICK);
        let mut auto = tokio::time::interval(AUTO);
        // After a pause of the whole program, the messages that were not sent are not sent at once.
        tick.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
        auto.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
        let mut begun = false;
        loop {
            tokio::select! {
                order = orders.recv() => {
                    let Some((act, answer)) = order else { return };
                    // Who asked may be gone.
                    let _ = answer.send(self.act(act).await);
                    self.tell();
                }
                () = self.run.hear() => self.look(),
                _ = tick.tick() => {
                    self.pulse();
                    // The first message goes out as soon as everybody is there.
                    if !begun && self.complete() {
                        begun = true;
                        auto.reset_immediately();
                    }
                }
                _ = auto.tick() => if self.auto && begun {
                    // A sender that is away is seen in the picture.
                    let _ = self.send("", None);
                },
            }
        }
    }
}
