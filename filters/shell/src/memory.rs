//! The modules' memory: free lists by size before the allocator of the standard library.
//!
//! A request asks for a dozen small blocks and gives them back within microseconds. dlmalloc looks for
//! the best fit and joins what lies side by side, which takes ten times as long as to take the first
//! block of the right size from a list.

#![allow(unsafe_code, reason = "an allocator is made of raw memory")]

use std::alloc::{GlobalAlloc, Layout, System};
use std::cell::UnsafeCell;
use std::ptr::null_mut;

#[global_allocator]
static MEMORY: Memory = Memory(UnsafeCell::new([EMPTY; CLASSES]));

/// Blocks come in multiples of so many bytes.
const STEP: usize = 16;
/// Classes of blocks: up to 1 KiB.
const CLASSES: usize = 64;
/// Blocks that a list keeps at most, so that all together are less than 1.1 MB: more are given back.
const MOST: u32 = 32;
/// What dlmalloc aligns blocks to without being asked.
const ALIGN: usize = 8;

/// Free lists of blocks of 16, 32, … bytes.
struct Memory(UnsafeCell<[List; CLASSES]>);

#[derive(Clone, Copy)]
struct List {
    first: *mut Block,
    len: u32,
}

/// A free block; what is behind its first bytes doesn't matter.
struct Block {
    next: *mut Self,
}

const EMPTY: List = List {
    first: null_mut(),
    len: 0,
};

// SAFETY: a wasm module without shared memory has one thread.
unsafe impl Sync for Memory {}

impl Memory {
    /// The list for blocks of that layout; null if they are too large to be kept.
    #[inline]
    const fn list(&self, layout: Layout) -> *mut List {
        // A block of no bytes is never asked for.
        let class = layout.size().wrapping_sub(1).wrapping_div(STEP);
        if class < CLASSES && layout.align() <= ALIGN {
            // SAFETY: the class is within the array.
            unsafe { self.0.get().cast::<List>().add(class) }
        } else {
            null_mut()
        }
    }
}

/// The layout of the blocks in the list that is for `layout`.
#[inline]
const fn whole(layout: Layout) -> Layout {
    let size = layout.size().wrapping_add(STEP - 1) & !(STEP - 1);
    // SAFETY: at most 1 KiB, and the alignment is a power of two.
    unsafe { Layout::from_size_align_unchecked(size, ALIGN) }
}

// SAFETY: a block is the system's, of the size that its class has for good, and in a list only while
// nobody has it. Lists are touched by one thread alone, and no reference to one is kept.
unsafe impl GlobalAlloc for Memory {
    #[inline(never)]
    unsafe fn alloc(&self, layout: Layout) -> *mut u8 {
        let list = self.list(layout);
        // SAFETY: `list` is one of ours or null, what is in it is a free block of that class, and the
        // caller promises that `layout` has bytes.
        unsafe {
            if list.is_null() {
                return System.alloc(layout);
            }
            let first = (*list).first;
            if first.is_null() {
                return System.alloc(whole(layout));
            }
            (*list).first = (*first).next;
            (*list).len = (*list).len.wrapping_sub(1);
            first.cast()
        }
    }

    #[inline(never)]
    unsafe fn dealloc(&self, block: *mut u8, layout: Layout) {
        let list = self.list(layout);
        // SAFETY: the caller promises that `block` was allocated with `layout`; so it is of the list's
        // class, and no smaller or less aligned than a `Block`.
        unsafe {
            if list.is_null() {
                System.dealloc(block, layout);
            } else if (*list).len >= MOST {
                System.dealloc(block, whole(layout));
            } else {
                let block = block.cast::<Block>();
                (*block).next = (*list).first;
                (*list).first = block;
                (*list).len = (*list).len.wrapping_add(1);
            }
        }
    }

    unsafe fn realloc(&self, block: *mut u8, layout: Layout, size: usize) -> *mut u8 {
        // SAFETY: the caller promises that `block` was allocated with `layout`, and that `size` makes a
        // layout; of two blocks of one list each is as good as the other.
        unsafe {
            let wanted = Layout::from_size_align_unchecked(size, layout.align());
            let [list, other] = [self.list(layout), self.list(wanted)];
            if list.is_null() && other.is_null() {
                return System.realloc(block, layout, size);
            }
            if list == other {
                return block;
            }
            let moved = self.alloc(wanted);
            if !moved.is_null() {
                block.copy_to_nonoverlapping(moved, layout.size().min(size));
                self.dealloc(block, layout);
            }
            moved
        }
    }
}
