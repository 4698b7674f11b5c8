//! What a policy wants to know of a request, fetched and owned.

use std::rc::Rc;

use filter_core::headers::Headers;
use filter_core::request::{Inputs, Request};

use crate::host::{self, HeaderMap, Status};

/// The pieces of a request that were asked for; the others are empty.
#[derive(Debug, Default)]
pub struct Fetched {
    /// All headers, or the value of the only one that was asked for.
    headers: Vec<u8>,
    only: Option<Rc<str>>,
    /// What few policies ask for.
    rest: Option<Box<Rest>>,
}

#[derive(Debug, Default)]
struct Rest {
    source_address: Vec<u8>,
    route_name: Vec<u8>,
    properties: Vec<(String, Vec<u8>)>,
}

impl Fetched {
    /// Fetches what is asked for, one hostcall each. To be called while the request's headers are in
    /// the filter: they are gone afterwards.
    ///
    /// # Errors
    /// The host's status. A property that the host doesn't have is empty and no error.
    pub fn of(inputs: Inputs) -> Result<Self, Status> {
        Self::with_header(inputs, None)
    }

    /// The same for those who look at no other header than that one, if any is given, and at its first
    /// value.
    ///
    /// # Errors
    /// The host's status.
    pub fn with_header(inputs: Inputs, only: Option<&Rc<str>>) -> Result<Self, Status> {
        let mut fetched = Self::default();
        match only {
            Some(name) => {
                if let Some(value) = host::header(HeaderMap::Request, name)? {
                    fetched.headers = value;
                    fetched.only = Some(name.clone());
                }
            }
            None if inputs.headers => {
                fetched.headers = host::header_pairs(HeaderMap::Request)?;
            }
            None => {}
        }
        if inputs.source_address {
            fetched.rest().source_address = host::property("source\0address")?.unwrap_or_default();
        }
        if inputs.route_name {
            fetched.rest().route_name = host::property("xds\0route_name")?.unwrap_or_default();
        }
        Ok(fetched)
    }

    /// Fetches properties besides, one hostcall each, by paths whose parts are parted by NUL.
    ///
    /// # Errors
    /// The host's status. A property that the host doesn't have is empty and no error; so is one
    /// that it can't write as bytes.
    pub fn with_properties(mut self, paths: &[String]) -> Result<Self, Status> {
        self.add_properties(paths)?;
        Ok(self)
    }

    /// The same in place.
    ///
    /// # Errors
    /// The host's status.
    pub fn add_properties(&mut self, paths: &[String]) -> Result<(), Status> {
        for path in paths {
            let value = match host::property(path) {
                Err(Status::SERIALIZATION_FAILURE) => None,
                value => value?,
            };
            let known = &mut self.rest().properties;
            known.push((path.clone(), value.unwrap_or_default()));
        }
        Ok(())
    }

    /// The request as the cores see it.
    pub fn request(&self) -> Request<'_> {
        let mut request = Request {
            headers: match &self.only {
                Some(name) => Headers::one(name, &self.headers),
                None => Headers::decode(&self.headers),
            },
            ..Request::default()
        };
        if let Some(rest) = &self.rest {
            request.source_address = &rest.source_address;
            request.route_name = &rest.route_name;
            request.properties = &rest.properties;
        }
        request
    }

    fn rest(&mut self) -> &mut Rest {
        self.rest.get_or_insert_default()
    }
}
