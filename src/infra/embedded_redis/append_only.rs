//! Repairs a truncated append-only file before a server reads it.
//!
//! A power failure can truncate the file within a script's transaction. Redis 7.0 only removes an incomplete command,
//! so half of a script would take effect at the second start after that. The checker that comes with the server
//! removes the incomplete transaction. It runs before each start, whether or not the last stop was clean. This also
//! covers a killed server, a copied directory and a full disk.

use std::fs::File;
use std::io::{self, Read, Seek, SeekFrom};
use std::path::Path;
use std::process::{Output, Stdio};

use tokio::io::AsyncWriteExt;
use tokio::process::Command;

use super::{EmbeddedRedisError, at};

/// How a transaction begins in the file. Names and metadata have no line ends, so it occurs nowhere else.
const TRANSACTION: &[u8] = b"*1\r\n$5\r\nMULTI\r\n";
/// More than the last writes of any server; a longer damaged part is only searched up to here.
const MOST_SEARCHED_BYTES: u64 = 64 * 1024 * 1024;

/// A file that does not end with a complete transaction, according to the checker.
#[derive(Debug, PartialEq, Eq)]
struct Torn {
    file: String,
    whole_bytes: u64,
    cut_bytes: u64,
}

/// Checks the files that the server would load, and removes an incomplete end.
pub(super) async fn put_right(server: &'static str, data_dir: &Path) -> Result<(), EmbeddedRedisError> {
    let directory = data_dir.join("appendonlydir");
    let manifest = directory.join("appendonly.aof.manifest");
    if !manifest.try_exists().map_err(at(&manifest))? {
        return Ok(());
    }
    let program = checker(server);
    let refusal = |what: String| EmbeddedRedisError::AppendOnlyFile { directory: directory.clone(), what };
    let checked = check(program, &manifest, &[]).await?;
    if checked.status.success() {
        return Ok(());
    }
    let torn = torn(&checked.stdout).ok_or_else(|| refusal(complaint(&checked)))?;
    let path = directory.join(&torn.file);
    if transactions_behind(&path, torn.whole_bytes).map_err(at(&path))? > 1 {
        let what = format!(
            "{} is damaged {} bytes before its end, with complete calls after the damage: restore a copy, or drop those calls with \
             `{program} --fix`",
            torn.file, torn.cut_bytes
        );
        return Err(refusal(what));
    }
    let mended = check(program, &manifest, &["--fix"]).await?;
    if !mended.status.success() {
        return Err(refusal(complaint(&mended)));
    }
    tracing::warn!(
        file = %path.display(),
        cut_bytes = torn.cut_bytes,
        left_bytes = torn.whole_bytes,
        "the append-only file ended within a call, as after a power failure: the incomplete end was removed"
    );
    Ok(())
}

fn checker(server: &str) -> &'static str {
    match server {
        "valkey-server" => "valkey-check-aof",
        _ => "redis-check-aof",
    }
}

async fn check(program: &'static str, manifest: &Path, options: &[&str]) -> Result<Output, EmbeddedRedisError> {
    let cannot_run = |source| EmbeddedRedisError::CannotRun { program, source };
    let mut command = Command::new(program);
    command.args(options).arg(manifest).stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::null());
    let mut child = command.kill_on_drop(true).spawn().map_err(cannot_run)?;
    if let Some(mut input) = child.stdin.take() {
        // It only asks if there is something to remove, and may have ended without asking.
        let _ = input.write_all(b"y\n").await;
    }
    child.wait_with_output().await.map_err(cannot_run)
}

/// Parses `AOF analyzed: filename=a.aof, size=216, ok_up_to=165, ok_up_to_line=49, diff=51` of the file with a
/// difference.
fn torn(output: &[u8]) -> Option<Torn> {
    let output = String::from_utf8_lossy(output);
    let analysed = output.lines().filter_map(|line| line.strip_prefix("AOF analyzed: "));
    let read = |line: &str| {
        let value = |name: &str| line.split(", ").find_map(|part| part.strip_prefix(name)?.strip_prefix('='));
        let file = Path::new(value("filename")?).file_name()?.to_str()?.to_owned();
        Some(Torn { file, whole_bytes: value("ok_up_to")?.parse().ok()?, cut_bytes: value("diff")?.parse().ok()? })
    };
    analysed.filter_map(read).find(|torn| torn.cut_bytes > 0)
}

/// The number of transactions that begin after that position: none for a truncated end, some for damage in the middle.
fn transactions_behind(path: &Path, whole_bytes: u64) -> io::Result<usize> {
    let mut file = File::open(path)?;
    file.seek(SeekFrom::Start(whole_bytes))?;
    let mut end = Vec::new();
    file.take(MOST_SEARCHED_BYTES).read_to_end(&mut end)?;
    Ok(end.windows(TRANSACTION.len()).filter(|window| *window == TRANSACTION).count())
}

/// The last line of the checker's output.
fn complaint(output: &Output) -> String {
    let text = String::from_utf8_lossy(&output.stdout);
    let last = text.lines().map(str::trim).rfind(|line| !line.is_empty());
    last.map_or_else(|| format!("the checker ended with {}", output.status), str::to_owned)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_output_of_the_checker_is_parsed() {
        let output = b"Start checking Multi Part AOF\n\
            AOF analyzed: filename=appendonly.aof.1.base.rdb, size=89, ok_up_to=89, ok_up_to_line=1, diff=0\n\
            0x              d7: Expected \\r\\n, got: 0000\n\
            AOF analyzed: filename=appendonly.aof.1.incr.aof, size=216, ok_up_to=165, ok_up_to_line=49, diff=51\n\
            AOF appendonly.aof.1.incr.aof is not valid. Use the --fix option to try fixing it.\n";
        let expected = Torn { file: "appendonly.aof.1.incr.aof".to_owned(), whole_bytes: 165, cut_bytes: 51 };
        assert_eq!(torn(output), Some(expected));
        assert_eq!(torn(b"AOF analyzed: filename=a, size=89, ok_up_to=89, ok_up_to_line=1, diff=0\n"), None);
        assert_eq!(torn(b"Failed\xff\nAOF analyzed: filename=.., diff=1"), None);
    }
}
