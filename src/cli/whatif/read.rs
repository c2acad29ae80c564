//! Reads recorded entries.

use indicatif::ProgressBar;

use crate::cli::direct::CommandError;
use crate::cli::print;
use crate::service::error::ServiceError;
use crate::service::gateway::Gateway;
use crate::service::reporting::events::id::EventId;
use crate::service::simulation::relevant::Relevant;
use crate::service::simulation::timeline::{Timeline, TimelineBuilder};
use crate::service::tenant::Tenant;
use crate::store::keys::Bucket;
use crate::store::reporting::stream::Stream;

/// Entries per read.
const PAGE: usize = 1_000;

/// How much there is to read.
pub struct Extent {
    pub entries: u64,
    /// Nothing was ever dropped.
    pub whole: bool,
}

pub async fn extent(gateway: &Gateway, tenant: &Tenant) -> Result<Extent, CommandError> {
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

pub async fn timeline(
    gateway: &Gateway,
    bucket: &Bucket,
    mut builder: TimelineBuilder,
    relevant: &mut Relevant<'_>,
    bar: &ProgressBar,
) -> Result<Timeline, CommandError> {
    for stream in Stream::ALL {
        let read = |after| gateway.store.entries_after(bucket, stream, after, None, PAGE);
        let mut page = read(None).await?;
        while let Some(last) = page.last {
            let (next, taken) = (read(Some(last)), page.count() as u64);
            for damaged in &page.damaged {
                let id = EventId { at: damaged.id, bucket: bucket.number(), stream };
                bar.suspend(|| print::err(format!("warning: {id} cannot be read and was skipped")));
            }
            // Redis reads the next page while this one is processed.
            let (next, pruned) = tokio::join!(next, async {
                gateway.prune(bucket, relevant, &mut page.entries).await?;
                for entry in std::mem::take(&mut page.entries) {
                    builder.add(stream, entry);
                }
                Ok::<_, ServiceError>(())
            });
            pruned?;
            bar.inc(taken);
            page = next?;
        }
    }
    Ok(builder.finish())
}
