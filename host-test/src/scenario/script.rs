//! The upstream and the services of a scenario: decides what they answer to a request.

use bytes::Bytes;

use crate::headers::Headers;
use crate::host::{Answer, Received};

use super::callouts::{CalloutBlock, CalloutFields, CalloutReply, Then};
use super::model::{Reply, ReplyFields, UpstreamBlock, UpstreamMatch};
use super::values::HeaderLines;

/// The replies of a scenario's `upstreams` or `callouts`, and how many of each block were given.
#[derive(Clone, Debug)]
pub struct Script {
    blocks: Vec<Block>,
    /// What is answered where no block fits.
    otherwise: Answer,
}

#[derive(Clone, Debug)]
struct Block {
    /// Empty for any.
    cluster: String,
    matches: UpstreamMatch,
    answers: Vec<Answer>,
    given: usize,
}

impl Script {
    /// The script of the upstream, at its beginning.
    pub fn new(upstreams: &[UpstreamBlock]) -> Self {
        let block = |block: &UpstreamBlock| Block {
            cluster: String::new(),
            matches: block.matches.clone(),
            answers: block
                .reply
                .iter()
                .chain(&block.replies)
                .map(Reply::answer)
                .collect(),
            given: 0,
        };
        Self {
            blocks: upstreams.iter().map(block).collect(),
            otherwise: answer(&ReplyFields::default()),
        }
    }

    /// The script of the services that guests call, at its beginning.
    pub fn of_callouts(callouts: &[CalloutBlock]) -> Self {
        let block = |block: &CalloutBlock| Block {
            cluster: block.cluster.clone(),
            matches: block.matches.clone(),
            answers: block.answers().map(CalloutReply::answer).collect(),
            given: 0,
        };
        Self {
            blocks: callouts.iter().map(block).collect(),
            otherwise: answer(&ReplyFields {
                status: 404,
                ..ReplyFields::default()
            }),
        }
    }

    /// The next answer to such a request.
    pub fn answer(&mut self, request: &Received) -> Answer {
        let fits = |block: &&mut Block| {
            (block.cluster.is_empty() || block.cluster == request.cluster)
                && block.matches.fits(request)
        };
        let Some(block) = self.blocks.iter_mut().find(fits) else {
            return self.otherwise.clone();
        };
        let answer = block
            .answers
            .get(block.given)
            .or_else(|| block.answers.last());
        block.given += 1;
        answer.unwrap_or(&self.otherwise).clone()
    }
}

impl CalloutReply {
    /// What that is to a host. That a cluster has no host is known before a call is made.
    pub fn answer(&self) -> Answer {
        match self {
            Self::Never => Answer::Never,
            Self::NoHost | Self::Refused => Answer::Refused,
            Self::Reset => Answer::Reset,
            Self::Respond(fields) => fields.answer(),
        }
    }
}

impl CalloutFields {
    fn answer(&self) -> Answer {
        let lines = |lines: &HeaderLines| {
            let lines = lines.0.iter();
            lines
                .map(|(name, value)| (name.as_str(), value.as_str()))
                .collect::<Headers>()
        };
        let mut headers: Headers = [(":status", self.status.to_string())].into_iter().collect();
        for (name, value) in &self.headers.0 {
            headers.append(name, value);
        }
        let trailers = lines(&self.trailers);
        let bodyless = matches!(self.status, 204 | 304);
        let chunks = match self.body.is_empty() || bodyless {
            true => Vec::new(),
            false => vec![Bytes::from(self.body.clone())],
        };
        if self.then == Some(Then::Reset) {
            // So that the end of the connection isn't the end of the body.
            if headers.first("content-length").is_none() {
                headers.append("content-length", (self.body.len() + 1).to_string());
            }
            return Answer::Break { headers, chunks };
        }
        if trailers.is_empty() {
            if !bodyless && headers.first("content-length").is_none() {
                headers.append("content-length", self.body.len().to_string());
            }
        } else {
            headers.append("transfer-encoding", "chunked");
        }
        Answer::Respond {
            headers,
            chunks,
            trailers,
        }
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
    /// Whether every request fits.
    pub(super) fn is_any(&self) -> bool {
        self.method.is_none() && self.path.is_none() && self.headers.is_empty()
    }

    pub(crate) fn fits(&self, request: &Received) -> bool {
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
            other => format!("{other:?}").to_lowercase(),
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
    fn services_are_told_apart_by_their_cluster() {
        let blocks = "- {cluster: a, match: {path: /x}, reply: 201}\n\
                      - {cluster: a, replies: [500, {status: 202}]}\n\
                      - {cluster: b, reply: {trailers: {t: 1}, then: reset}}\n";
        let blocks: Vec<CalloutBlock> = super::super::load::parse_yaml(blocks).unwrap();
        let mut script = Script::of_callouts(&blocks);
        let mut status = |cluster: &str, path: &str| {
            let request = Received {
                cluster: cluster.to_owned(),
                headers: [(":path", path)].into_iter().collect(),
                ..Received::default()
            };
            match script.answer(&request) {
                Answer::Respond { headers, .. } => headers.text(":status").unwrap().into_owned(),
                Answer::Break { .. } => "break".to_owned(),
                other => format!("{other:?}"),
            }
        };
        let seen = [("a", "/x"), ("a", "/"), ("a", "/"), ("b", "/"), ("c", "/")]
            .map(|(cluster, path)| status(cluster, path));
        assert_eq!(seen, ["201", "500", "202", "break", "404"]);
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
