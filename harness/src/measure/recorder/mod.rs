//! What a role records of its messages: the hot path of the harness. Every
//! message is stamped, checked, accounted for and recorded; nothing is sampled.

mod receiver;
mod recording;
mod sender;
#[cfg(test)]
mod tests;
mod window;

pub use receiver::{MessageKind, Progress, ReceiverRecorder};
pub use recording::{Full, Recording, Uninstrumented};
pub use sender::SenderRecorder;
pub use window::{INTERVAL, Window};
