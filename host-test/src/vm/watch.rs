//! Callbacks that are recorded, or made to trap.

use super::{Trapped, Vm, VmState};
use crate::trace::detail::Detail;
use crate::trace::{Callback, Outcome, Thread, callback_arguments};

/// The numbers that a callback takes or returns.
pub(crate) trait Numbers: Copy {
    fn put(&self, out: &mut Vec<i32>);
}

impl Numbers for () {
    fn put(&self, _out: &mut Vec<i32>) {}
}

impl Numbers for i32 {
    fn put(&self, out: &mut Vec<i32>) {
        out.push(*self);
    }
}

macro_rules! numbers {
    ($($number:ident: $type:ty),*) => {
        impl Numbers for ($($type,)*) {
            fn put(&self, out: &mut Vec<i32>) {
                let ($($number,)*) = self;
                out.extend([$(*$number),*]);
            }
        }
    };
}
numbers!(a: i32, b: i32);
numbers!(a: i32, b: i32, c: i32);
numbers!(a: i32, b: i32, c: i32, d: i32);
numbers!(a: i32, b: i32, c: i32, d: i32, e: i32);

/// Calls a guest of a host that records or has faults.
#[cold]
pub(super) fn call<R: Numbers>(
    vm: &mut Vm,
    context: u32,
    name: &'static str,
    params: impl Numbers,
    enter: impl FnOnce(&mut Vm) -> (Result<R, Trapped>, Option<u64>),
) -> Result<R, Trapped> {
    let (result, instructions) = match begin(vm.data_mut(), context, name, params) {
        true => {
            let text = format!("Function: {name} failed: a fault made it trap");
            (Err(Trapped(text)), None)
        }
        false => enter(vm),
    };
    let state = vm.data();
    let stream = state.stream().map(|(stream, _)| stream);
    let mut worker = state.worker.borrow_mut();
    if let Some(mut open) = worker.open.take() {
        open.instructions = instructions;
        open.outcome = outcome(&result);
        if let Some(detail) = &mut open.detail {
            detail.took = detail.began.elapsed();
        }
        worker.keep(stream, open);
    }
    drop(worker);
    result
}

fn outcome<R: Numbers>(result: &Result<R, Trapped>) -> Outcome {
    match result {
        Ok(result) => {
            let mut numbers = Vec::new();
            result.put(&mut numbers);
            Outcome::Returned(numbers.first().copied())
        }
        Err(Trapped(text)) => {
            let first = text.lines().next().unwrap_or_default();
            let cause = first.split_once(" failed: ");
            Outcome::Trapped(cause.map_or(first, |(_, cause)| cause).to_owned())
        }
    }
}

/// Opens the record of a callback, and tells whether a fault makes it trap.
fn begin(state: &mut VmState, context: u32, name: &'static str, params: impl Numbers) -> bool {
    state.run(context);
    let plugin = state.plugin();
    let plugin = plugin.as_ref().map_or("", |plugin| plugin.name.as_str());
    let mut worker = state.worker.borrow_mut();
    let recorder = worker.env.observe.trace.clone();
    let thread = worker.number.map(|number| match number.checked_sub(1) {
        None => Thread::Main,
        Some(number) => Thread::Worker(number),
    });
    if let (Some(recorder), Some(thread)) = (recorder, thread) {
        let mut raw = Vec::new();
        params.put(&mut raw);
        let detail = worker.env.observe.detail;
        worker.open = Some(Callback {
            number: recorder.number(),
            at: worker.env.clock.elapsed(),
            thread,
            plugin: plugin.to_owned(),
            context,
            name,
            arguments: callback_arguments(name, &raw),
            calls: Vec::new(),
            outcome: Outcome::Returned(None),
            instructions: None,
            detail: detail.then(|| Box::new(Detail::begin())),
        });
    }
    worker.env.shared.faults().traps(plugin, name)
}
