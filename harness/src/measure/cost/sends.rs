//! Counts what the kernel's books leave out: sends on sockets.
//!
//! `/proc/PID/io` counts `write` and `writev`, also on sockets, but no `send`,
//! `sendto` or `sendmsg`; the standard library sends with `send`, and so does
//! everything built on it. No library offers a hook there. But a C function that the
//! program defines itself comes before the C library's of the same name. So the
//! three are defined here, make the system call themselves, and count.
//!
//! What goes another way is not counted: `sendmmsg`, `io_uring`, `splice`. Nothing in
//! this program uses them.
#![expect(
    unsafe_code,
    reason = "these are C functions by their nature; each passes its arguments to the kernel unchanged"
)]

use std::cell::Cell;
use std::ffi::{c_int, c_long, c_void};
use std::sync::atomic::{AtomicU64, Ordering};

/// Calls and bytes, of all threads; two counters on one cache line of their own.
#[repr(align(64))]
struct Counted {
    calls: AtomicU64,
    bytes: AtomicU64,
}

static ALL: Counted = Counted { calls: AtomicU64::new(0), bytes: AtomicU64::new(0) };

thread_local! {
    static OWN: Cell<(u64, u64)> = const { Cell::new((0, 0)) };
}

/// Calls so far, and the bytes that the kernel took, of this process.
pub(super) fn of_process() -> (u64, u64) {
    (ALL.calls.load(Ordering::Relaxed), ALL.bytes.load(Ordering::Relaxed))
}

/// The same of the calling thread.
pub(super) fn of_thread() -> (u64, u64) {
    OWN.get()
}

/// As the kernel counts writes: every call, also one that would have to wait; of
/// bytes only those that were taken.
#[inline]
fn count(result: c_long) -> libc::ssize_t {
    let bytes = u64::try_from(result).unwrap_or(0);
    ALL.calls.fetch_add(1, Ordering::Relaxed);
    ALL.bytes.fetch_add(bytes, Ordering::Relaxed);
    let (calls, before) = OWN.get();
    OWN.set((calls + 1, before + bytes));
    result as libc::ssize_t
}

// SAFETY of the three: the arguments are the caller's, who keeps the promises of the
// function of this name in POSIX; the kernel checks them as it does for the C
// library. `syscall` sets errno in the same way. Counting touches no memory of the
// caller's, allocates nothing and cannot panic, and a thread's cell has no
// destructor, so that it is there from the thread's first moment to its last.

#[unsafe(no_mangle)]
unsafe extern "C" fn send(
    socket: c_int,
    data: *const c_void,
    length: libc::size_t,
    flags: c_int,
) -> libc::ssize_t {
    // SAFETY: see above.
    count(unsafe {
        libc::syscall(
            libc::SYS_sendto,
            c_long::from(socket),
            data,
            length,
            c_long::from(flags),
            std::ptr::null::<c_void>(),
            0 as c_long,
        )
    })
}

#[unsafe(no_mangle)]
unsafe extern "C" fn sendto(
    socket: c_int,
    data: *const c_void,
    length: libc::size_t,
    flags: c_int,
    address: *const libc::sockaddr,
    address_length: libc::socklen_t,
) -> libc::ssize_t {
    // SAFETY: see above.
    count(unsafe {
        libc::syscall(
            libc::SYS_sendto,
            c_long::from(socket),
            data,
            length,
            c_long::from(flags),
            address,
            c_long::from(address_length),
        )
    })
}

#[unsafe(no_mangle)]
unsafe extern "C" fn sendmsg(socket: c_int, message: *const libc::msghdr, flags: c_int) -> libc::ssize_t {
    // SAFETY: see above.
    count(unsafe { libc::syscall(libc::SYS_sendmsg, c_long::from(socket), message, c_long::from(flags)) })
}
