//! Reading what is recorded.

use indicatif::ProgressBar;

use super::WhatifError;
use crate::service::Gateway;
use crate::service::tenant::Tenant;
use crate::service::whatif::past::{Past, PastBuilder};
use crate::store::keys::Bucket;
use crate::store::ledger::Stream;

/// Entries of one read.
const PAGE: usize = 5_000;

/// How much there is to read.
pub struct Extent {
    pub entries: u64,
    /// Nothing was ever dropped.
    pub whole: bool,
}

pub async fn extent(gateway: &Gateway, tenant: &Tenant) -> Result<Extent, WhatifError> {
    let mut extent = Extent { entries: 0, whole: true };
    for bucket in tenant.buckets() {
        for stream in Stream::ALL {
            let info = gateway.store.stream_info(&bucket, stream).await?;
            extent.entries += info.length;
            extent.whole &= info.whole;
        }
    }
    Ok(extent)
}

pub async fn past(
    gateway: &Gateway,
    bucket: &Bucket,
    mut builder: PastBuilder,
    bar: &ProgressBar,
) -> Result<Past, WhatifError> {
    for stream in Stream::ALL {
        let mut after = None;
        loop {
            let page = gateway.store.entries_after(bucket, stream, after, None, PAGE).await?;
            let Some(last) = page.last() else { break };
            after = Some(last.id);
            bar.inc(page.len() as u64);
            for entry in page {
                builder.add(stream, entry);
            }
        }
    }
    Ok(builder.finish())
}
