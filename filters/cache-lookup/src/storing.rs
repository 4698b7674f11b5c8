//! Whether a response is stored, and as what (RFC 9111 section 3).

use filter_core::headers::Headers;

use crate::cache_control::{Delta, Directives};
use crate::conditional;
use crate::config::{Config, Rule, SetCookie};
use crate::date;
use crate::fields::{self, Unfit};
use crate::freshness::{self, Control, Lifetime, Moments, Source};
use crate::head::{Flags, Part, Response};
use crate::range;
use crate::request::{Method, Seen};
use crate::vary::Vary;

/// Why a response isn't stored.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Refusal {
    /// The method's responses aren't cached.
    Method,
    /// The status is a 1xx, 304 or one that `must-understand` asks to know.
    Status,
    /// The response says `no-store`.
    NoStore,
    /// The request says `no-store`.
    RequestNoStore,
    /// The response is `private`.
    Private,
    /// The request has `Authorization` and the response doesn't allow that.
    Authorization,
    /// Nothing says that it can be reused: it isn't fresh and can't be validated.
    Useless,
    /// `Vary` has `*`.
    Vary,
    /// It has `Set-Cookie`, and the configuration refuses such responses.
    SetCookie,
    /// It is a part that can't be stored.
    Partial,
    /// Its fields can't be stored.
    Fields,
    /// It answers a request with a header that isn't in the key.
    Unkeyed,
    /// The rule is about other types of content.
    ContentType,
}

impl Refusal {
    /// What `Cache-Status` calls it.
    pub const fn slug(self) -> &'static str {
        match self {
            Self::Method => "method",
            Self::Status => "status",
            Self::NoStore => "no-store",
            Self::RequestNoStore => "request-no-store",
            Self::Private => "private",
            Self::Authorization => "authorization",
            Self::Useless => "not-reusable",
            Self::Vary => "vary",
            Self::SetCookie => "set-cookie",
            Self::Partial => "partial",
            Self::Fields => "fields",
            Self::Unkeyed => "unkeyed-header",
            Self::ContentType => "content-type",
        }
    }
}

/// A response that is to be stored once its body is complete.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Candidate {
    /// What is stored of it besides the body.
    pub response: Response,
    /// Which fields of the request it depends on.
    pub vary: Vec<String>,
    /// Its `No-Vary-Search`, if that can be followed.
    pub search: Vec<u8>,
    /// Its tags.
    pub tags: Vec<Vec<u8>>,
    /// The length that it says its body has.
    pub length: Option<u64>,
    /// `Content-Range` of a part.
    pub range: Option<Vec<u8>>,
}

/// What a validation makes of a stored response.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Updated {
    /// What answers the request.
    pub shown: Response,
    /// What is stored from now on; `None` if what was stored stays as it is, because the new fields
    /// are for this client only.
    pub kept: Option<Response>,
}

/// A response as it came, and the request that it answers.
#[derive(Clone, Copy, Debug)]
pub struct Exchange<'a> {
    /// The configuration.
    pub config: &'a Config,
    /// The rule that counts for the request.
    pub rule: &'a Rule,
    /// The request.
    pub seen: &'a Seen<'a>,
    /// Whether the request's body is in the key.
    pub has_body_key: bool,
    /// The response's status.
    pub status: u16,
    /// Its fields.
    pub fields: &'a Headers<'a>,
    /// When it came.
    pub moments: Moments,
}

