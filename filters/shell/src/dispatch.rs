//! Callbacks of the host, handed to the plugin or the stream that they are about.

use std::cell::RefCell;

use filter_core::contexts::Contexts;

use crate::host;
use crate::host::calls::{self, Call};

/// What becomes of a stream after a callback.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u32)]
pub enum Action {
    /// It goes on.
    Continue = 0,
    /// It waits.
    Pause = 1,
}

/// A plugin in this VM: one configuration of the filter.
pub trait Plugin {
    /// What it keeps for a request.
    type Stream: Stream;

    /// A plugin without configuration yet.
    fn new() -> Self;

    /// Reads the configuration; returns whether it can be worked with.
    fn on_configure(&mut self) -> bool;

    /// Is called again and again, if that was asked for.
    fn on_tick(&mut self) {}

    /// A request begins.
    fn stream(&self) -> Self::Stream;
}

/// A request on its way. It is dropped when the host deletes it.
pub trait Stream {
    /// The request's headers came.
    fn on_request_headers(&mut self) -> Action {
        Action::Continue
    }

    /// The response's headers came.
    fn on_response_headers(&mut self) -> Action {
        Action::Continue
    }

    /// A piece of the response's body came, so many bytes of it.
    fn on_response_body(&mut self, size: usize) -> Action {
        let _ = size;
        Action::Continue
    }

    /// An HTTP request of the stream's was answered by so many headers and bytes; without headers there
    /// is no answer.
    fn on_http_answer(&mut self, token: u32, headers: usize, body: usize) {
        let _ = (token, headers, body);
    }

    /// A gRPC call of the stream's was answered by a message of so many bytes, or ended with a status.
    fn on_grpc_answer(&mut self, token: u32, status: u32, size: usize) {
        let _ = (token, status, size);
    }
}

/// The plugins of a module in this VM, and their streams.
///
/// A callback about a context that isn't known, or comes while another one of its kind runs, does
/// nothing.
#[derive(Debug)]
pub struct Dispatcher<P: Plugin> {
    plugins: RefCell<Vec<(u32, P)>>,
    streams: RefCell<Contexts<P::Stream>>,
}

impl<P: Plugin> Dispatcher<P> {
    /// No plugin yet.
    #[expect(clippy::new_without_default, reason = "it is made in a constant")]
    pub const fn new() -> Self {
        Self {
            plugins: RefCell::new(Vec::new()),
            streams: RefCell::new(Contexts::new()),
        }
    }

    /// `proxy_on_context_create`; a plugin is what has no parent.
    pub fn create(&self, id: u32, parent: u32) {
        let Ok(mut plugins) = self.plugins.try_borrow_mut() else {
            return;
        };
        if parent == 0 {
            plugins.push((id, P::new()));
        } else if let Some((_, plugin)) = plugins.iter().find(|(plugin, _)| *plugin == parent)
            && let Ok(mut streams) = self.streams.try_borrow_mut()
        {
            streams.insert(id, plugin.stream());
        }
    }

    /// `proxy_on_delete`.
    pub fn delete(&self, id: u32) {
        let streams = self.streams.try_borrow_mut();
        let stream = streams.ok().and_then(|mut streams| streams.remove(id));
        if stream.is_none()
            && let Ok(mut plugins) = self.plugins.try_borrow_mut()
        {
            plugins.retain(|(plugin, _)| *plugin != id);
        }
        calls::forget(id);
        // What a stream does in the end it does when nothing is borrowed any more.
        drop(stream);
    }

    /// A callback about a plugin.
    pub fn plugin<T>(&self, id: u32, call: impl FnOnce(&mut P) -> T) -> Option<T> {
        let mut plugins = self.plugins.try_borrow_mut().ok()?;
        let (_, plugin) = plugins.iter_mut().find(|(plugin, _)| *plugin == id)?;
        calls::set_caller(id);
        Some(call(plugin))
    }

    /// A callback about a stream.
    #[inline]
    pub fn stream<T>(&self, id: u32, call: impl FnOnce(&mut P::Stream) -> T) -> Option<T> {
        let mut streams = self.streams.try_borrow_mut().ok()?;
        let stream = streams.get_mut(id)?;
        calls::set_caller(id);
        Some(call(stream))
    }

