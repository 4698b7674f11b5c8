//! Shared data as the gateway has it: versions from one counter, compare-and-set on one key at a time.

#![allow(dead_code, reason = "each test target uses its part of it")]

use std::collections::HashMap;

use cache_lookup::store::op::{Answer, Op, Step, Write};
use filter_core::transaction::Cas;

/// Values by key, with the number of the write that they came by.
#[derive(Clone, Debug, Default)]
pub(crate) struct SharedData {
    values: HashMap<Vec<u8>, (Vec<u8>, u32)>,
    writes: u32,
    bytes: u64,
    /// How often something was read or written.
    pub(crate) calls: u64,
}

impl SharedData {
    pub(crate) fn read(&mut self, key: &[u8]) -> (Option<Vec<u8>>, Cas) {
        self.calls += 1;
        match self.values.get(key) {
            Some((value, number)) => (Some(value.clone()), Cas::Version(*number)),
            None => (None, Cas::Absent),
        }
    }

    pub(crate) fn write(&mut self, write: &Write) -> bool {
        self.calls += 1;
        let now = self.values.get(&*write.key).map(|(_, number)| *number);
        let is_expected = match write.cas {
            None => true,
            Some(Cas::Absent) => now.is_none(),
            Some(Cas::Version(number)) => now.is_none_or(|now| now == number),
        };
        if is_expected {
            self.put(&write.key, write.value.clone());
        }
        is_expected
    }

    pub(crate) fn put(&mut self, key: &[u8], value: Vec<u8>) {
        self.writes += 1;
        self.bytes += value.len() as u64;
        let before = self.values.insert(key.to_vec(), (value, self.writes));
        self.bytes -= before.map_or(0, |(value, _)| value.len() as u64);
    }

    /// Bytes of all values.
    pub(crate) fn bytes(&self) -> u64 {
        self.bytes
    }

    /// How many keys there are.
    pub(crate) fn keys(&self) -> usize {
        self.values.len()
    }

    /// Keys in order.
    pub(crate) fn key_list(&self) -> Vec<Vec<u8>> {
        let mut keys: Vec<_> = self.values.keys().cloned().collect();
        keys.sort();
        keys
    }

    /// Bytes of values whose key has this letter after the prefix: `e` for entries, `c` for chunks.
    pub(crate) fn bytes_of(&self, letter: u8) -> u64 {
        let is_of = |key: &[u8]| {
            let last = key.rsplit(|byte| *byte == b'.').next().unwrap_or_default();
            let before = key.split(|byte| *byte == b'.').nth(4).unwrap_or(last);
            before.first() == Some(&letter)
        };
        let values = self.values.iter().filter(|(key, _)| is_of(key));
        values.map(|(_, (value, _))| value.len() as u64).sum()
    }

    /// Does one step of an op; `None` if that was not the last one.
    pub(crate) fn step<T>(&mut self, op: &mut Op<'_, T>, answer: &mut Option<Answer>) -> Option<T> {
        match op.step(answer.take()) {
            Step::Read(key) => {
                let (value, cas) = self.read(&key);
                *answer = Some(Answer::Value(value, cas));
                None
            }
            Step::Write(write) => {
                let written = self.write(&write);
                *answer = Some(Answer::Written(written, write.value));
                None
            }
            Step::Done(output) => Some(output),
            Step::Stuck => panic!("an op that gets answers is never stuck"),
        }
    }

    /// Does all steps of an op.
    pub(crate) fn run<T>(&mut self, mut op: Op<'_, T>) -> T {
        let mut answer = None;
        loop {
            if let Some(output) = self.step(&mut op, &mut answer) {
                return output;
            }
        }
    }
}