impl Exchange<'_> {
    /// Says what is stored of the response.
    ///
    /// # Errors
    /// Why nothing is.
    pub fn candidate(&self) -> Result<Candidate, Refusal> {
        let control = self.control();
        let directives = &control.directives;
        let force = self.rule.force;
        self.check_method(&control)?;
        if self.status < 200 || self.status == 304 {
            return Err(Refusal::Status);
        }
        if self.status == 206 && !self.config.partial.store {
            return Err(Refusal::Partial);
        }
        // "If … the must-understand cache directive is present: the cache understands and conforms
        // to the requirements associated with that status code"; no-store is ignored then.
        if directives.must_understand && !is_understood(self.status) {
            return Err(Refusal::Status);
        }
        if self.seen.directives.no_store {
            return Err(Refusal::RequestNoStore);
        }
        if directives.no_store && !directives.must_understand && !force {
            return Err(Refusal::NoStore);
        }
        if directives.private.is_all() && !force {
            return Err(Refusal::Private);
        }
        if !self.allows_authorization(directives) {
            return Err(Refusal::Authorization);
        }
        if !self.is_wanted_type() {
            return Err(Refusal::ContentType);
        }
        let vary = self.vary()?;
        self.check_unkeyed(&vary)?;
        let (mut response, lifetime, is_dated) = self.described(&control, self.fields);
        self.check_cookies(lifetime)?;
        let is_useful = response.lifetime > 0
            || response.while_revalidate > 0 && directives.stale_while_revalidate.is_present()
            || response.flags.has(Flags::IF_ERROR);
        let can_validate =
            self.fields.first("etag").is_some() || self.fields.first("last-modified").is_some();
        let is_allowed = lifetime.source != Source::None
            || directives.public
            || freshness::is_heuristically_cacheable(self.status);
        if !is_allowed || !(is_useful && !response.flags.has(Flags::NO_CACHE) || can_validate) {
            return Err(Refusal::Useless);
        }
        let range = if self.status == 206 {
            let mut lines = self.fields.all("content-range");
            let (Some(line), None) = (lines.next(), lines.next()) else {
                return Err(Refusal::Partial);
            };
            range::content_range(line).ok_or(Refusal::Partial)?;
            Some(line.to_vec())
        } else {
            None
        };
        response.fields = self.stored_fields(&control, range.is_some(), is_dated)?;
        let follows = vary.is_empty() && range.is_none() && !self.has_body_key;
        Ok(Candidate {
            response,
            vary,
            search: if follows { self.search() } else { Vec::new() },
            tags: self.tags(),
            length: self.length()?,
            range,
        })
    }

    /// What a stored response is after a validation: its fields with those of the 304, or of a
    /// HEAD's response, over them.
    ///
    /// # Errors
    /// It must not be stored any more.
    pub fn updated(&self, stored: &Response) -> Result<Updated, Refusal> {
        let block = fields::updated(&stored.fields(), self.fields).map_err(|_| Refusal::Fields)?;
        let merged = Headers::decode(&block);
        let control = Control::of(&merged, &self.config.targets);
        let directives = &control.directives;
        let as_stored = Self {
            status: stored.status,
            ..*self
        };
        let (mut shown, lifetime, _) = as_stored.described(&control, &merged);
        shown.part = stored.part;
        shown.fields = with_date(&merged, shown.date).unwrap_or_else(|| block.clone());
        let refused = (directives.no_store && !directives.must_understand
            || directives.private.is_all())
            && !self.rule.force;
        if refused {
            return Err(Refusal::NoStore);
        }
        if !self.varies_as(&stored.fields(), &merged) {
            return Err(Refusal::Vary);
        }
        // The rules of storing (section 3) hold for the fields of a validation too.
        if !self.allows_authorization(directives) || self.check_unkeyed(&[]).is_err() {
            return Ok(Updated { shown, kept: None });
        }
        let mut kept = shown.clone();
        let named = [directives.no_cache.fields(), directives.private.fields()].concat();
        let left_out = self.left_out();
        for name in named.iter().map(|name| &**name).chain(left_out) {
            kept.fields = fields::without(&kept.fields, name);
        }
        if self.check_cookies(lifetime).is_err() {
            kept.fields = fields::without(&kept.fields, "set-cookie");
        }
        let kept = Some(kept);
        Ok(Updated { shown, kept })
    }

    /// What the response says about its reuse.
    pub fn control(&self) -> Control {
        Control::of(self.fields, &self.config.targets)
    }

    fn check_method(&self, control: &Control) -> Result<(), Refusal> {
        match self.seen.method {
            Method::Get => Ok(()),
            Method::Post | Method::Query if self.has_body_key => Ok(()),
            // "Responses to POST requests are only cacheable when they include explicit freshness
            // information … and a Content-Location header field that has the same value as the
            // POST's target URI" (RFC 9110 section 9.3.3).
            Method::Post => {
                let is_explicit = control.directives.max_age.is_present()
                    || control.directives.s_maxage.is_present()
                    || self.fields.first("expires").is_some();
                let target = self.fields.first("content-location");
                let is_same = target.is_some_and(|target| {
                    crate::invalidation::same_origin_target(self.seen, target).as_deref()
                        == Some(self.seen.target)
                });
                let is_fit = is_explicit && is_same && self.status == 200;
                is_fit.then_some(()).ok_or(Refusal::Method)
            }
            Method::Head | Method::Query | Method::Safe | Method::Unsafe => Err(Refusal::Method),
        }
    }

    /// "A shared cache MUST NOT use a cached response to a request with an Authorization header field
    /// … unless the response contains a Cache-Control field with a response directive … that allows
    /// it" (section 3.5).
    fn allows_authorization(&self, directives: &Directives) -> bool {
        !self.seen.is_authorized
            || directives.must_revalidate
            || directives.public
            || directives.s_maxage.is_present()
            || self.rule.force
    }

    fn is_wanted_type(&self) -> bool {
        let Some(types) = &self.rule.content_types else {
            return true;
        };
        let line = self.fields.first("content-type").unwrap_or_default();
        let line = line.split(|&byte| byte == b';').next().unwrap_or_default();
        let line = line.trim_ascii().to_ascii_lowercase();
        let mut parts = line.splitn(2, |&byte| byte == b'/');
        let (kind, subtype) = (parts.next(), parts.next());
        types.iter().any(|(wanted, sub)| {
            kind == Some(wanted.as_bytes()) && (sub == "*" || subtype == Some(sub.as_bytes()))
        })
    }

    fn vary(&self) -> Result<Vec<String>, Refusal> {
        let mut names = match Vary::parse(self.fields.all("vary"), &self.rule.vary_ignore) {
            Vary::None => Vec::new(),
            Vary::Fields(names) => names,
            Vary::Never => return Err(Refusal::Vary),
        };
        for name in &self.rule.vary_add {
            if !names.contains(name) {
                names.push(name.clone());
            }
        }
        Ok(names)
    }

    /// Whether what was stored under the fields that the old `Vary` names may stay there.
    fn varies_as(&self, old: &Headers<'_>, new: &Headers<'_>) -> bool {
        let read = |fields: &Headers<'_>| Vary::parse(fields.all("vary"), &self.rule.vary_ignore);
        match (read(old), read(new)) {
            (_, Vary::None) => true,
            (Vary::Fields(old), Vary::Fields(new)) => new.iter().all(|name| old.contains(name)),
            _ => false,
        }
    }

    fn check_unkeyed(&self, vary: &[String]) -> Result<(), Refusal> {
        for name in &self.config.unkeyed {
            if vary.contains(name) || self.rule.key.headers.contains(name) {
                continue;
            }
            for value in self
                .seen
                .headers
                .all(name)
                .filter(|value| !value.is_empty())
            {
                let is_in_answer = self.fields.iter().any(|(_, text)| {
                    value.len() > 3 && text.windows(value.len()).any(|window| window == value)
                });
                if self.status >= 300 && self.status != 304 || is_in_answer {
                    return Err(Refusal::Unkeyed);
                }
            }
        }
        Ok(())
    }

    fn check_cookies(&self, lifetime: Lifetime) -> Result<(), Refusal> {
        if self.fields.first("set-cookie").is_none() {
            return Ok(());
        }
        match self.rule.set_cookie {
            SetCookie::Strip => Ok(()),
            SetCookie::StoreExplicit if lifetime.source == Source::Explicit => Ok(()),
            SetCookie::StoreExplicit | SetCookie::Refuse => Err(Refusal::SetCookie),
        }
    }

    /// Works out freshness and age of a response with these fields, and whether its own `Date` can be read.
    fn described(&self, control: &Control, fields: &Headers<'_>) -> (Response, Lifetime, bool) {
        let received = freshness::seconds(self.moments.response);
        // "A recipient with a clock that receives a response with an invalid Date header field value
        // MAY replace that value with the time that response was received" (RFC 9110 section 6.6.1).
        let said = self
            .fields
            .first("date")
            .and_then(|text| date::parse(text, received));
        let date = said.unwrap_or(received);
        let initial_age =
            freshness::initial_age(freshness::age_value(self.fields), date, self.moments);
        let (mut lifetime, is_from_now) = self.lifetime(control, fields, date);
        if is_from_now {
            // However old it is.
            lifetime.seconds = lifetime.seconds.saturating_add(initial_age);
        }
        let directives = &control.directives;
        let (force, stale) = (self.rule.force, &self.rule.stale);
        let no_cache = directives.no_cache.is_all() && !force;
        let must_revalidate = directives.must_revalidate || directives.proxy_revalidate;
        let no_stale = directives.s_maxage.is_present();
        let forbids = no_cache || must_revalidate;
        // What the origin says explicitly counts beside `s-maxage`; a default doesn't.
        let window = |delta: Delta, default: u64| match (forbids, delta) {
            (true, _) => 0,
            (false, Delta::Seconds(seconds)) => seconds,
            (false, _) if no_stale => 0,
            (false, _) => default,
        };
        let response = Response {
            status: self.status,
            flags: Flags::default()
                .with(Flags::NO_CACHE, no_cache)
                .with(Flags::MUST_REVALIDATE, must_revalidate)
                .with(Flags::NO_STALE, no_stale)
                .with(Flags::HEURISTIC, lifetime.source == Source::Heuristic)
                .with(
                    Flags::IF_ERROR,
                    !forbids && directives.stale_if_error.seconds() > Some(0),
                ),
            response_time: self.moments.response,
            initial_age,
            lifetime: lifetime.seconds,
            date,
            while_revalidate: window(directives.stale_while_revalidate, stale.while_revalidate),
            if_error: window(directives.stale_if_error, stale.if_error),
            part: None,
            fields: Vec::new(),
        };
        (response, lifetime, said.is_some())
    }

    /// The lifetime, and whether it counts from now on and not from the response's generation.
    fn lifetime(&self, control: &Control, fields: &Headers<'_>, date: u64) -> (Lifetime, bool) {
        let ttl = &self.rule.ttl;
        let said = freshness::lifetime(fields, control, self.status, date, ttl.heuristic);
        let is_in = |(from, to, _): &&(u16, u16, u64)| (*from..=*to).contains(&self.status);
        let by_status = ttl
            .status
            .iter()
            .find(is_in)
            .map(|(_, _, seconds)| *seconds);
        let by_default = ttl
            .default
            .filter(|_| matches!(self.status, 200 | 301 | 308));
        let configured = match said.source {
            Source::Explicit | Source::Configured => ttl.overriding,
            Source::Heuristic => ttl.overriding.or(by_status),
            Source::None => ttl.overriding.or(by_status).or(by_default),
        };
        let seconds = configured.unwrap_or(said.seconds);
        let lifetime = Lifetime {
            seconds: ttl.max.map_or(seconds, |max| seconds.min(max)),
            source: match (said.source, configured) {
                // What the origin says of freshness also tells that it means to be cached.
                (Source::Explicit, _) | (_, None) => said.source,
                (_, Some(_)) => Source::Configured,
            },
        };
        (lifetime, configured.is_some())
    }

    fn left_out(&self) -> Vec<&'static str> {
        match self.rule.set_cookie {
            SetCookie::Strip => vec!["set-cookie"],
            SetCookie::StoreExplicit | SetCookie::Refuse => Vec::new(),
        }
    }

    fn stored_fields(
        &self,
        control: &Control,
        is_part: bool,
        is_dated: bool,
    ) -> Result<Vec<u8>, Refusal> {
        let mut also = self.left_out();
        if is_part {
            also.push("content-range");
        }
        let block = fields::stored(self.fields, &control.directives, &also)
            .map_err(|(Unfit::TooMany | Unfit::Control)| Refusal::Fields)?;
        let fields = Headers::decode(&block);
        // It may have been left out.
        if is_dated && fields.first("date") == self.fields.first("date") {
            return Ok(block);
        }
        let received = freshness::seconds(self.moments.response);
        Ok(with_date(&fields, received).unwrap_or_else(|| block.clone()))
    }

    /// `No-Vary-Search`, if it can be followed.
    fn search(&self) -> Vec<u8> {
        let mut lines = self.fields.all("no-vary-search").peekable();
        if lines.peek().is_none() {
            return Vec::new();
        }
        let search = lines.collect::<Vec<_>>().join(&b","[..]);
        let is_known = crate::key::search_of(&search).is_some();
        if is_known { search } else { Vec::new() }
    }

    /// `Content-Length`; what is no length, or several ones, is refused.
    fn length(&self) -> Result<Option<u64>, Refusal> {
        let mut lines = self.fields.all("content-length");
        match (lines.next(), lines.next()) {
            (None, _) => Ok(None),
            (Some(line), None) => crate::cache_control::number(line.trim_ascii())
                .map(Some)
                .ok_or(Refusal::Fields),
            (Some(_), Some(_)) => Err(Refusal::Fields),
        }
    }

    fn tags(&self) -> Vec<Vec<u8>> {
        let mut tags = Vec::new();
        for name in &self.config.tag_headers {
            for line in self.fields.all(name) {
                let pieces = line.split(|byte| matches!(byte, b' ' | b',' | b'\t'));
                tags.extend(pieces.filter(|tag| !tag.is_empty()).map(<[u8]>::to_vec));
            }
        }
        let groups = crate::targeted::strings(self.fields.all("cache-groups"));
        for group in groups.unwrap_or_default() {
            tags.push(crate::invalidation::group_tag(self.seen, &group));
        }
        tags
    }
}

