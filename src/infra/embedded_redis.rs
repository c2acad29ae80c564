//! A private Redis for a gateway without `QUOTAGATE_REDIS_URL`: started, monitored and stopped by the gateway, and
//! reachable through a Unix socket only.
//!
//! Two locks in the data directory ensure that only one server uses it. `lock` is held by the gateway. `server.lock`
//! is the standard input of the server, so it stays locked exactly as long as that process lives, even if its gateway
//! was killed.

mod append_only;
mod keep;
pub mod maxmemory;
mod program;
#[cfg(test)]
mod tests;

use std::fs::{self, DirBuilder, File, OpenOptions};
use std::io::{self, Read, Seek, SeekFrom};
use std::os::unix::ffi::OsStrExt;
use std::os::unix::fs::{DirBuilderExt, OpenOptionsExt};
use std::path::{Path, PathBuf};
use std::process::ExitStatus;
use std::sync::Arc;
use std::time::Duration;

use percent_encoding::{AsciiSet, NON_ALPHANUMERIC, percent_encode};
use sha2::{Digest, Sha256};
use tokio::io::{AsyncBufReadExt, AsyncWriteExt, BufReader};
use tokio::net::UnixStream;
use tokio::process::{Child, Command};
use tokio::sync::Mutex;
use tokio::time::{Instant, sleep, timeout};

pub use program::COMPACT;
use program::find_program;

use crate::infra::lock_file::LockFile;
use crate::infra::supervise::{Parts, Pulse, Supervised};

/// `sockaddr_un` has 104 bytes on macOS and 108 on Linux, including the terminating zero.
const SOCKET_PATH_BYTES: usize = 104;
/// Bytes that need no encoding in the path of a URL.
const URL_PATH: &AsciiSet = &NON_ALPHANUMERIC.remove(b'/').remove(b'.').remove(b'-').remove(b'_');

const ANSWER_TIMEOUT: Duration = Duration::from_secs(2);
const READY_TIMEOUT: Duration = Duration::from_secs(30);
const STOP_TIMEOUT: Duration = Duration::from_secs(10);
const LONGEST_POLL: Duration = Duration::from_millis(100);
/// The task that monitors the server reports every second.
const STALLED_AFTER: Duration = Duration::from_secs(10);
const LOG_TAIL_LINES: usize = 10;

/// When a write reaches the disk, and so what a crash may lose.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, clap::ValueEnum)]
pub enum AppendFsync {
    /// Once a second: a power failure, or with a slow disk a crash of the server, may lose the last two seconds.
    #[default]
    Everysec,
    /// Before every answer: acknowledged writes are never lost; writes are as slow as the disk.
    Always,
}

impl AppendFsync {
    fn as_redis_word(self) -> &'static str {
        match self {
            AppendFsync::Everysec => "everysec",
            AppendFsync::Always => "always",
        }
    }
}

/// Where and how the embedded Redis stores its data.
#[derive(Clone, Debug)]
pub struct EmbeddedOptions {
    /// Created with mode 0700 if it does not exist. Used by one gateway at a time.
    pub data_dir: PathBuf,
    /// The durability of a write.
    pub appendfsync: AppendFsync,
    /// Memory limit in bytes; 0 means no limit.
    pub maxmemory: u64,
}

/// Why the embedded Redis is not running.
#[derive(Debug, thiserror::Error)]
pub enum EmbeddedRedisError {
    #[error(
        "no redis-server or valkey-server on the PATH: install one with `sudo apt-get install \
         redis-server` (Debian, Ubuntu) or `brew install redis` (macOS), or point \
         QUOTAGATE_REDIS_URL at a Redis"
    )]
    ServerMissing,
    #[error("{program} on the PATH is version {version}, but quotagate needs 7.0 or later")]
    ServerTooOld { program: &'static str, version: String },
    #[error("`{program} --version` returned {answer:?}, which has no version")]
    VersionUnreadable { program: &'static str, answer: String },
    #[error("cannot run {program}: {source}")]
    CannotRun { program: &'static str, source: io::Error },
    #[error("cannot use {}: {source}", path.display())]
    Path { path: PathBuf, source: io::Error },
    #[error(
        "another quotagate runs on the data directory {}: stop it, or choose another with \
         QUOTAGATE_DATA_DIR",
        data_dir.display()
    )]
    DataDirInUse { data_dir: PathBuf },
    #[error("cannot create a Unix socket: the path {} is too long", path.display())]
    SocketPathTooLong { path: PathBuf },
    #[error(
        "an earlier server on the data directory {} did not shut down within {} s: end the \
         process that has {}/server.lock open",
        data_dir.display(), STOP_TIMEOUT.as_secs(), data_dir.display()
    )]
    OrphanStays { data_dir: PathBuf },
    #[error("cannot repair the append-only file in {}: {what}", directory.display())]
    AppendOnlyFile { directory: PathBuf, what: String },
    #[error("{program} ended at its start ({status}); the end of {}:\n{log_tail}", log.display())]
    Ended { program: &'static str, status: ExitStatus, log: PathBuf, log_tail: String },
    #[error(
        "{program} is not ready after {} s (last answer: {answer}); see {}",
        READY_TIMEOUT.as_secs(), log.display()
    )]
    NotReady { program: &'static str, answer: String, log: PathBuf },
}

