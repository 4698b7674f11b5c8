//! The upstream of a scenario: decides what it answers to a request.

use bytes::Bytes;

use crate::headers::Headers;
use crate::host::{Answer, Received};

use super::model::{Reply, ReplyFields, UpstreamBlock, UpstreamMatch};

/// The replies of a scenario's `upstreams`, and how many of each block were given.
#[derive(Clone, Debug)]
pub struct Script {
    blocks: Vec<(UpstreamMatch, Vec<Reply>)>,
    given: Vec<usize>,
}

impl Script {
    /// A script at its beginning.
    pub fn new(upstreams: &[UpstreamBlock]) -> Self {
        let blocks: Vec<_> = upstreams
            .iter()
            .map(|block| {
                let replies = block.reply.iter().chain(&block.replies).cloned().collect();
                (block.matches.clone(), replies)
            })
            .collect();
        Self {
            given: vec![0; blocks.len()],
            blocks,
        }
    }

    /// The next answer to such a request.
    pub fn answer(&mut self, request: &Received) -> Answer {
        for ((matches, replies), given) in self.blocks.iter().zip(&mut self.given) {
            if matches.fits(request) {
                let reply = replies.get(*given).or_else(|| replies.last());
                *given += 1;
                return reply.map_or_else(|| answer(&ReplyFields::default()), Reply::answer);
            }
        }
        answer(&ReplyFields::default())
    }
}

impl Reply {
    fn answer(&self) -> Answer {
        match self {
            Self::Never => Answer::Never,
            Self::Reset => Answer::Reset,
            Self::Respond(fields) => answer(fields),
        }
    }
}

impl Default for ReplyFields {
    fn default() -> Self {
        Self {
            status: 200,
            headers: Default::default(),
            body: String::new(),
        }
    }
}

impl UpstreamMatch {
    fn fits(&self, request: &Received) -> bool {
        let values = |name: &str| request.headers.all(name).collect::<Vec<_>>();
        let fits = |expected: &Option<_>, name: &str| {
            expected
                .as_ref()
                .is_none_or(|one: &super::TextMatch| one.matches(&values(name)))
        };
        fits(&self.method, ":method")
            && fits(&self.path, ":path")
            && self
                .headers
                .iter()
                .all(|(name, expected)| expected.matches(&values(name)))
    }
}

fn answer(fields: &ReplyFields) -> Answer {
    let mut headers = Headers::new();
    headers.append(":status", fields.status.to_string());
    for (name, value) in &fields.headers.0 {
        headers.append(name, value);
    }
    let bodyless = matches!(fields.status, 204 | 304);
    if !bodyless && headers.first("content-length").is_none() {
        headers.append("content-length", fields.body.len().to_string());
    }
    let chunks = if fields.body.is_empty() || bodyless {
        Vec::new()
    } else {
        vec![Bytes::from(fields.body.clone())]
    };
    Answer::Respond {
        headers,
        chunks,
        trailers: Headers::new(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn script(yaml: &str) -> Script {
        Script::new(&super::super::load::parse_yaml::<Vec<UpstreamBlock>>(yaml).unwrap())
    }

    fn status(script: &mut Script, method: &str, path: &str) -> String {
        let request = Received {
            cluster: super::super::UPSTREAM.to_owned(),
            headers: [(":method", method), (":path", path), ("a", "b")]
                .into_iter()
                .collect(),
            body: Bytes::new(),
            trailers: Headers::new(),
            bare: false,
        };
        match script.answer(&request) {
            Answer::Respond { headers, .. } => headers.text(":status").unwrap().into_owned(),
            Answer::Reset => "reset".to_owned(),
            Answer::Never => "never".to_owned(),
        }
    }

    #[test]
    fn replies_of_a_block_come_in_order_and_the_last_again() {
        let mut script = script("[{replies: [500, reset, {status: 201}]}]");
        let seen: Vec<_> = (0..4).map(|_| status(&mut script, "GET", "/")).collect();
        assert_eq!(seen, ["500", "reset", "201", "201"]);
    }

    #[test]
    fn the_first_block_that_fits_answers() {
        let mut script = script(
            "- {match: {method: POST, path: ~^/a}, reply: 201}\n\
             - {match: {headers: {a: b, c: absent}, path: /b}, reply: never}\n\
             - {match: {headers: {c: ~.}}, reply: 202}\n",
        );
        assert_eq!(status(&mut script, "POST", "/a?q"), "201");
        assert_eq!(status(&mut script, "GET", "/b"), "never");
        assert_eq!(status(&mut script, "GET", "/a"), "200");
    }

    #[test]
    fn a_reply_has_its_headers_and_a_length() {
        let mut script = script("[{reply: {status: 503, headers: {b: [1, 2], a: 3}, body: down}}]");
        let request = Received {
            cluster: String::new(),
            headers: Headers::new(),
            body: Bytes::new(),
            trailers: Headers::new(),
            bare: false,
        };
        let Answer::Respond {
            headers, chunks, ..
        } = script.answer(&request)
        else {
            panic!("it replies");
        };
        let expected: Headers = [
            (":status", "503"),
            ("b", "1"),
            ("b", "2"),
            ("a", "3"),
            ("content-length", "4"),
        ]
        .into_iter()
        .collect();
        assert_eq!(headers, expected);
        assert_eq!(chunks, [Bytes::from("down")]);
    }
}
