//! The ledger: bytes in use, free chunks, the last serial number, and the hand of the clock.

use super::Millis;
use super::layout::Layout;
use super::wire::Reader;

const MAGIC: u32 = 0x324c_4350;

/// What all workers share about what is in use.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Ledger {
    /// Bytes of all entries and chunks.
    pub(crate) used: u64,
    /// The set that is looked at next for what to evict.
    pub(crate) hand: u32,
    /// When something was reserved last.
    pub(crate) touched: Millis,
    serial: u64,
    /// How often it was counted anew what is in use: room that was taken before is no longer counted.
    pub(crate) epoch: u64,
    /// A bit per chunk, set if it is in use.
    chunks: Vec<u8>,
}

impl Ledger {
    /// Reads a stored ledger. If there is none, or it isn't one, nothing is in use.
    pub(crate) fn decode(stored: Option<&[u8]>, layout: &Layout, now: Millis) -> Self {
        let read = stored.and_then(|bytes| Self::read(bytes, layout));
        read.unwrap_or_else(|| Self {
            used: 0,
            hand: 0,
            touched: now,
            // Above every number given out before, should there have been a ledger once: none gives
            // out a million a millisecond.
            serial: now.saturating_mul(1 << 20),
            epoch: now,
            chunks: vec![0; bitmap_len(layout)],
        })
    }

    fn read(bytes: &[u8], layout: &Layout) -> Option<Self> {
        let mut reader = Reader(bytes);
        if reader.u32()? != MAGIC {
            return None;
        }
        let ledger = Self {
            used: reader.u64()?,
            hand: reader.u32()?,
            touched: reader.u64()?,
            serial: reader.u64()?,
            epoch: reader.u64()?,
            chunks: reader.take(bitmap_len(layout))?.to_vec(),
        };
        reader.is_done().then_some(ledger)
    }

    /// The value to be stored.
    pub(crate) fn encode(&self) -> Vec<u8> {
        let mut out = Vec::with_capacity(self.chunks.len().saturating_add(40));
        out.extend_from_slice(&MAGIC.to_le_bytes());
        out.extend_from_slice(&self.used.to_le_bytes());
        out.extend_from_slice(&self.hand.to_le_bytes());
        out.extend_from_slice(&self.touched.to_le_bytes());
        out.extend_from_slice(&self.serial.to_le_bytes());
        out.extend_from_slice(&self.epoch.to_le_bytes());
        out.extend_from_slice(&self.chunks);
        out
    }

    /// The first of so many numbers that no other version of any object has.
    pub(crate) fn next_serials(&mut self, count: u64) -> u64 {
        let first = self.serial.wrapping_add(1);
        self.serial = self.serial.wrapping_add(count);
        first
    }

    /// Bytes that are missing to hold `bytes` more.
    pub(crate) fn shortfall(&self, bytes: u64, layout: &Layout) -> u64 {
        self.used
            .saturating_add(bytes)
            .saturating_sub(layout.budget())
    }

    /// Takes bytes and chunks, if there are so many.
    pub(crate) fn take(&mut self, bytes: u64, chunks: usize, layout: &Layout) -> Option<Vec<u32>> {
        if self.shortfall(bytes, layout) > 0 {
            return None;
        }
        let free = (0..layout.chunks()).filter(|chunk| !self.is_used(*chunk));
        let taken: Vec<_> = free.take(chunks).collect();
        if taken.len() < chunks {
            return None;
        }
        for chunk in &taken {
            self.mark(*chunk, true);
        }
        self.used = self.used.saturating_add(bytes);
        Some(taken)
    }

    /// Gives bytes and chunks back.
    pub(crate) fn give_back(&mut self, bytes: u64, chunks: &[u32]) {
        self.used = self.used.saturating_sub(bytes);
        for chunk in chunks {
            self.mark(*chunk, false);
        }
    }

    /// Takes note of all that is in use, in place of what it was thought to be.
    pub(crate) fn in_use(&mut self, bytes: u64, chunks: &[u32]) {
        self.used = bytes;
        self.epoch = self.epoch.wrapping_add(1);
        self.chunks.fill(0);
        for chunk in chunks {
            self.mark(*chunk, true);
        }
    }

    /// Moves the hand on and returns the set that it was at.
    pub(crate) fn turn(&mut self, layout: &Layout) -> u32 {
        let at = self.hand;
        let next = at.saturating_add(1);
        self.hand = if next < layout.sets() { next } else { 0 };
        if at < layout.sets() { at } else { 0 }
    }

    fn is_used(&self, chunk: u32) -> bool {
        let (byte, bit) = place(chunk);
        self.chunks.get(byte).is_none_or(|byte| byte & bit != 0)
    }

    fn mark(&mut self, chunk: u32, used: bool) {
        let (byte, bit) = place(chunk);
        if let Some(byte) = self.chunks.get_mut(byte) {
            *byte = if used { *byte | bit } else { *byte & !bit };
        }
    }
}

fn place(chunk: u32) -> (usize, u8) {
    let byte = usize::try_from(chunk.div_euclid(8)).unwrap_or(usize::MAX);
    (byte, 1 << chunk.rem_euclid(8))
}

fn bitmap_len(layout: &Layout) -> usize {
    usize::try_from(layout.chunks().div_ceil(8)).unwrap_or(0)
}