/// A running private Redis. Dropping it without [`EmbeddedRedis::stop`] kills the server and may lose data as
/// described for [`AppendFsync`].
pub struct EmbeddedRedis {
    url: String,
    version: String,
    server: Arc<Server>,
    /// Locked by the task that monitors the server; None while no server runs.
    child: Arc<Mutex<Option<Child>>>,
    watch: Supervised,
    _data_dir_lock: LockFile,
}

impl EmbeddedRedis {
    /// Starts the server and returns when it answers with all data loaded. A server that a killed gateway left running
    /// on the same data directory is shut down first.
    ///
    /// # Errors
    /// No usable server is on the PATH, the data directory cannot be used or is in use, or the server ends or does not
    /// answer for 30 s. Loading may take longer than that.
    pub async fn start(options: &EmbeddedOptions, parts: &Parts) -> Result<EmbeddedRedis, EmbeddedRedisError> {
        let (program, version) = find_program().await?;
        let data_dir = make_data_dir(&options.data_dir)?;
        let lock = lock_data_dir(&data_dir)?;
        let socket = socket_path(&data_dir)?;
        let EmbeddedOptions { appendfsync, maxmemory, .. } = *options;
        let server = Arc::new(Server { program, socket, data_dir, appendfsync, maxmemory });

        let child = Arc::new(Mutex::new(Some(server.launch().await?)));
        let url = server.url();
        tracing::info!(data_dir = %server.data_dir.display(), maxmemory, "embedded {program} {version} is running");

        let (watched, kept) = (Arc::clone(&server), Arc::clone(&child));
        let watch = parts
            .start("embedded_redis", STALLED_AFTER, move |pulse| watch(Arc::clone(&watched), Arc::clone(&kept), pulse));
        let version = format!("{program} {version}");
        Ok(EmbeddedRedis { url, version, server, child, watch, _data_dir_lock: lock })
    }

    /// The server's `redis+unix://` URL, which stays the same across restarts of the server.
    pub fn url(&self) -> String {
        self.url.clone()
    }

    /// Program and version, such as `redis-server 7.0.15`.
    pub fn version(&self) -> &str {
        &self.version
    }

    /// Shuts the server down after everything is written and synced to disk. A server that has not ended after 10 s is
    /// killed, and that is logged.
    pub async fn stop(self) {
        let EmbeddedRedis { server, child, watch, _data_dir_lock, .. } = self;
        drop(watch);
        // Unlocked as soon as the task has ended.
        let child = child.lock().await.take();
        server.shut_down(child).await;
    }
}

async fn watch(server: Arc<Server>, child: Arc<Mutex<Option<Child>>>, pulse: Pulse) {
    server.keep_alive(&mut *child.lock().await, &pulse).await;
}

/// How to start, query and stop the server of one data directory.
struct Server {
    program: &'static str,
    /// Canonical, so absolute.
    data_dir: PathBuf,
    socket: PathBuf,
    appendfsync: AppendFsync,
    maxmemory: u64,
}

impl Server {
    /// Starts the only server on its data directory, and waits until it answers.
    async fn launch(&self) -> Result<Child, EmbeddedRedisError> {
        let server_lock = self.claim().await?;
        self.remove_half_written_files();
        append_only::put_right(self.program, &self.data_dir).await?;
        self.make_private_socket_dir()?;
        let log = self.open_log()?;
        let log_start = log.metadata().map_or(0, |metadata| metadata.len());
        let mut child = self.spawn(server_lock, log)?;
        self.wait_until_ready(&mut child, log_start).await?;
        Ok(child)
    }

