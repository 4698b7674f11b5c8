//! Headers as HTTP/1.1 writes them, turned into a header map as a proxy makes it.

/// Names and values in the order in which the map gets them.
pub(super) type Lines = Vec<(String, Vec<u8>)>;

/// Reads a request's or a response's first line and headers. Lines end with or without a carriage
/// return; the end of the text ends the headers too. The error is a sentence.
pub(super) fn parse(text: &[u8], request: bool) -> Result<Lines, String> {
    let mut lines = text
        .split(|&byte| byte == b'\n')
        .map(|line| line.strip_suffix(b"\r").unwrap_or(line));
    let first = lines.by_ref().find(|line| !line.is_empty());
    let first = String::from_utf8_lossy(first.unwrap_or_default()).into_owned();
    let mut out = Lines::new();
    let mut drop_host = false;
    if request {
        drop_host = request_line(&first, &mut out)?;
    } else {
        status_line(&first, &mut out)?;
    }
    let fields = fields(lines)?;
    // In origin form the host header is the authority, and in absolute form it counts for nothing.
    let host = fields.iter().find(|(name, _)| name == "host");
    if let Some((_, host)) = host.filter(|(_, host)| request && !drop_host && !host.is_empty()) {
        out.push((":authority".to_owned(), host.clone()));
        drop_host = true;
    }
    out.extend(
        fields
            .into_iter()
            .filter(|(name, _)| !(drop_host && name == "host")),
    );
    Ok(out)
}

/// `METHOD TARGET VERSION`; tells whether the target names the host.
fn request_line(line: &str, out: &mut Lines) -> Result<bool, String> {
    let parts: Vec<&str> = line.split_ascii_whitespace().collect();
    let [method, target, version] = parts.as_slice() else {
        return Err(format!(
            "{line:?} is no request line such as \"GET / HTTP/1.1\""
        ));
    };
    if !version.starts_with("HTTP/") {
        return Err(format!("{line:?} ends with no version such as HTTP/1.1"));
    }
    let mut put = |name: &str, value: &str| out.push((name.to_owned(), value.into()));
    put(":method", method);
    if let Some((scheme, rest)) = target
        .split_once("://")
        .filter(|(scheme, _)| is_scheme(scheme))
    {
        let rest = rest.split('#').next().unwrap_or_default();
        let (authority, path) = rest.split_at(rest.find(['/', '?']).unwrap_or(rest.len()));
        let scheme = scheme.to_ascii_lowercase();
        let authority = authority
            .rsplit('@')
            .next()
            .unwrap_or_default()
            .to_ascii_lowercase();
        let usual = if scheme == "https" { ":443" } else { ":80" };
        put(":scheme", &scheme);
        let slash = if path.starts_with('/') { "" } else { "/" };
        put(":path", &format!("{slash}{path}"));
        put(
            ":authority",
            authority.strip_suffix(usual).unwrap_or(&authority),
        );
        return Ok(true);
    }
    if !is_path(target) {
        return Err(format!(
            "{target:?} is neither a URL nor a path as it has to be sent"
        ));
    }
    put(":path", target);
    Ok(false)
}

fn status_line(line: &str, out: &mut Lines) -> Result<(), String> {
    let mut parts = line.splitn(3, ' ');
    let version = parts.next().unwrap_or_default();
    let status = parts.next().unwrap_or_default();
    let is_status = status.len() == 3 && status.bytes().all(|byte| byte.is_ascii_digit());
    if !version.starts_with("HTTP/") || !is_status {
        return Err(format!(
            "{line:?} is no status line such as \"HTTP/1.1 200 OK\""
        ));
    }
    out.push((":status".to_owned(), status.into()));
    Ok(())
}

