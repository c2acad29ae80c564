//! Why a replay failed.

use quotagate::cli::trace::TraceError;

use super::gateway::{AddressError, CallError};
use super::prices::PriceError;
use super::report::Fault;

/// Why a replay failed, in one line.
#[derive(Debug, thiserror::Error)]
pub enum ReplayError {
    #[error(transparent)]
    Trace(#[from] TraceError),
    #[error(transparent)]
    Price(#[from] PriceError),
    #[error(transparent)]
    Address(#[from] AddressError),
    #[error("{doing}: {source}")]
    Call { doing: String, source: CallError },
    #[error("cannot make a histogram: {0}")]
    Histogram(#[from] hdrhistogram::CreationError),
    #[error("cannot print the report: {0}")]
    Print(String),
    /// The calls succeeded and the report was printed, but the gateway's decisions were wrong.
    #[error(transparent)]
    Fault(#[from] Fault),
}

impl ReplayError {
    pub fn call(doing: String, source: CallError) -> Self {
        Self::Call { doing, source }
    }
}
