//! Shared parts of all commands: the user's brokers, the transport of an application,
//! usage errors, Ctrl-C, and the format of lines and numbers.

/// As `println!`; but where nobody reads any more it returns an error,
/// which [`crate::cli::main`] knows, instead of a panic.
macro_rules! outln {
    ($($text:tt)*) => {
        std::io::Write::write_fmt(&mut std::io::stdout().lock(), format_args!("{}\n", format_args!($($text)*)))
    };
}

/// As `eprintln!`; but where nobody reads any more, as in `2>&1 | head -1`, the work goes on
/// without a word instead of a panic.
macro_rules! errln {
    ($($text:tt)*) => {
        drop(std::io::Write::write_fmt(
            &mut std::io::stderr().lock(),
            format_args!("{}\n", format_args!($($text)*)),
        ))
    };
}

mod brokers;
mod format;
mod interrupt;
mod random;
mod terminal;
#[cfg(feature = "apps")]
mod transport;
mod unread;
mod usage;

pub(crate) use brokers::{BrokerArgs, Given, brokers_named, source, start};
pub(crate) use format::{human, thousands};
#[cfg(feature = "apps")]
pub(crate) use interrupt::end_at_next;
pub(crate) use interrupt::{interruptible, tell_leftovers};
pub(crate) use random::{nonce, random};
pub(crate) use terminal::live_terminal;
#[cfg(feature = "apps")]
pub(crate) use transport::{OverArgs, no_transport, transports};
pub(crate) use unread::{is_unread, or_unread};
pub(crate) use usage::{Usage, lab, usage};
