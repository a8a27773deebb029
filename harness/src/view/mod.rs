//! A lab that is looked at while it runs: roles at human speed, and acts on them from a page.
//!
//! `session` holds the roles, `doing` carries out the acts, `shared` is what the page is told,
//! `live` and `serve` belong to the page, and `script` is a run without a page, for a file.

mod act;
mod cast;
mod doing;
#[cfg(feature = "apps")]
mod live;
mod script;
#[cfg(feature = "apps")]
mod serve;
mod session;
mod shared;

#[cfg(feature = "apps")]
pub(crate) use live::Order;
pub(crate) use script::script;
#[cfg(feature = "apps")]
pub(crate) use serve::serve;
pub(crate) use session::Session;
pub(crate) use shared::Shared;