/// The headers up to an empty line, their names in lower case.
fn fields<'t>(lines: impl Iterator<Item = &'t [u8]>) -> Result<Lines, String> {
    let mut out = Lines::new();
    for line in lines {
        if line.is_empty() {
            break;
        }
        let folded = line.starts_with(b" ") || line.starts_with(b"\t");
        if let Some((_, value)) = out.last_mut().filter(|_| folded) {
            value.push(b' ');
            value.extend_from_slice(line.trim_ascii());
            continue;
        }
        let shown = String::from_utf8_lossy(line);
        let Some(colon) = line
            .iter()
            .position(|&byte| byte == b':')
            .filter(|at| *at > 0)
        else {
            return Err(format!("{shown:?} is no header such as \"name: value\""));
        };
        let name = String::from_utf8_lossy(&line[..colon])
            .trim()
            .to_ascii_lowercase();
        out.push((name, line[colon + 1..].trim_ascii().to_vec()));
    }
    Ok(out)
}

fn is_scheme(text: &str) -> bool {
    text.starts_with(|c: char| c.is_ascii_alphabetic())
        && text
            .bytes()
            .all(|byte| byte.is_ascii_alphanumeric() || b"+-.".contains(&byte))
}

/// Whether a target is a path that a URL parser leaves as it is.
fn is_path(target: &str) -> bool {
    let path = target.split('?').next().unwrap_or_default();
    let clean = |c: char| c.is_ascii_graphic() && !"\"<>#".contains(c);
    target.starts_with('/')
        && !target.starts_with("//")
        && target.chars().all(clean)
        && !path.contains(['\\', '`', '{', '}'])
        && !path.split('/').any(|part| part == "." || part == "..")
}

#[cfg(test)]
mod tests {
    use super::*;

    fn shown(text: &str, request: bool) -> String {
        let lines = parse(text.as_bytes(), request).unwrap();
        let line = |(name, value): &(String, Vec<u8>)| {
            format!("{name}={}", String::from_utf8_lossy(value))
        };
        lines.iter().map(line).collect::<Vec<_>>().join(" ")
    }

    #[test]
    fn a_request_line_becomes_pseudo_headers() {
        assert_eq!(
            shown(
                "GET /a?b=c HTTP/1.1\r\nHost: h.example\r\nX-One:  1 \r\n\r\nbody",
                true
            ),
            ":method=GET :path=/a?b=c :authority=h.example x-one=1"
        );
        assert_eq!(
            shown(
                "POST https://H.example:8443/a?b#c HTTP/1.1\nHost: other\nA: 1\nA: 2\n",
                true
            ),
            ":method=POST :scheme=https :path=/a?b :authority=h.example:8443 a=1 a=2"
        );
        assert_eq!(
            shown("GET http://h.example:80 HTTP/1.1", true),
            ":method=GET :scheme=http :path=/ :authority=h.example"
        );
        assert_eq!(shown("GET / HTTP/1.1", true), ":method=GET :path=/");
    }

    #[test]
    fn a_status_line_becomes_the_status() {
        assert_eq!(
            shown(
                "HTTP/1.1 403 Not for you\nHost: kept\nLong: a\n  b\n",
                false
            ),
            ":status=403 host=kept long=a b"
        );
        assert_eq!(shown("HTTP/1.1 200", false), ":status=200");
    }

    #[test]
    fn what_is_no_head_is_said_in_a_sentence() {
        for (text, request, cause) in [
            ("", true, "\"\" is no request line"),
            ("GET /", true, "\"GET /\" is no request line"),
            ("GET / FTP/1", true, "ends with no version"),
            ("GET a HTTP/1.1", true, "\"a\" is neither a URL nor a path"),
            ("GET //a HTTP/1.1", true, "\"//a\" is neither"),
            ("GET /a/../b HTTP/1.1", true, "is neither"),
            ("GET /a#b HTTP/1.1", true, "is neither"),
            ("GET / HTTP/1.1\nodd\n", true, "\"odd\" is no header"),
            ("GET / HTTP/1.1\n: v\n", true, "\": v\" is no header"),
            ("HTTP/1.1 OK", false, "\"HTTP/1.1 OK\" is no status line"),
            ("200 OK", false, "is no status line"),
        ] {
            let error = parse(text.as_bytes(), request).unwrap_err();
            assert!(error.contains(cause), "{text:?}: {error}");
        }
    }
}
