//! Counts allocations: the system's allocator, with a counter for each thread.
//!
//! It stands in the library, not in `lab`, so that whatever plays a role counts in
//! the same way: the integration tests, too.
#![expect(
    unsafe_code,
    reason = "an allocator is unsafe by its nature; each call is passed on to the system's unchanged"
)]

use std::alloc::{GlobalAlloc, Layout, System};
use std::cell::Cell;
use std::sync::atomic::{AtomicU64, Ordering};

#[cfg(not(test))]
#[global_allocator]
static HEAP: Counting = Counting;

// The unit tests bound what parsers hold, too.
#[cfg(test)]
#[global_allocator]
static HEAP: fuzz::Heap<Counting> = fuzz::Heap(Counting);

/// A thread adds to the sum of all this seldom: an addition that all threads see
/// costs several times as much as the thread's own.
const BATCH: u64 = 64;

static ALL: AtomicU64 = AtomicU64::new(0);

thread_local! {
    static OWN: Cell<u64> = const { Cell::new(0) };
}

/// The system's allocator, counted. An allocation is whatever asks for memory, anew
/// or more: `alloc`, `alloc_zeroed` and `realloc`. C code's own is not counted.
pub struct Counting;

/// Allocations so far, of this process: exact for the calling thread, and less than
/// [`BATCH`] too few for each other one.
pub(super) fn of_process() -> u64 {
    ALL.load(Ordering::Relaxed) + OWN.get() % BATCH
}

/// Allocations so far, of the calling thread.
pub(super) fn of_thread() -> u64 {
    OWN.get()
}

#[inline]
fn count() {
    let now = OWN.get() + 1;
    OWN.set(now);
    if now.is_multiple_of(BATCH) {
        ALL.fetch_add(BATCH, Ordering::Relaxed);
    }
}

// SAFETY: every call is the system allocator's, with the same arguments. Counting
// allocates nothing and cannot panic, and a thread's cell has no destructor, so that
// it is there from the thread's first moment to its last.
unsafe impl GlobalAlloc for Counting {
    #[inline]
    unsafe fn alloc(&self, layout: Layout) -> *mut u8 {
        count();
        // SAFETY: the caller keeps the promises of `alloc`.
        unsafe { System.alloc(layout) }
    }

    #[inline]
    unsafe fn alloc_zeroed(&self, layout: Layout) -> *mut u8 {
        count();
        // SAFETY: the caller keeps the promises of `alloc_zeroed`.
        unsafe { System.alloc_zeroed(layout) }
    }

    #[inline]
    unsafe fn realloc(&self, memory: *mut u8, layout: Layout, size: usize) -> *mut u8 {
        count();
        // SAFETY: the caller keeps the promises of `realloc`.
        unsafe { System.realloc(memory, layout, size) }
    }

    #[inline]
    unsafe fn dealloc(&self, memory: *mut u8, layout: Layout) {
        // SAFETY: the caller keeps the promises of `dealloc`.
        unsafe { System.dealloc(memory, layout) }
    }
}
