//! Counts the bytes that a thread holds, so that a target can bound what a parser takes.
#![expect(unsafe_code, reason = "an allocator is unsafe by its nature; each call is passed on unchanged")]

use std::alloc::{GlobalAlloc, Layout};
use std::cell::Cell;

thread_local! {
    /// Bytes held now and at most; what another thread allocated and this one frees makes it negative.
    static HELD: Cell<(isize, isize)> = const { Cell::new((0, 0)) };
}

/// An allocator that counts for each thread what it holds. Unit tests that fuzz make it theirs:
/// `#[global_allocator] static HEAP: Heap<System> = Heap(System);`
pub struct Heap<A>(pub A);

/// What `work` holds at most beyond what is held before, bytes; 0 under another allocator.
pub(crate) fn most_of<T>(work: impl FnOnce() -> T) -> (T, usize) {
    let before = HELD.get().0;
    HELD.set((before, before));
    let done = work();
    (done, HELD.get().1.saturating_sub(before).unsigned_abs())
}

#[inline]
fn count(bytes: isize) {
    let (now, most) = HELD.get();
    let now = now.wrapping_add(bytes);
    HELD.set((now, most.max(now)));
}

// SAFETY: every call is the inner allocator's, with the same arguments. Counting allocates
// nothing and cannot panic, and a thread's cell has no destructor.
unsafe impl<A: GlobalAlloc> GlobalAlloc for Heap<A> {
    unsafe fn alloc(&self, layout: Layout) -> *mut u8 {
        count(layout.size() as isize);
        // SAFETY: the caller keeps the promises of `alloc`.
        unsafe { self.0.alloc(layout) }
    }

    unsafe fn alloc_zeroed(&self, layout: Layout) -> *mut u8 {
        count(layout.size() as isize);
        // SAFETY: the caller keeps the promises of `alloc_zeroed`.
        unsafe { self.0.alloc_zeroed(layout) }
    }

    unsafe fn realloc(&self, memory: *mut u8, layout: Layout, size: usize) -> *mut u8 {
        count(size as isize - layout.size() as isize);
        // SAFETY: the caller keeps the promises of `realloc`.
        unsafe { self.0.realloc(memory, layout, size) }
    }

    unsafe fn dealloc(&self, memory: *mut u8, layout: Layout) {
        count(-(layout.size() as isize));
        // SAFETY: the caller keeps the promises of `dealloc`.
        unsafe { self.0.dealloc(memory, layout) }
    }
}
