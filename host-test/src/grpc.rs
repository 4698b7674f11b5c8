//! The gRPC protocol as a client of a scripted service sees it: messages in frames, and what the
//! parts of an HTTP answer mean. The rules are those of Envoy's own gRPC client.

use bytes::Bytes;

use crate::callout::{REFUSED, TERMINATED, TIMED_OUT};
use crate::exchange::{Answer, REFUSED_DETAILS, TERMINATED_DETAILS};
use crate::headers::Headers;

/// What a gRPC client is told.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Event {
    Initial(Headers),
    Message(Bytes),
    Trailing(Headers),
    Close(u32, String),
}

/// Codes that a client makes itself.
pub(crate) const UNKNOWN: u32 = 2;
pub(crate) const INTERNAL: u32 = 13;
const UNAVAILABLE: u32 = 14;

/// The response code details of what a service has answered.
pub(crate) const VIA_UPSTREAM: &str = "via_upstream";

/// The same of an answer that breaks off.
pub(crate) const BROKEN_OFF: &str = "upstream_reset_after_response_started{remote_reset}";

/// Envoy's words for a cluster without hosts.
const NO_HOST: &str = "no healthy upstream";

/// A message as it is on the wire.
pub(crate) fn frame(message: &[u8]) -> Vec<u8> {
    let size = u32::try_from(message.len()).unwrap_or(u32::MAX);
    [&[0][..], &size.to_be_bytes(), message].concat()
}

/// The messages of a body; `None` if it isn't one of whole messages.
pub(crate) fn messages(mut body: &[u8]) -> Option<Vec<Bytes>> {
    let mut all = Vec::new();
    while !body.is_empty() {
        let (head, rest) = body.split_first_chunk::<5>()?;
        let [0, size @ ..] = head else { return None };
        let size = usize::try_from(u32::from_be_bytes(*size)).ok()?;
        let (message, rest) = rest.split_at_checked(size)?;
        all.push(Bytes::copy_from_slice(message));
        body = rest;
    }
    Some(all)
}

/// The part of a body that is whole messages.
fn whole(body: &[u8]) -> &[u8] {
    let mut end = 0;
    while let Some((head, rest)) = body
        .get(end..)
        .and_then(|rest| rest.split_first_chunk::<5>())
    {
        let [_, size @ ..] = head;
        let size = usize::try_from(u32::from_be_bytes(*size)).unwrap_or(usize::MAX);
        if size > rest.len() {
            break;
        }
        end += 5 + size;
    }
    body.get(..end).unwrap_or_default()
}

/// What a stream's client is told of an answer, or of more of one that has begun. The second part
/// tells whether it is over.
pub(crate) fn events(answer: &Answer, begun: bool) -> (Vec<Event>, bool) {
    let (headers, chunks, trailers) = match answer {
        Answer::Never => return (Vec::new(), false),
        Answer::Open { headers, chunks } => (headers, chunks, None),
        Answer::Break { headers, chunks } => {
            // A message that has begun is never whole.
            let whole = Bytes::copy_from_slice(whole(&chunks.concat()));
            let (mut events, over) = begin(headers, &[whole], begun);
            if !over {
                events.extend(failed(INTERNAL, BROKEN_OFF));
            }
            return (events, true);
        }
        Answer::Respond {
            headers,
            chunks,
            trailers,
        } => (headers, chunks, Some(trailers)),
        Answer::Reset if begun => return (failed(INTERNAL, BROKEN_OFF).into(), true),
        Answer::Refused => return (refused(REFUSED, REFUSED_DETAILS), true),
        Answer::Reset => return (refused(TERMINATED, TERMINATED_DETAILS), true),
    };
    let bare = chunks.is_empty() && trailers.is_some_and(Headers::is_empty);
    // Headers alone may be the trailers too.
    if bare && !begun && headers.first("grpc-status").is_some() {
        let mut events = vec![Event::Initial(Headers::new())];
        events.extend(ended(headers, VIA_UPSTREAM));
        return (events, true);
    }
    let (mut events, over) = begin(headers, chunks, begun);
    match trailers {
        _ if over => (events, true),
        None => (events, false),
        Some(trailers) if trailers.is_empty() => {
            events.extend(failed(UNKNOWN, VIA_UPSTREAM));
            (events, true)
        }
        Some(trailers) => {
            events.extend(ended(trailers, VIA_UPSTREAM));
            (events, true)
        }
    }
}

/// What the client of a call is told: one message, or how it failed.
pub(crate) fn outcome(answer: &Answer) -> Option<Event> {
    only(events(answer, false).0)
}

