//! What a policy wants to know of a request, fetched and owned.

use filter_core::headers::Headers;
use filter_core::request::{Inputs, Request};

use crate::host::{self, HeaderMap, Status};

/// The pieces of a request that were asked for; the others are empty.
#[derive(Debug, Default)]
pub struct Fetched {
    headers: Vec<u8>,
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
        let mut fetched = Self::default();
        if inputs.headers {
            fetched.headers = host::header_pairs(HeaderMap::Request)?;
        }
        if inputs.source_address {
            fetched.source_address = host::property("source\0address")?.unwrap_or_default();
        }
        if inputs.route_name {
            fetched.route_name = host::property("xds\0route_name")?.unwrap_or_default();
        }
        Ok(fetched)
    }

    /// Fetches properties besides, one hostcall each, by paths whose parts are parted by NUL.
    ///
    /// # Errors
    /// The host's status. A property that the host doesn't have is empty and no error; so is one
    /// that it can't write as bytes.
    pub fn with_properties(mut self, paths: &[String]) -> Result<Self, Status> {
        for path in paths {
            let value = match host::property(path) {
                Err(Status::SERIALIZATION_FAILURE) => None,
                value => value?,
            };
            self.properties
                .push((path.clone(), value.unwrap_or_default()));
        }
        Ok(self)
    }

    /// The request as the cores see it.
    pub fn request(&self) -> Request<'_> {
        Request {
            headers: Headers::decode(&self.headers),
            source_address: &self.source_address,
            route_name: &self.route_name,
            properties: &self.properties,
        }
    }
}
