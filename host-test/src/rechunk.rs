//! The same body in other pieces: what a plugin does must not depend on where the network cuts.
//!
//! A [`Splitter`] cuts bodies at places that a seed decides, in the shapes in which HTTP/1 and
//! HTTP/2 deliver them. [`rechunk`] carries something out once with whole bodies and several times
//! with cut ones, and tells which cut made a difference.

use std::fmt;

use bytes::Bytes;

use crate::random::Random;

/// How the end of a body comes.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Shape {
    /// HTTP/1: the end is an empty piece of its own.
    #[default]
    Http1,
    /// HTTP/2: the last piece, which may be empty, is the end.
    Http2,
}

/// A body in pieces.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Split {
    /// The pieces. Only HTTP/2 has empty ones.
    pub pieces: Vec<Bytes>,
    /// How the end comes.
    pub shape: Shape,
}

/// Up to this size a body may come a byte at a time.
const SINGLE_BYTES: usize = 256;

/// Cuts bodies; the same seed makes the same cuts.
#[derive(Clone, Debug)]
pub struct Splitter {
    random: Option<Random>,
}

impl Splitter {
    /// Leaves bodies whole, as HTTP/1 delivers them.
    pub fn whole() -> Self {
        Self { random: None }
    }

    /// Cuts by a seed.
    pub fn new(seed: u64) -> Self {
        Self {
            random: Some(Random::new(seed)),
        }
    }

    /// Cuts a body: into single bytes, or at random places, now and then with empty pieces.
    pub fn split(&mut self, body: &Bytes) -> Split {
        let Some(random) = &mut self.random else {
            return Split::whole(body);
        };
        let shape = match random.one_in(2) {
            true => Shape::Http1,
            false => Shape::Http2,
        };
        let mut cuts: Vec<usize> = if body.len() <= SINGLE_BYTES && random.one_in(3) {
            (1..body.len()).collect()
        } else {
            let count = random.below(8);
            (0..count).map(|_| random.below(body.len() + 1)).collect()
        };
        cuts.sort_unstable();
        // A place that was drawn twice, and the ends, make empty pieces.
        if shape == Shape::Http1 {
            cuts.dedup();
            cuts.retain(|&cut| cut > 0 && cut < body.len());
        }
        let ends = cuts.iter().copied().chain([body.len()]);
        let mut start = 0;
        let pieces = ends.map(|end| {
            let piece = body.slice(start..end);
            start = end;
            piece
        });
        Split {
            pieces: pieces.collect(),
            shape,
        }
    }
}

impl Split {
    /// A body in one piece, as HTTP/1 delivers it.
    pub fn whole(body: &Bytes) -> Self {
        Self {
            pieces: vec![body.clone()],
            shape: Shape::Http1,
        }
    }

    /// Splits that have one piece less, each by joining two neighbours.
    pub(crate) fn simpler(&self) -> impl Iterator<Item = Self> {
        (1..self.pieces.len()).map(|at| {
            let mut pieces = self.pieces.clone();
            let second = pieces.remove(at);
            pieces[at - 1] = [&pieces[at - 1][..], &second[..]].concat().into();
            Self {
                pieces,
                shape: self.shape,
            }
        })
    }
}

impl fmt::Display for Split {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let sizes: Vec<String> = self
            .pieces
            .iter()
            .map(|piece| piece.len().to_string())
            .collect();
        let end = match self.shape {
            Shape::Http1 => "the end on its own",
            Shape::Http2 => "the end with the last",
        };
        write!(f, "pieces of {} bytes, {end}", sizes.join(" + "))
    }
}

/// A cut that made a difference.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Difference<T> {
    /// The seed of the [`Splitter`] that made the cut.
    pub seed: u64,
    /// What came of whole bodies.
    pub whole: T,
    /// What came of cut ones.
    pub cut: T,
}

/// Carries something out with whole bodies, and then as often as asked with cut ones: `run` has to
/// cut its bodies with the splitter that it is given, and to return all that must stay the same.
///
/// ```no_run
/// use bytes::Bytes;
/// use host_test::host::Host;
/// use host_test::plugin::Plugin;
/// use host_test::rechunk::rechunk;
///
/// let plugin = Plugin::from_file("rewrites.wasm")?;
/// rechunk(100, 7, |splitter| {
///     let host = Host::builder().plugin(plugin.clone()).build().expect("it starts");
///     let split = splitter.split(&Bytes::from("a body"));
///     let reply = host.post("/").split(split).send();
///     (reply.status(), reply.body().to_vec())
/// })
/// .expect("the pieces make no difference");
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
///
/// # Errors
///
/// The first difference.
pub fn rechunk<T: PartialEq>(
    rounds: u64,
    seed: u64,
    mut run: impl FnMut(&mut Splitter) -> T,
) -> Result<(), Box<Difference<T>>> {
    let whole = run(&mut Splitter::whole());
    for round in 0..rounds {
        let seed = seed.wrapping_add(round);
        let cut = run(&mut Splitter::new(seed));
        if cut != whole {
            return Err(Box::new(Difference { seed, whole, cut }));
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn pieces_make_up_the_body_and_come_in_all_forms() {
        let body = Bytes::from("hello, world");
        let (mut singles, mut empty, mut one) = (false, false, false);
        for seed in 0..200 {
            let split = Splitter::new(seed).split(&body);
            assert_eq!(split.pieces.concat(), body, "{split}");
            assert_eq!(split, Splitter::new(seed).split(&body));
            let any_empty = split.pieces.iter().any(Bytes::is_empty);
            assert!(!any_empty || split.shape == Shape::Http2, "{split}");
            empty |= any_empty;
            one |= split.pieces.len() == 1;
            singles |= split.pieces.len() == body.len();
        }
        assert!(singles && empty && one);
    }

    #[test]
    fn the_first_difference_is_told_with_its_seed() {
        let body = Bytes::from("abc");
        let difference = rechunk(100, 5, |splitter| splitter.split(&body).pieces.len() > 2);
        let difference = difference.expect_err("some cut makes three pieces");
        let split = Splitter::new(difference.seed).split(&body);
        assert!(split.pieces.len() > 2, "{split}");
        assert!(rechunk(100, 5, |splitter| splitter.split(&body).pieces.concat()).is_ok());
    }

    #[test]
    fn simpler_splits_join_neighbours() {
        let split = Split {
            pieces: vec!["a".into(), "".into(), "bc".into()],
            shape: Shape::Http2,
        };
        let simpler: Vec<String> = split.simpler().map(|split| split.to_string()).collect();
        assert_eq!(
            simpler,
            [
                "pieces of 1 + 2 bytes, the end with the last",
                "pieces of 1 + 2 bytes, the end with the last"
            ]
        );
    }
}
