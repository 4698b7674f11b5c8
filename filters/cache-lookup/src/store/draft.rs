//! A body on its way past, kept until it is known to be complete.
//!
//! It lies in the worker's memory and not yet in shared data: a body that is cut short leaves nothing
//! to clean up. What all drafts of a worker may take is bounded; a response beyond that passes without
//! being stored.

use std::cell::Cell;
use std::rc::Rc;

use filter_core::hash::Hash;

use super::View;
use super::entry::CHUNK_HEAD;
use super::layout::{CHUNK, Layout};
use super::wire::{index, long};

/// The drafts of a worker.
#[derive(Clone, Debug)]
pub struct Drafts {
    left: Rc<Cell<u64>>,
    max_object: u64,
}

impl Drafts {
    /// Makes room for drafts of so many bytes in all.
    pub fn new(bytes: u64, layout: &Layout) -> Self {
        Self {
            left: Rc::new(Cell::new(bytes)),
            max_object: layout.max_object(),
        }
    }

    /// Begins a draft of what was asked for at the time of `view`. `length` is that of the body, if the
    /// response tells it. `None` if it is too long, or there is no room.
    pub fn begin(&self, view: &View, hash: Hash, length: Option<u64>) -> Option<Draft> {
        let least = length.unwrap_or(0);
        if least > self.max_object || least > self.left.get() {
            return None;
        }
        let head = [0; CHUNK_HEAD];
        let chunk = index(least.min(long(CHUNK))).saturating_add(CHUNK_HEAD);
        let mut first = Vec::with_capacity(chunk);
        first.extend_from_slice(&head);
        Some(Draft {
            hash,
            born: view.sequence(),
            pieces: vec![first],
            len: 0,
            drafts: self.clone(),
        })
    }
}

/// The copy of a body so far.
#[derive(Debug)]
pub struct Draft {
    pub(crate) hash: Hash,
    /// The board's sequence number when it was asked for.
    pub(crate) born: u64,
    /// Pieces of the body, each with room for a chunk's head before it. All but the last are full.
    pub(crate) pieces: Vec<Vec<u8>>,
    len: u64,
    drafts: Drafts,
}

impl Draft {
    /// Bytes of the body so far.
    pub fn len(&self) -> u64 {
        self.len
    }

    /// Whether nothing of a body came so far.
    pub fn is_empty(&self) -> bool {
        self.len == 0
    }

    /// Begins another draft, without a body, of what was asked for at the same time.
    pub fn sibling(&self, hash: Hash) -> Self {
        Self {
            hash,
            born: self.born,
            pieces: vec![vec![0; CHUNK_HEAD]],
            len: 0,
            drafts: self.drafts.clone(),
        }
    }

    /// Adds what came of the body. False if it has become too long, or there is no room: the draft is to
    /// be dropped then.
    #[must_use]
    pub fn append(&mut self, mut bytes: &[u8]) -> bool {
        let more = long(bytes.len());
        let len = self.len.saturating_add(more);
        let Some(left) = self.drafts.left.get().checked_sub(more) else {
            return false;
        };
        if len > self.drafts.max_object {
            return false;
        }
        self.drafts.left.set(left);
        self.len = len;
        while !bytes.is_empty() {
            let room = self.pieces.last().map_or(0, |piece| {
                CHUNK.saturating_add(CHUNK_HEAD).saturating_sub(piece.len())
            });
            if room == 0 {
                let next = bytes.len().min(CHUNK).saturating_add(CHUNK_HEAD);
                let mut piece = Vec::with_capacity(next);
                piece.extend_from_slice(&[0; CHUNK_HEAD]);
                self.pieces.push(piece);
                continue;
            }
            let (now, later) = bytes.split_at(bytes.len().min(room));
            if let Some(piece) = self.pieces.last_mut() {
                piece.extend_from_slice(now);
            }
            bytes = later;
        }
        true
    }

    /// The body so far, in one piece.
    pub fn body(&self) -> Vec<u8> {
        let mut body = Vec::with_capacity(index(self.len));
        for piece in &self.pieces {
            body.extend_from_slice(piece.get(CHUNK_HEAD..).unwrap_or_default());
        }
        body
    }
}

impl Drop for Draft {
    fn drop(&mut self) {
        let left = &self.drafts.left;
        left.set(left.get().saturating_add(self.len));
    }
}