impl Candidate {
    /// What is stored once the body is complete and so long; `None` if it isn't what it says.
    pub fn complete(mut self, length: u64, repair: bool) -> Option<Response> {
        if self.length.is_some_and(|said| said != length) {
            return None;
        }
        if let Some(line) = &self.range {
            let part = range::part(line, length, repair)?;
            let is_whole = part.first == 0 && part.total == length;
            // "If all the bytes … are present, a 206 response is 200 in effect" (section 3.4).
            self.response.status = if is_whole { 200 } else { 206 };
            self.response.part = (!is_whole).then_some(part);
        }
        Some(self.response)
    }
}

/// Whether two parts belong together: both have the same strong validator (RFC 9110 section
/// 15.3.7.3).
pub fn is_same_representation(stored: &Response, part: Part, fields: &Headers<'_>) -> bool {
    let old = stored.fields();
    let same_tag = match (
        conditional::strong_tag(&old),
        conditional::strong_tag(fields),
    ) {
        (Some(old), Some(new)) => old == new,
        _ => false,
    };
    same_tag && stored.part.is_some_and(|stored| stored.total == part.total)
}

/// Replaces a `Date` that is missing or can't be read; `None` if it is good.
fn with_date(fields: &Headers<'_>, date: u64) -> Option<Vec<u8>> {
    let is_good = fields
        .first("date")
        .is_some_and(|text| date::parse(text, date).is_some());
    (!is_good).then(|| fields::set(fields, "date", date::format(date).as_bytes()))
}

/// Status codes whose requirements this cache knows.
const fn is_understood(status: u16) -> bool {
    matches!(status, 200..=206 | 300..=308 | 400..=418 | 421 | 422 | 426 | 428 | 429 | 431 | 451 | 500..=505 | 511)
}