    /// Waits until no server uses the data directory, shutting down one that may still run, and returns the lock that
    /// the next server holds for its lifetime.
    async fn claim(&self) -> Result<File, EmbeddedRedisError> {
        let path = self.data_dir.join("server.lock");
        let lock = open_private(&path, OpenOptions::new().write(true))?;
        let begun = Instant::now();
        let mut poll = Poll::new();
        loop {
            let listening = match self.ask("SHUTDOWN NOSAVE").await {
                Ok(_) => true,
                Err(error) => error.kind() == io::ErrorKind::TimedOut,
            };
            if !listening && lock.try_lock().is_ok() {
                return Ok(lock);
            }
            if poll.is_first() {
                tracing::warn!(
                    data_dir = %self.data_dir.display(),
                    "an earlier server still runs on the data directory: shutting it down"
                );
            }
            if begun.elapsed() > STOP_TIMEOUT {
                return Err(EmbeddedRedisError::OrphanStays { data_dir: self.data_dir.clone() });
            }
            poll.pause().await;
        }
    }

    fn spawn(&self, server_lock: File, log: File) -> Result<Child, EmbeddedRedisError> {
        let log_for_errors = log.try_clone().map_err(at(&self.log_path()))?;
        Command::new(self.program)
            .args(["--port", "0", "--protected-mode", "yes", "--daemonize", "no"])
            .arg("--unixsocket")
            .arg(&self.socket)
            .args(["--unixsocketperm", "700"])
            .arg("--dir")
            .arg(&self.data_dir)
            .args(["--appendonly", "yes", "--appendfsync", self.appendfsync.as_redis_word()])
            .args(["--save", "", "--maxmemory-policy", "noeviction", "--maxmemory"])
            .arg(self.maxmemory.to_string())
            .args(COMPACT)
            .stdin(server_lock)
            .stdout(log)
            .stderr(log_for_errors)
            // A Ctrl-C at the terminal is meant for the gateway, which needs Redis while it drains.
            .process_group(0)
            .kill_on_drop(true)
            .spawn()
            .map_err(|source| EmbeddedRedisError::CannotRun { program: self.program, source })
    }

    /// Returns when the server answers `PING`. A server that is loading its data answers so each time, so only silence
    /// or other answers are limited.
    async fn wait_until_ready(&self, child: &mut Child, log_start: u64) -> Result<(), EmbeddedRedisError> {
        let mut stuck_since = Instant::now();
        let mut poll = Poll::new();
        loop {
            if let Ok(Some(status)) = child.try_wait() {
                return Err(EmbeddedRedisError::Ended {
                    program: self.program,
                    status,
                    log: self.log_path(),
                    log_tail: last_lines(&self.log_path(), log_start),
                });
            }
            let answer = match self.ask("PING").await {
                Ok(answer) if answer == "+PONG" => return Ok(()),
                Ok(answer) => answer,
                Err(error) => error.to_string(),
            };
            if answer.starts_with("-LOADING") {
                stuck_since = Instant::now();
            }
            if stuck_since.elapsed() > READY_TIMEOUT {
                let log = self.log_path();
                return Err(EmbeddedRedisError::NotReady { program: self.program, answer, log });
            }
            poll.pause().await;
        }
    }

    /// Sends one command and returns the first line of the answer, or "" if the server hangs up
    /// instead, as on SHUTDOWN. The protocol takes plain lines, so this needs no client library,
    /// and `store` remains the only place that knows one.
    async fn ask(&self, command: &str) -> io::Result<String> {
        let exchange = async {
            let mut stream = UnixStream::connect(&self.socket).await?;
            stream.write_all(format!("{command}\r\n").as_bytes()).await?;
            let mut line = String::new();
            BufReader::new(stream).read_line(&mut line).await?;
            Ok(line.trim_end().to_owned())
        };
        timeout(ANSWER_TIMEOUT, exchange).await?
    }

    fn url(&self) -> String {
        url_of_socket(&self.socket)
    }

    fn log_path(&self) -> PathBuf {
        self.data_dir.join("redis.log")
    }

    fn open_log(&self) -> Result<File, EmbeddedRedisError> {
        open_private(&self.log_path(), OpenOptions::new().append(true))
    }

    /// A server that dies while it rewrites its append-only file leaves an incomplete file behind and never uses it
    /// again. Without this cleanup, a crash loop would fill the disk.
    fn remove_half_written_files(&self) {
        let Ok(entries) = fs::read_dir(&self.data_dir) else {
            return;
        };
        for entry in entries.flatten() {
            if entry.file_name().as_bytes().starts_with(b"temp-rewriteaof-")
                && let Err(error) = fs::remove_file(entry.path())
            {
                tracing::warn!("cannot remove {}: {error}", entry.path().display());
            }
        }
    }

