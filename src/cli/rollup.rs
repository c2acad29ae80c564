//! `quotagate rollup --rebuild`: the rows of reports, computed anew from the ledger.

use crate::cli::direct::{Direct, DirectError};
use crate::cli::print;
use crate::config::RollupArgs;

#[derive(Clone, Debug, clap::Args)]
#[command(about = None, long_about = None)]
pub struct RebuildArgs {
    /// Compute the rows of all days anew that the ledger still covers, and replace those that there are
    ///
    /// With the labels of the present configuration: after a change of reportLabels also for days that are over. Gateways
    /// may go on serving.
    #[arg(long, required = true)]
    rebuild: bool,
    #[command(flatten)]
    direct: Direct,
    #[command(flatten)]
    rollup: RollupArgs,
}

/// # Errors
/// [`DirectError`]
pub async fn run(args: RebuildArgs) -> Result<(), DirectError> {
    let (mut gateway, tenant) = args.direct.open().await?;
    gateway.rollup = args.rollup.options();
    gateway.check_mode(&tenant.app, &tenant.mode).await?;
    let rebuilt = gateway.rebuild(&tenant).await?;
    print::out(format!("{} entries, {} days, {} rows\n", rebuilt.entries, rebuilt.days, rebuilt.rows));
    for id in rebuilt.damaged {
        print::err(format!("warning: {id} cannot be read and is in no row"));
    }
    Ok(())
}
