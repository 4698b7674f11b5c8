//! Time as guests see it: virtual in tests, real in the gateway.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

/// The wall clock of a fresh virtual clock: 2026-01-01T00:00:00Z.
pub const VIRTUAL_EPOCH: Duration = Duration::from_secs(1_767_225_600);

/// Where the monotonic clock of a fresh virtual clock stands: an hour after boot.
const VIRTUAL_UPTIME: Duration = Duration::from_secs(3_600);

/// A clock that all workers of a host share.
#[derive(Clone, Debug)]
pub enum Clock {
    /// Stands still unless it is advanced.
    Virtual(Arc<AtomicU64>),
    /// The machine's clocks; the instant is where the worker's time begins.
    Real(Instant),
    /// Both clocks stand at this time since 1970, for ever.
    Frozen(Duration),
}

impl Clock {
    /// A virtual clock at its start.
    pub fn virtual_clock() -> Self {
        Self::Virtual(Arc::new(AtomicU64::new(0)))
    }

    /// The machine's clocks.
    pub fn real() -> Self {
        Self::Real(Instant::now())
    }

    /// Time since the clock was made; what timers are set on.
    pub fn elapsed(&self) -> Duration {
        match self {
            Self::Virtual(nanos) => Duration::from_nanos(nanos.load(Ordering::Relaxed)),
            Self::Real(start) => start.elapsed(),
            Self::Frozen(_) => Duration::ZERO,
        }
    }

    /// Nanoseconds since 1970, for `proxy_get_current_time_nanoseconds`.
    pub fn wall_nanos(&self) -> u64 {
        match self {
            Self::Virtual(_) => nanos(VIRTUAL_EPOCH + self.elapsed()),
            Self::Real(_) => nanos(
                SystemTime::now()
                    .duration_since(UNIX_EPOCH)
                    .unwrap_or_default(),
            ),
            Self::Frozen(at) => nanos(*at),
        }
    }

    /// Nanoseconds of the monotonic clock, for WASI's clock 1.
    pub fn monotonic_nanos(&self) -> u64 {
        match self {
            Self::Frozen(at) => nanos(*at),
            Self::Virtual(_) | Self::Real(_) => nanos(VIRTUAL_UPTIME + self.elapsed()),
        }
    }

    /// Moves a virtual clock forward; a real one moves by itself, a frozen one never.
    pub fn advance(&self, by: Duration) {
        if let Self::Virtual(now) = self {
            now.fetch_add(nanos(by), Ordering::Relaxed);
        }
    }
}

fn nanos(duration: Duration) -> u64 {
    u64::try_from(duration.as_nanos()).unwrap_or(u64::MAX)
}
