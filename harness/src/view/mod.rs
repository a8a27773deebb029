//! A lab that is looked at while it runs: roles at human speed, and acts on them from a page.
//!
//! `session` holds the roles, `doing` carries out the acts, `shared` is what the page is told,
//! `serve` answers the page, and `script` is a run without a page, for a file.

mod act;
mod cast;
mod doing;
mod script;
mod serve;
mod session;
mod shared;

pub(crate) use script::script;
pub(crate) use serve::serve;
pub(crate) use session::{Order, Session};
pub(crate) use shared::Shared;
