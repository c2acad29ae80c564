//! `quotagate rollup --rebuild`: recomputes the rows of reports from the ledger.

use crate::cli::direct::{CommandError, Direct};
use crate::cli::print;
use crate::config::RollupArgs;

#[derive(Clone, Debug, clap::Args)]
#[command(about = None, long_about = None)]
pub struct RebuildArgs {
    /// Recompute the report rows of all days that the ledger still covers, and replace the present ones
    ///
    /// Uses the labels of the present configuration, so a change of reportLabels also applies to past days. Gateways
    /// may keep running.
    #[arg(long, required = true)]
    rebuild: bool,
    #[command(flatten)]
    direct: Direct,
    #[command(flatten)]
    rollup: RollupArgs,
}

/// # Errors
/// [`CommandError`]
pub async fn run(args: RebuildArgs) -> Result<(), CommandError> {
    let (mut gateway, tenant) = args.direct.open().await?;
    gateway.rollup = args.rollup.options();
    let rebuilt = gateway.rebuild(&tenant).await?;
    print::out(format!("{} entries, {} days, {} rows\n", rebuilt.entries, rebuilt.days, rebuilt.rows));
    for id in rebuilt.damaged {
        print::err(format!("warning: {id} cannot be read and was skipped"));
    }
    Ok(())
}
