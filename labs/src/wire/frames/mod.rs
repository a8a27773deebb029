//! Frames over stream sockets, for the labs over TCP and Unix sockets.
//!
//! A stream carries bytes and does not say where a message ends. So each message is a frame: four
//! bytes of length, big-endian, then that many bytes, at most 16 MiB. Ten lines of Python can
//! speak it. What a frame holds is for each lab to say.
//!
//! - [`FrameConnection`] is one connection. `put` copies a frame into the output buffer (it is
//!   *accepted*), `flush` gives the buffer to the kernel (it is *written*). One read takes up to
//!   256 KiB from the kernel, and the frames in it are handed out without another copy.
//! - [`FrameListener`] is the side that binds: it accepts connections, reads frames from all of
//!   them in turn, and says when one has closed. A peer that announces a longer frame, or closes in
//!   the middle of one, is disconnected and counted. At most 64 MiB are buffered of frames that are
//!   not complete: long ones wait for their turn to be read.
//!
//! Neither side learns what became of frames that were written when a connection breaks.
//!
//! `tokio_util`'s `LengthDelimitedCodec` speaks the same frames, and is not used here. Its encoder
//! takes a frame in one piece, and most of ours have two or three (identifier and body, topic and
//! body): joining them first is an allocation and a copy more for each message. Its decoder would
//! cost no allocation for each message, but then reader and writer of one format would stand in
//! two places. It reads the length with a width known only at run time, in a function that cannot
//! be inlined here, and a build without other transports would need one library more. `Framed`
//! around it reads with 8 KiB at first, writes whenever 8 KiB are collected (both can be set), and
//! wants to be polled for room before each message.

mod connection;
mod listener;
#[cfg(test)]
mod tests;

pub use connection::{ConnectionEvent, FrameConnection, MAX_FRAME};
pub use listener::{FrameEvent, FrameListener};