    /// `proxy_on_http_call_response`.
    pub fn http_answer(&self, token: u32, headers: usize, body: usize) {
        self.answer(Call::Http(token), |stream| {
            stream.on_http_answer(token, headers, body);
        });
    }

    /// `proxy_on_grpc_receive` and `proxy_on_grpc_close`, whichever comes first.
    pub fn grpc_answer(&self, token: u32, status: u32, size: usize) {
        self.answer(Call::Grpc(token), |stream| {
            stream.on_grpc_answer(token, status, size);
        });
    }

    fn answer(&self, call: Call, hand_over: impl FnOnce(&mut P::Stream)) {
        // A context that is gone has no calls any more.
        if let Some(id) = calls::answered(call)
            && host::set_effective_context(id).is_ok()
        {
            self.stream(id, hand_over);
        }
    }
}

/// Makes a module of a [`Plugin`](crate::dispatch::Plugin): everything that a host calls.
#[macro_export]
macro_rules! module {
    ($plugin:ty) => {
        mod exports {
            use $crate::dispatch::{Action, Dispatcher, Plugin as _, Stream as _};

            use super::*;

            thread_local! {
                static DISPATCHER: Dispatcher<$plugin> = const { Dispatcher::new() };
            }

            #[unsafe(no_mangle)]
            extern "C" fn _initialize() {
                $crate::start();
            }

            #[unsafe(no_mangle)]
            extern "C" fn proxy_abi_version_0_2_1() {}

            #[unsafe(no_mangle)]
            extern "C" fn malloc(size: usize) -> *mut u8 {
                $crate::memory::for_host(size)
            }

            #[unsafe(no_mangle)]
            extern "C" fn proxy_on_context_create(id: u32, parent: u32) {
                DISPATCHER.with(|all| all.create(id, parent));
            }

            #[unsafe(no_mangle)]
            extern "C" fn proxy_on_delete(id: u32) {
                DISPATCHER.with(|all| all.delete(id));
            }

            #[unsafe(no_mangle)]
            extern "C" fn proxy_on_configure(id: u32, _: usize) -> bool {
                let done = DISPATCHER.with(|all| all.plugin(id, |plugin| plugin.on_configure()));
                done.unwrap_or(false)
            }

            #[unsafe(no_mangle)]
            extern "C" fn proxy_on_tick(id: u32) {
                DISPATCHER.with(|all| all.plugin(id, |plugin| plugin.on_tick()));
            }

            #[unsafe(no_mangle)]
            extern "C" fn proxy_on_request_headers(id: u32, _: usize, _: bool) -> Action {
                let done = DISPATCHER.with(|all| all.stream(id, |it| it.on_request_headers()));
                done.unwrap_or(Action::Continue)
            }

            #[unsafe(no_mangle)]
            extern "C" fn proxy_on_response_headers(id: u32, _: usize, _: bool) -> Action {
                let done = DISPATCHER.with(|all| all.stream(id, |it| it.on_response_headers()));
                done.unwrap_or(Action::Continue)
            }

            #[unsafe(no_mangle)]
            extern "C" fn proxy_on_response_body(id: u32, size: usize, _: bool) -> Action {
                let done = DISPATCHER.with(|all| all.stream(id, |it| it.on_response_body(size)));
                done.unwrap_or(Action::Continue)
            }

            #[unsafe(no_mangle)]
            extern "C" fn proxy_on_http_call_response(
                _: u32,
                token: u32,
                headers: usize,
                body: usize,
                _: usize,
            ) {
                DISPATCHER.with(|all| all.http_answer(token, headers, body));
            }

            #[unsafe(no_mangle)]
            extern "C" fn proxy_on_grpc_receive(_: u32, token: u32, size: usize) {
                DISPATCHER.with(|all| all.grpc_answer(token, 0, size));
            }

            #[unsafe(no_mangle)]
            extern "C" fn proxy_on_grpc_close(_: u32, token: u32, status: u32) {
                DISPATCHER.with(|all| all.grpc_answer(token, status, 0));
            }
        }
    };
}