/// What of a stream's events the client of a call is told.
pub(crate) fn only(events: Vec<Event>) -> Option<Event> {
    let mut message = None;
    for event in events {
        match event {
            Event::Message(one) => message = Some(Event::Message(one)),
            Event::Close(0, _) => {
                return Some(message.unwrap_or(Event::Close(INTERNAL, String::new())));
            }
            close @ Event::Close(..) => return Some(close),
            Event::Initial(_) | Event::Trailing(_) => {}
        }
    }
    None
}

/// What a client is told whose time is up.
pub(crate) fn timed_out() -> Event {
    Event::Close(UNAVAILABLE, detailed(TIMED_OUT, "response_timeout"))
}

/// What a client is told of a cluster without hosts.
pub(crate) fn no_host() -> Vec<Event> {
    refused(NO_HOST, "no_healthy_upstream")
}

/// The same of a cluster that isn't there.
pub(crate) fn no_cluster() -> Vec<Event> {
    vec![Event::Close(
        UNAVAILABLE,
        "Cluster not available".to_owned(),
    )]
}

fn begin(headers: &Headers, chunks: &[Bytes], begun: bool) -> (Vec<Event>, bool) {
    let mut events = Vec::new();
    if !begun {
        let status = headers.text(":status").and_then(|s| s.parse().ok());
        if status != Some(200) {
            events.push(Event::Initial(Headers::new()));
            events.extend(failed(http_status(status.unwrap_or(0)), VIA_UPSTREAM));
            return (events, true);
        }
        events.push(Event::Initial(headers.clone()));
    }
    match messages(&chunks.concat()) {
        Some(messages) => {
            events.extend(messages.into_iter().map(Event::Message));
            (events, false)
        }
        None => {
            events.extend(failed(INTERNAL, VIA_UPSTREAM));
            (events, true)
        }
    }
}

/// The client gives an answer up.
pub(crate) fn failed(status: u32, details: &str) -> [Event; 2] {
    [
        Event::Trailing(Headers::new()),
        Event::Close(status, details.to_owned()),
    ]
}

/// An answer has ended with these trailers.
pub(crate) fn ended(trailers: &Headers, details: &str) -> [Event; 2] {
    let status = trailers.text("grpc-status");
    let status = status.map_or(UNKNOWN, |status| status.parse().unwrap_or(UNKNOWN));
    let message = trailers.text("grpc-message").unwrap_or_default();
    [
        Event::Trailing(trailers.clone()),
        Event::Close(status, detailed(&message, details)),
    ]
}

/// Envoy tells a client more than what came on the wire.
fn detailed(message: &str, details: &str) -> String {
    match message {
        "" => details.to_owned(),
        message => format!("{message}{{{details}}}"),
    }
}

/// What the router answers for a service that can't be reached.
pub(crate) fn refused(message: &str, details: &str) -> Vec<Event> {
    let trailers: Headers = [
        (":status", "200"),
        ("content-type", "application/grpc"),
        ("grpc-status", "14"),
        ("grpc-message", message),
    ]
    .into_iter()
    .collect();
    let mut events = vec![Event::Initial(Headers::new())];
    events.extend(ended(&trailers, details));
    events
}

/// The code that stands for an HTTP status.
pub(crate) fn http_status(status: u32) -> u32 {
    match status {
        400 => INTERNAL,
        401 => 16,
        403 => 7,
        404 => 12,
        429 | 502..=504 => UNAVAILABLE,
        _ => UNKNOWN,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn messages_come_out_of_the_frames_they_were_put_into() {
        let body = [frame(b"one"), frame(b""), frame(b"two")].concat();
        let all = messages(&body).expect("whole frames");
        assert_eq!(all, [&b"one"[..], b"", b"two"]);
        assert_eq!(messages(&body[..body.len() - 1]), None, "cut off");
        assert_eq!(messages(b"\x01\0\0\0\0"), None, "compressed");
        let cut = [&frame(b"one")[..], b"\0\0\0\0\x09x"].concat();
        assert_eq!(whole(&cut), frame(b"one"));
        assert_eq!(whole(b"junk"), b"");
    }

    #[test]
    fn the_client_of_a_call_is_told_one_thing() {
        let closed = |status, message: &str| Some(Event::Close(status, message.to_owned()));
        for (answer, told) in [
            (Answer::Never, None),
            (
                Answer::grpc(&[b"a", b"b"], 0, ""),
                Some(Event::Message("b".into())),
            ),
            (Answer::grpc(&[], 0, ""), closed(INTERNAL, "")),
            (
                Answer::grpc(&[b"a"], 5, "no"),
                closed(5, "no{via_upstream}"),
            ),
            (Answer::status(503, ""), closed(UNAVAILABLE, VIA_UPSTREAM)),
        ] {
            assert_eq!(outcome(&answer), told, "{answer:?}");
        }
    }
}
