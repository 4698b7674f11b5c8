//! Cuts a body into pieces.

use super::model::Chunking;

/// The pieces in which a body arrives: as planned, or in one. The error is a sentence.
pub(super) fn cut(body: &[u8], plan: Option<Chunking>) -> Result<Vec<Vec<u8>>, String> {
    let (size, most) = match plan {
        None => return Ok(vec![body.to_vec()]),
        Some(Chunking::Size(size)) => (size, usize::MAX),
        Some(Chunking::Count(count)) if count > body.len() => {
            let size = body.len();
            return Err(format!(
                "a body of {size} bytes can't be cut into {count} pieces"
            ));
        }
        Some(Chunking::Count(count)) => (body.len() / count, count),
    };
    let mut pieces = Vec::new();
    let mut rest = body;
    // The last piece is never empty, unless the body is.
    while rest.len() > size && pieces.len() + 1 < most {
        let (piece, after) = rest.split_at(size);
        pieces.push(piece.to_vec());
        rest = after;
    }
    pieces.push(rest.to_vec());
    Ok(pieces)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn shown(body: &str, plan: Option<Chunking>) -> String {
        let pieces = cut(body.as_bytes(), plan).unwrap();
        pieces
            .iter()
            .map(|p| String::from_utf8_lossy(p))
            .collect::<Vec<_>>()
            .join("|")
    }

    #[test]
    fn a_body_is_cut_by_number_or_by_size() {
        assert_eq!(shown("1234567", None), "1234567");
        assert_eq!(shown("1234567", Some(Chunking::Count(3))), "12|34|567");
        assert_eq!(shown("123456", Some(Chunking::Count(3))), "12|34|56");
        assert_eq!(shown("123456", Some(Chunking::Count(1))), "123456");
        assert_eq!(shown("1234567", Some(Chunking::Size(3))), "123|456|7");
        assert_eq!(shown("123456", Some(Chunking::Size(3))), "123|456");
        assert_eq!(shown("", Some(Chunking::Size(3))), "");
    }

    #[test]
    fn more_pieces_than_bytes_are_refused() {
        let error = cut(b"abc", Some(Chunking::Count(4))).unwrap_err();
        assert_eq!(error, "a body of 3 bytes can't be cut into 4 pieces");
    }
}
