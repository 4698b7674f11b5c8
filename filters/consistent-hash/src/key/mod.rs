//! What a request is told by: the first of several sources that it has.
//!
//! Sources in the request's head are read at once; those in its body are named, in their order, for
//! whoever reads the body. A value that is empty, or becomes so when it is normalized, is none.

pub mod json;
mod template;

use filter_core::key::Key;
use filter_core::request::{Inputs, Request};

pub use self::template::Template;
use crate::cookie;

/// A source, checked.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Source {
    /// Several parts at once.
    Combined(Key),
    /// Metadata of gRPC requests.
    GrpcMetadata(String),
    /// A value in a JSON body.
    Json(json::Target),
    /// One part.
    Part(Key),
    /// The cookie that the filter gives itself.
    Session,
    /// Parts of the path.
    Template(Template),
}

/// What is done to a key before it counts.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Normalization {
    /// Cut blanks off.
    pub trim: bool,
    /// Make ASCII letters lower case.
    pub lower: bool,
    /// Take what is within the first braces, if there is anything.
    pub hash_tag: bool,
}

/// The sources of keys in their order.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Keys {
    sources: Vec<Source>,
    normalization: Normalization,
}

/// What the head of a request says about its key.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Found {
    /// The key.
    Key(Vec<u8>),
    /// The body has to be read.
    InBody(BodyKeys),
    /// There is none.
    Missing,
}

/// Sources in a body, and what comes after them.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct BodyKeys {
    /// In the order of preference; at least one.
    pub targets: Vec<json::Target>,
    /// What counts if none of them is there: of the head, already normalized.
    pub otherwise: Option<Vec<u8>>,
}

impl Keys {
    /// Makes keys of checked sources.
    pub fn new(sources: Vec<Source>, normalization: Normalization) -> Self {
        Self {
            sources,
            normalization,
        }
    }

    /// Whether there is no source at all.
    pub fn is_empty(&self) -> bool {
        self.sources.is_empty()
    }

    /// Whether a body may have to be read.
    pub fn read_bodies(&self) -> bool {
        let mut sources = self.sources.iter();
        sources.any(|source| matches!(source, Source::Json(_)))
    }

    /// Whether the filter's own cookie is a source.
    pub fn read_sessions(&self) -> bool {
        self.sources.contains(&Source::Session)
    }

    /// The header whose value is all that must be known of a request.
    pub fn lone_header(&self) -> Option<&str> {
        match self.sources.as_slice() {
            [Source::Part(key)] => key.lone_header(),
            _ => None,
        }
    }

    /// What must be known of a request.
    pub fn inputs(&self) -> Inputs {
        let sources = self.sources.iter().map(|source| match source {
            Source::Combined(key) | Source::Part(key) => key.inputs(),
            Source::GrpcMetadata(_) | Source::Session | Source::Template(_) => Inputs::HEADERS,
            Source::Json(_) => Inputs::NONE,
        });
        sources.collect()
    }

    /// The paths of properties that must be known, each once, parts parted by NUL.
    pub fn properties(&self) -> Vec<String> {
        let mut paths: Vec<String> = Vec::new();
        for source in &self.sources {
            let (Source::Combined(key) | Source::Part(key)) = source else {
                continue;
            };
            for path in key.properties() {
                if !paths.iter().any(|known| known == path) {
                    paths.push(path.to_owned());
                }
            }
        }
        paths
    }

    /// Finds the key in the head of a request. `session` is its session, if its cookie is right;
    /// `has_body` whether anything comes after the head.
    pub fn find(
        &self,
        request: &Request<'_>,
        session: Option<cookie::Id>,
        has_body: bool,
    ) -> Found {
        let mut targets = Vec::new();
        for source in &self.sources {
            if let Source::Json(target) = source {
                if has_body {
                    targets.push(target.clone());
                }
                continue;
            }
            let value = source.value(request, session);
            let Some(key) = value.and_then(|value| self.normalize(value)) else {
                continue;
            };
            if targets.is_empty() {
                return Found::Key(key);
            }
            return Found::InBody(BodyKeys {
                targets,
                otherwise: Some(key),
            });
        }
        match targets.is_empty() {
            true => Found::Missing,
            false => Found::InBody(BodyKeys {
                targets,
                otherwise: None,
            }),
        }
    }

    /// Normalizes a value; `None` if nothing is left of it.
    pub fn normalize(&self, mut value: Vec<u8>) -> Option<Vec<u8>> {
        if self.normalization.hash_tag
            && let Some(tag) = hash_tag(&value)
        {
            value = tag.to_vec();
        }
        if self.normalization.trim && value.trim_ascii().len() != value.len() {
            value = value.trim_ascii().to_vec();
        }
        if self.normalization.lower {
            value.make_ascii_lowercase();
        }
        (!value.is_empty()).then_some(value)
    }
}

/// What Redis Cluster hashes of a key with braces: what is between the first `{` and the next `}`,
/// unless that is nothing.
fn hash_tag(key: &[u8]) -> Option<&[u8]> {
    let open = key.iter().position(|byte| *byte == b'{')?;
    let after = key.get(open.checked_add(1)?..)?;
    let close = after.iter().position(|byte| *byte == b'}')?;
    after.get(..close).filter(|tag| !tag.is_empty())
}

impl Source {
    fn value(&self, request: &Request<'_>, session: Option<cookie::Id>) -> Option<Vec<u8>> {
        match self {
            Self::Combined(key) => {
                let mut value = Vec::new();
                key.write(request, &mut value).ok()?;
                Some(value)
            }
            Self::GrpcMetadata(name) => {
                let kind = request.headers.first("content-type")?;
                let is_grpc = kind
                    .strip_prefix(b"application/grpc")
                    .is_some_and(|rest| matches!(rest.first(), None | Some(b'+' | b';' | b' ')));
                let value = is_grpc.then(|| request.headers.first(name))?;
                value.map(<[u8]>::to_vec)
            }
            Self::Json(_) => None,
            Self::Part(key) => {
                let mut value = Vec::new();
                key.write(request, &mut value).ok()?;
                // The mark and the length before it tell parts apart, and here is just one: without
                // them the key hashes as it does in the gateway's own policies.
                const MARK: usize = 5;
                value.drain(..MARK.min(value.len()));
                Some(value)
            }
            Self::Session => session.map(|id| id.to_vec()),
            Self::Template(template) => template.find(request.headers.path()?),
        }
    }
}

impl BodyKeys {
    /// Starts to read a body.
    pub fn scan(&self) -> Vec<json::Scanner> {
        let targets = self.targets.iter();
        targets
            .map(|target| json::Scanner::new(target.clone()))
            .collect()
    }
}

/// What the scans of a body say together: the first value in their order, once those before it are
/// known to be absent. `None` as long as that isn't clear.
pub fn settled(scanners: &[json::Scanner]) -> Option<Option<&[u8]>> {
    for scanner in scanners {
        match scanner.progress() {
            json::Progress::More => return None,
            json::Progress::Found(value) => return Some(Some(value)),
            json::Progress::Absent => {}
        }
    }
    Some(None)
}
