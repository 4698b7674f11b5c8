//! A server of Envoy's Rate Limit Service protocol over Limitador, in memory.
//!
//! `rls-server DOMAIN REQUESTS SECONDS` lets each set of descriptor entries have so many requests in
//! so many seconds. It listens on a free port of the loopback and says on which.

use std::collections::HashMap;
use std::error::Error;
use std::io::{Read as _, stdin};
use std::time::Duration;

use envoy_types::pb::envoy::service::ratelimit::v3::rate_limit_response::{
    Code, DescriptorStatus, RateLimit,
};
use envoy_types::pb::envoy::service::ratelimit::v3::rate_limit_service_server::{
    RateLimitService, RateLimitServiceServer,
};
use envoy_types::pb::envoy::service::ratelimit::v3::{RateLimitRequest, RateLimitResponse};
use limitador::RateLimiter;
use limitador::limit::Limit;
use tonic::transport::Server;
use tonic::transport::server::TcpIncoming;
use tonic::{Request, Response, Status};

/// Clients that are counted at the same time.
const CLIENTS: u64 = 100_000;

struct Service(RateLimiter);

#[tonic::async_trait]
impl RateLimitService for Service {
    async fn should_rate_limit(
        &self,
        request: Request<RateLimitRequest>,
    ) -> Result<Response<RateLimitResponse>, Status> {
        let request = request.into_inner();
        let domain = request.domain.into();
        let units = u64::from(request.hits_addend.max(1));
        let mut statuses = Vec::new();
        for descriptor in &request.descriptors {
            let entries = descriptor.entries.iter();
            let client: Vec<_> = entries.map(|entry| (&entry.key, &entry.value)).collect();
            let context = HashMap::from([("client".to_owned(), format!("{client:?}"))]).into();
            let own = descriptor.hits_addend.map_or(units, |own| own.value);
            let result = self.0.check_rate_limited_and_update(&domain, &context, own);
            let result = result.map_err(|error| Status::internal(error.to_string()))?;
            statuses.push(status(&result));
        }
        let is_over = statuses
            .iter()
            .any(|status| status.code == Code::OverLimit as i32);
        Ok(Response::new(RateLimitResponse {
            overall_code: if is_over { Code::OverLimit } else { Code::Ok }.into(),
            statuses,
            ..RateLimitResponse::default()
        }))
    }
}

/// How a client stands after its request.
fn status(result: &limitador::CheckResult) -> DescriptorStatus {
    let code = if result.limited {
        Code::OverLimit
    } else {
        Code::Ok
    };
    let mut status = DescriptorStatus {
        code: code.into(),
        ..DescriptorStatus::default()
    };
    if let Some(counter) = result.counters.first() {
        let number = |number: u64| u32::try_from(number).unwrap_or(u32::MAX);
        status.limit_remaining = number(counter.remaining().unwrap_or_else(|| counter.max_value()));
        status.current_limit = Some(RateLimit {
            requests_per_unit: number(counter.max_value()),
            ..RateLimit::default()
        });
        let reset = counter.expires_in().unwrap_or_else(|| counter.window());
        status.duration_until_reset = Some(duration(reset));
    }
    status
}

fn duration(span: Duration) -> envoy_types::pb::google::protobuf::Duration {
    envoy_types::pb::google::protobuf::Duration {
        seconds: i64::try_from(span.as_secs()).unwrap_or(i64::MAX),
        nanos: i32::try_from(span.subsec_nanos()).unwrap_or(0),
    }
}

fn main() -> Result<(), Box<dyn Error>> {
    let arguments: Vec<_> = std::env::args().skip(1).collect();
    let [domain, requests, seconds] = &*arguments else {
        return Err("usage: rls-server DOMAIN REQUESTS SECONDS".into());
    };
    let limiter = RateLimiter::new(CLIENTS);
    let client = "client".try_into().map_err(|error| format!("{error:?}"))?;
    let limit = Limit::new(
        domain.clone(),
        requests.parse()?,
        seconds.parse()?,
        vec![],
        vec![client],
    );
    limiter.add_limit(limit);
    // It ends with whoever started it.
    std::thread::spawn(|| {
        let _ = stdin().read_to_end(&mut Vec::new());
        std::process::exit(0);
    });
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()?;
    runtime.block_on(async {
        let incoming = TcpIncoming::bind(([127, 0, 0, 1], 0).into())?;
        println!("listening on {}", incoming.local_addr()?);
        let service = RateLimitServiceServer::new(Service(limiter));
        Server::builder()
            .add_service(service)
            .serve_with_incoming(incoming)
            .await?;
        Ok(())
    })
}
