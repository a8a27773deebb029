//! Predictions: three questions about a lab, each with a scene that answers it.
//!
//! [`questions`] says what is asked about a lab. A [`Session`] plays the scene of one question at a
//! time, and takes the answer from what the roles reported: `hears` plays who gets what, `lost` what
//! is lost with a killed receiver, `factor` measures one message in flight against many.

mod factor;
mod hears;
mod held;
mod lost;
mod question;
mod seen;
mod session;

pub(crate) use question::Question;
pub(crate) use seen::Seen;
pub(crate) use session::{Session, questions};
