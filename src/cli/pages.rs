//! What a package installs beside the program: shell completions and man pages.

use std::path::PathBuf;

use clap::Command;
use clap_complete::Shell;

use crate::cli::print;

/// Print completions for a shell
#[derive(Clone, Debug, clap::Args)]
pub struct CompletionsArgs {
    #[arg(value_enum)]
    shell: Shell,
}

/// Write man pages of all commands
#[derive(Clone, Debug, clap::Args)]
pub struct ManArgs {
    /// An existing directory
    #[arg(long, value_name = "DIR")]
    out: PathBuf,
}

/// Prints the completions of `command`.
pub fn completions(args: &CompletionsArgs, mut command: Command) {
    let name = command.get_name().to_owned();
    let mut text = Vec::new();
    clap_complete::generate(args.shell, &mut command, name, &mut text);
    print::out(String::from_utf8_lossy(&text));
}

/// Writes a page for `command` and one for each command below it.
///
/// # Errors
/// They cannot be written.
pub fn man(args: &ManArgs, command: Command) -> Result<(), String> {
    clap_mangen::generate_to(command, &args.out)
        .map_err(|error| format!("cannot write man pages to {}: {error}", args.out.display()))
}