    /// The directory of the socket, if it is not the data directory.
    fn private_socket_dir(&self) -> Option<&Path> {
        self.socket.parent().filter(|dir| *dir != self.data_dir)
    }

    /// Recreates the directory for the socket while no server runs. Its name can be guessed and the temporary directory
    /// is shared, so an existing directory might belong to another user.
    fn make_private_socket_dir(&self) -> Result<(), EmbeddedRedisError> {
        let Some(dir) = self.private_socket_dir() else {
            return Ok(());
        };
        match fs::remove_dir_all(dir) {
            Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(at(dir)(error)),
            _ => DirBuilder::new().mode(0o700).create(dir).map_err(at(dir)),
        }
    }
}

/// The gateway's lock on its data directory.
fn lock_data_dir(data_dir: &Path) -> Result<LockFile, EmbeddedRedisError> {
    let path = data_dir.join("lock");
    let file = LockFile(open_private(&path, OpenOptions::new().write(true))?);
    match file.try_lock() {
        Ok(()) => Ok(file),
        Err(fs::TryLockError::WouldBlock) => Err(EmbeddedRedisError::DataDirInUse { data_dir: data_dir.to_owned() }),
        Err(fs::TryLockError::Error(source)) => Err(at(&path)(source)),
    }
}

/// Pauses for polling, which grow from 5 ms to 100 ms.
struct Poll(Duration);

impl Poll {
    const FIRST: Duration = Duration::from_millis(5);

    fn new() -> Poll {
        Poll(Poll::FIRST)
    }

    fn is_first(&self) -> bool {
        self.0 == Poll::FIRST
    }

    async fn pause(&mut self) {
        sleep(self.0).await;
        self.0 = (self.0 * 2).min(LONGEST_POLL);
    }
}

/// The URL of the private server that a gateway runs on a data directory.
///
/// # Errors
/// The directory does not exist.
pub fn url_of(data_dir: &Path) -> Result<String, EmbeddedRedisError> {
    let data_dir = data_dir.canonicalize().map_err(at(data_dir))?;
    Ok(url_of_socket(&socket_path(&data_dir)?))
}

fn url_of_socket(socket: &Path) -> String {
    format!("redis+unix://{}", percent_encode(socket.as_os_str().as_bytes(), URL_PATH))
}

/// Creates the data directory if needed, and returns its canonical path.
fn make_data_dir(data_dir: &Path) -> Result<PathBuf, EmbeddedRedisError> {
    DirBuilder::new()
        .recursive(true)
        .mode(0o700)
        .create(data_dir)
        .and_then(|()| data_dir.canonicalize())
        .map_err(at(data_dir))
}

/// The socket is in the data directory. If its path would be too long for the operating system, it is in a separate
/// directory whose name is derived from the data directory, so that the next start finds a server that was left
/// running.
fn socket_path(data_dir: &Path) -> Result<PathBuf, EmbeddedRedisError> {
    let fits = |path: &Path| path.as_os_str().len() < SOCKET_PATH_BYTES;
    let beside_data = data_dir.join("redis.sock");
    if fits(&beside_data) {
        return Ok(beside_data);
    }
    let digest = hex::encode(Sha256::digest(data_dir.as_os_str().as_bytes()));
    let path = std::env::temp_dir().join(format!("quotagate-{}", &digest[..16])).join("redis.sock");
    if fits(&path) { Ok(path) } else { Err(EmbeddedRedisError::SocketPathTooLong { path }) }
}

/// Opens a file; creates it with mode 0600 if it does not exist.
fn open_private(path: &Path, options: &mut OpenOptions) -> Result<File, EmbeddedRedisError> {
    options.create(true).mode(0o600).open(path).map_err(at(path))
}

/// Adds the path to an I/O error.
fn at(path: &Path) -> impl Fn(io::Error) -> EmbeddedRedisError {
    move |source| EmbeddedRedisError::Path { path: path.to_owned(), source }
}

/// The last lines of the log after a byte position, or a note that there are none.
fn last_lines(log: &Path, from: u64) -> String {
    let read = || -> io::Result<String> {
        let mut file = File::open(log)?;
        file.seek(SeekFrom::Start(from))?;
        let mut bytes = Vec::new();
        file.read_to_end(&mut bytes)?;
        Ok(String::from_utf8_lossy(&bytes).into_owned())
    };
    let text = read().unwrap_or_default();
    let lines: Vec<&str> = text.lines().filter(|line| !line.trim().is_empty()).collect();
    if lines.is_empty() {
        return "(nothing)".to_owned();
    }
    lines[lines.len().saturating_sub(LOG_TAIL_LINES)..].join("\n")
}
