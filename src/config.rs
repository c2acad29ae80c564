//! The settings of a node, and the only reader of the environment. Each field has its variable, default and range;
//! `quotagate serve --help` prints the same.

use std::convert::Infallible;
use std::fmt;
use std::net::SocketAddr;
use std::path::PathBuf;
use std::str::FromStr;
use std::time::Duration;

use crate::infra::embedded_redis::{AppendFsync, EmbeddedOptions, maxmemory};
use crate::infra::journal::JournalOptions;
use crate::infra::telemetry::check_filter;
use crate::service::reporting::byte_bounds::ByteBounds;
use crate::service::reporting::retention::Retention;
use crate::workers::deliveries::DeliverOptions;
use crate::workers::rollup::RollUpOptions;

const REDIS_SCHEMES: [&str; 7] =
    ["redis", "rediss", "redis+unix", "unix", "redis-sentinel", "rediss-sentinel", "redis-cluster"];
const ADMIN_KEY_PREFIX: &str = "ak_";
const ADMIN_KEY_MIN_CHARS: usize = 24;
const MAX_WORKERS: u16 = 256;

/// The settings of one gateway node. Call [`Config::validate`] before use.
#[derive(Clone, Debug, clap::Args)]
// The text above is for readers of the code and not part of the help.
#[command(about = None, long_about = None)]
pub struct Config {
    /// Address and port to listen on; port 0 selects a free one
    #[arg(long, env = "QUOTAGATE_BIND", default_value = "127.0.0.1:8080", value_name = "ADDRESS")]
    pub bind: SocketAddr,

    /// The Redis that stores all state; without it, a private one is started in the data directory
    ///
    /// redis://, rediss://, redis+unix://, unix://, redis-sentinel://, rediss-sentinel:// or redis-cluster://.
    /// Better set by variable than by option if it contains a password.
    #[arg(long, env = "QUOTAGATE_REDIS_URL", hide_env_values = true, value_name = "URL")]
    pub redis_url: Option<Secret>,

    /// Directory for this node's files, such as the data of the private Redis
    #[arg(long, env = "QUOTAGATE_DATA_DIR", default_value = "./data", value_name = "DIR")]
    pub data_dir: PathBuf,

    /// A key to accept as root admin key; without it and without a stored one, a key is created and printed once
    ///
    /// `ak_` followed by letters, digits, `_` or `-`, at least 24 characters in total. Set the variable rather than
    /// the option, which other users of the machine can see.
    #[arg(long, env = "QUOTAGATE_ADMIN_KEY", hide_env_values = true, value_name = "KEY")]
    pub admin_key: Option<Secret>,

    /// A configuration file (YAML or JSON, as `quotagate apply` takes it) to apply at start; nothing is deleted
    #[arg(long, env = "QUOTAGATE_CONFIG", value_name = "FILE")]
    pub config: Option<PathBuf>,

    /// Threads that serve HTTP, 1 to 256; by default two per core
    #[arg(
        long,
        env = "QUOTAGATE_WORKERS",
        default_value_t = default_workers(),
        hide_default_value = true,
        value_parser = clap::value_parser!(u16).range(1..=i64::from(MAX_WORKERS)),
        value_name = "COUNT"
    )]
    pub workers: u16,

    /// What to log: error, warn, info, debug or trace, optionally per module (info,quotagate=debug)
    ///
    /// The HTTP server (actix_server) says at every start and stop what its threads do, so by default it logs warnings
    /// only.
    #[arg(long, env = "QUOTAGATE_LOG", default_value = "info,actix_server=warn", value_name = "FILTER")]
    pub log: String,

    /// The format of the log, which is written to standard error
    #[arg(long, env = "QUOTAGATE_LOG_FORMAT", value_enum, default_value_t)]
    pub log_format: LogFormat,

    /// The time limit of one Redis round trip, 50 to 60000 ms; after it the answer is 503
    #[arg(
        long,
        env = "QUOTAGATE_REDIS_TIMEOUT_MS",
        default_value_t = 2000,
        value_parser = clap::value_parser!(u64).range(50..=60_000),
        value_name = "MS"
    )]
    pub redis_timeout_ms: u64,

    /// How many replicas must acknowledge a write before it is answered, 0 to 16; otherwise the answer is 503
    ///
    /// They have half of the time limit of a round trip. Not for the private Redis, which has no replicas.
    #[arg(
        long,
        env = "QUOTAGATE_WAIT_REPLICAS",
        default_value_t = 0,
        value_parser = clap::value_parser!(u8).range(0..=16),
        value_name = "COUNT"
    )]
    pub wait_replicas: u8,

    /// Whether to send webhooks to private, loopback and link-local addresses
    #[arg(
        long,
        env = "QUOTAGATE_WEBHOOK_ALLOW_PRIVATE",
        default_value = "0",
        value_parser = switch,
        action = clap::ArgAction::Set,
        value_name = "0|1"
    )]
    pub webhook_allow_private: bool,

    /// The time limit of one delivery attempt to a webhook, 100 to 60000 ms
    #[arg(
        long,
        env = "QUOTAGATE_WEBHOOK_TIMEOUT_MS",
        default_value_t = 15_000,
        value_parser = clap::value_parser!(u64).range(100..=60_000),
        value_name = "MS"
    )]
    pub webhook_timeout_ms: u64,

    /// Days for which entries of the ledger and of denials are stored, 1 to 3660
    #[arg(
        long,
        env = "QUOTAGATE_LEDGER_DAYS",
        default_value_t = 35,
        value_parser = clap::value_parser!(u16).range(1..=3660),
        value_name = "DAYS"
    )]
    pub ledger_days: u16,

    #[command(flatten)]
    pub rollup: RollupArgs,

    /// The maximum number of ledger entries per app and mode, 1000 to 1000000000; beyond it the oldest are dropped
    ///
    /// An entry takes about 0.4 kB of Redis' memory. For an app with the placement `user`, the limit applies per
    /// bucket.
    #[arg(
        long,
        env = "QUOTAGATE_LEDGER_ENTRIES",
        default_value_t = crate::store::LEDGER_ENTRIES,
        value_parser = clap::value_parser!(u64).range(1_000..=1_000_000_000),
        value_name = "COUNT"
    )]
    pub ledger_entries: u64,

    /// The maximum memory of the ledger in Redis per app and mode, 1048576 to 1000000000000 bytes; beyond it the
    /// oldest entries are dropped
    ///
    /// The denials, the outbox and each audit log may use an eighth of it. For an app with the placement `user`, the
    /// limit applies per bucket.
    #[arg(
        long,
        env = "QUOTAGATE_LEDGER_BYTES",
        default_value_t = 536_870_912,
        value_parser = clap::value_parser!(u64).range(1_048_576..=1_000_000_000_000),
        value_name = "BYTES"
    )]
    pub ledger_bytes: u64,

    /// How many reserves this node may allow while Redis is unavailable until they are counted, 0 to 100000
    ///
    /// Only for apps with `onStoreFailure: allow`. They are journalled in the data directory, a few hundred bytes
    /// each.
    #[arg(
        long,
        env = "QUOTAGATE_DEGRADED_RESERVES",
        default_value_t = 1_000,
        value_parser = clap::value_parser!(u32).range(0..=100_000),
        value_name = "COUNT"
    )]
    pub degraded_reserves: u32,

    /// When the private Redis syncs writes to disk [default: everysec]
    ///
    /// Cannot be combined with a Redis URL, since that Redis has its own setting.
    #[arg(long, env = "QUOTAGATE_APPENDFSYNC", value_enum)]
    pub appendfsync: Option<AppendFsync>,

    /// Memory limit of the private Redis, such as 512mb or 2gb; 0: no limit [default: half of the memory]
    ///
    /// The default is based on the memory of the machine, or of the container if that is less. Settling calls may
    /// exceed the limit by a tenth. Cannot be combined with a Redis URL, since that Redis has its own setting.
    #[arg(long, env = "QUOTAGATE_REDIS_MAXMEMORY", value_parser = maxmemory::parse, value_name = "BYTES")]
    pub redis_maxmemory: Option<u64>,

    /// Whether an empty Redis is initialised at start
    #[arg(long, env = "QUOTAGATE_INIT", value_enum, default_value_t)]
    pub init: Init,
}

impl Config {
    /// Rejects values and combinations that cannot work.
    ///
    /// # Errors
    /// The first such setting, by the name of its variable; never with a secret in it.
    pub fn validate(&self) -> Result<(), ConfigError> {
        if let Some(url) = &self.redis_url {
            check_redis_url(url.expose())?;
            if self.appendfsync.is_some() {
                return Err(ConfigError::AppendfsyncWithoutEmbedded);
            }
            if self.redis_maxmemory.is_some() {
                return Err(ConfigError::MaxmemoryWithoutEmbedded);
            }
        } else if self.wait_replicas > 0 {
            return Err(ConfigError::WaitWithoutReplicas);
        }
        if self.admin_key.as_ref().is_some_and(|key| !is_admin_key(key.expose())) {
            return Err(ConfigError::AdminKey);
        }
        check_filter(&self.log).map_err(|error| ConfigError::Log { filter: self.log.clone(), error })
    }

    /// How to start the private Redis; `None` if a Redis URL is set.
    pub fn embedded_redis(&self) -> Option<EmbeddedOptions> {
        if self.redis_url.is_some() {
            return None;
        }
        Some(EmbeddedOptions {
            data_dir: self.data_dir.clone(),
            appendfsync: self.appendfsync.unwrap_or_default(),
            maxmemory: self.redis_maxmemory.unwrap_or_else(maxmemory::default_bytes),
        })
    }

    /// Where reserves are journalled that are allowed while Redis is unavailable.
    pub fn journal(&self) -> JournalOptions {
        let most = usize::try_from(self.degraded_reserves).unwrap_or(usize::MAX);
        JournalOptions { directory: self.data_dir.join("degraded"), most }
    }

    /// How webhooks are delivered.
    pub fn deliver(&self) -> DeliverOptions {
        DeliverOptions {
            allow_private: self.webhook_allow_private,
            timeout: Duration::from_millis(self.webhook_timeout_ms),
            ..DeliverOptions::default()
        }
    }

    /// How long rows of reports and entries are stored.
    pub fn roll_up(&self) -> RollUpOptions {
        let bytes = ByteBounds { ledger: self.ledger_bytes };
        RollUpOptions { rollup: self.rollup.options(), ledger_days: self.ledger_days, bytes }
    }

    /// The time limit of a Redis round trip.
    pub fn redis_timeout(&self) -> Duration {
        Duration::from_millis(self.redis_timeout_ms)
    }
}

/// How long rows of reports are stored; also used by `quotagate rollup`.
#[derive(Clone, Copy, Debug, clap::Args)]
pub struct RollupArgs {
    /// Days for which report rows without users are stored, 1 to 3660
    #[arg(
        long,
        env = "QUOTAGATE_ROLLUP_DAYS",
        default_value_t = 400,
        value_parser = clap::value_parser!(u16).range(1..=3660),
        value_name = "DAYS"
    )]
    rollup_days: u16,

    /// Days for which report rows with users are stored, 1 to 3660
    #[arg(
        long,
        env = "QUOTAGATE_ROLLUP_USER_DAYS",
        default_value_t = 35,
        value_parser = clap::value_parser!(u16).range(1..=3660),
        value_name = "DAYS"
    )]
    rollup_user_days: u16,
}

impl RollupArgs {
    pub fn options(&self) -> Retention {
        Retention { days: self.rollup_days, user_days: self.rollup_user_days }
    }
}

/// What to do at the start if Redis has no quotagate data.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, clap::ValueEnum)]
pub enum Init {
    /// Initialise it, with a warning in the log.
    #[default]
    Auto,
    /// Refuse to start, because there should be data.
    Never,
}

/// The format of the log.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, clap::ValueEnum)]
pub enum LogFormat {
    /// Text for people.
    #[default]
    Text,
    /// One JSON object per line.
    Json,
}

/// A text that is, or may contain, a secret: `Debug` hides it, and it has no `Display`. Parsing one never fails,
/// because clap would print the rejected value; [`Config::validate`] checks it.
#[derive(Clone, PartialEq, Eq)]
pub struct Secret(String);

impl Secret {
    /// The text itself, which must not be written to a log or an error.
    pub fn expose(&self) -> &str {
        &self.0
    }
}

impl FromStr for Secret {
    type Err = Infallible;

    fn from_str(text: &str) -> Result<Secret, Infallible> {
        Ok(Secret(text.to_owned()))
    }
}

impl fmt::Debug for Secret {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str("[redacted]")
    }
}

/// A setting that cannot work.
#[derive(Debug, thiserror::Error)]
pub enum ConfigError {
    #[error("QUOTAGATE_REDIS_URL must not be empty: set a URL, or unset it for the private Redis")]
    RedisUrlEmpty,
    #[error(
        "QUOTAGATE_REDIS_URL must begin with one of {}, followed by an address",
        REDIS_SCHEMES.map(|scheme| format!("{scheme}://")).join(", ")
    )]
    RedisUrl,
    #[error(
        "QUOTAGATE_APPENDFSYNC is for the private Redis, but QUOTAGATE_REDIS_URL names another: \
         unset one of them"
    )]
    AppendfsyncWithoutEmbedded,
    #[error(
        "QUOTAGATE_REDIS_MAXMEMORY is for the private Redis, but QUOTAGATE_REDIS_URL names another: \
         set maxmemory there, or unset one of them"
    )]
    MaxmemoryWithoutEmbedded,
    #[error(
        "QUOTAGATE_WAIT_REPLICAS is for a Redis with replicas, and the private Redis has none: \
         set QUOTAGATE_REDIS_URL too"
    )]
    WaitWithoutReplicas,
    #[error(
        "QUOTAGATE_ADMIN_KEY must begin with {ADMIN_KEY_PREFIX} and have at least \
         {ADMIN_KEY_MIN_CHARS} characters, all of them letters, digits, _ or -"
    )]
    AdminKey,
    #[error("QUOTAGATE_LOG must be a log filter; {filter:?} is not: {error}")]
    Log { filter: String, error: String },
}

fn check_redis_url(url: &str) -> Result<(), ConfigError> {
    if url.is_empty() {
        return Err(ConfigError::RedisUrlEmpty);
    }
    match url.split_once("://") {
        Some((scheme, address)) if REDIS_SCHEMES.contains(&scheme) && !address.is_empty() => Ok(()),
        _ => Err(ConfigError::RedisUrl),
    }
}

fn is_admin_key(key: &str) -> bool {
    key.starts_with(ADMIN_KEY_PREFIX)
        && key.len() >= ADMIN_KEY_MIN_CHARS
        && key.bytes().all(|byte| byte.is_ascii_alphanumeric() || matches!(byte, b'_' | b'-'))
}

/// Reads a setting that is on or off.
fn switch(text: &str) -> Result<bool, String> {
    match text {
        "1" | "true" => Ok(true),
        "0" | "false" => Ok(false),
        _ => Err("must be 0 or 1".to_owned()),
    }
}

/// Two per core: Redis answers the calls that it reads together only after the last of them, and meanwhile their worker
/// has nothing to do. The other one uses the core then.
fn default_workers() -> u16 {
    let cores = std::thread::available_parallelism().map_or(1, |cores| cores.get());
    u16::try_from(2 * cores).map_or(MAX_WORKERS, |workers| workers.min(MAX_WORKERS))
}

#[cfg(test)]
mod tests {
    use super::*;
    use clap::{CommandFactory, Parser};

    #[derive(Parser)]
    struct Cli {
        #[command(flatten)]
        config: Config,
    }

    fn parse(arguments: &[&str]) -> Result<Config, String> {
        let all = std::iter::once(&"quotagate").chain(arguments);
        let config = Cli::try_parse_from(all).map_err(|error| error.to_string())?.config;
        config.validate().map_err(|error| error.to_string())?;
        Ok(config)
    }

    #[test]
    fn everything_has_a_default() {
        let config = parse(&[]).unwrap();
        assert_eq!(config.bind.to_string(), "127.0.0.1:8080");
        assert_eq!(config.redis_timeout(), Duration::from_secs(2));
        let cores = std::thread::available_parallelism().unwrap().get();
        assert_eq!(usize::from(config.workers), (2 * cores).min(usize::from(MAX_WORKERS)));
        assert_eq!((config.log.as_str(), config.log_format), ("info,actix_server=warn", LogFormat::Text));
        let embedded = config.embedded_redis().unwrap();
        assert_eq!(embedded.data_dir, PathBuf::from("./data"));
        assert_eq!(embedded.appendfsync, AppendFsync::Everysec);
        assert!(embedded.maxmemory > 0 && config.init == Init::Auto);
    }

    #[test]
    fn every_setting_is_a_variable_as_well() {
        for argument in Cli::command().get_arguments() {
            let name = argument.get_id().as_str().to_uppercase();
            let variable = argument.get_env().map(|variable| variable.to_string_lossy());
            assert_eq!(variable.as_deref(), Some(format!("QUOTAGATE_{name}").as_str()));
        }
    }

    #[test]
    fn the_known_redis_urls_are_accepted() {
        for scheme in REDIS_SCHEMES {
            let config = parse(&["--redis-url", &format!("{scheme}://somewhere")]).unwrap();
            assert!(config.embedded_redis().is_none());
        }
    }

    #[test]
    fn what_cannot_work_is_refused_by_name() {
        let refused = [
            (vec!["--redis-url", ""], "QUOTAGATE_REDIS_URL must not be empty"),
            (vec!["--redis-url", "http://host"], "QUOTAGATE_REDIS_URL must begin"),
            (vec!["--redis-url", "redis://"], "QUOTAGATE_REDIS_URL must begin"),
            (vec!["--redis-url", "host:6379"], "QUOTAGATE_REDIS_URL must begin"),
            (
                vec!["--redis-url", "redis://host", "--appendfsync", "always"],
                "QUOTAGATE_APPENDFSYNC is for the private Redis",
            ),
            (
                vec!["--redis-url", "redis://host", "--redis-maxmemory", "1gb"],
                "QUOTAGATE_REDIS_MAXMEMORY is for the private Redis",
            ),
            (vec!["--redis-maxmemory", "half"], "a number of bytes such as 512mb"),
            (vec!["--init", "always"], "auto, never"),
            (vec!["--webhook-allow-private", "maybe"], "must be 0 or 1"),
            (vec!["--admin-key", ""], "QUOTAGATE_ADMIN_KEY must begin with ak_"),
            (vec!["--admin-key", "ak_tooshort"], "at least 24 characters"),
            (vec!["--admin-key", "ak_with a blank in it and long"], "letters, digits"),
            (vec!["--data-dir", ""], "--data-dir"),
            (vec!["--log", "quotagate=loud"], "QUOTAGATE_LOG must be a log filter"),
            (vec!["--bind", "nowhere"], "--bind"),
            (vec!["--workers", "0"], "1..=256"),
            (vec!["--workers", "257"], "1..=256"),
            (vec!["--redis-timeout-ms", "49"], "50..=60000"),
            (vec!["--redis-timeout-ms", "60001"], "50..=60000"),
            (vec!["--appendfsync", "no"], "everysec, always"),
            (vec!["--wait-replicas", "1"], "QUOTAGATE_WAIT_REPLICAS is for a Redis with replicas"),
            (vec!["--redis-url", "redis://host", "--wait-replicas", "17"], "17 is not in 0..=16"),
        ];
        for (arguments, reason) in refused {
            let error = parse(&arguments).unwrap_err();
            assert!(error.contains(reason), "{arguments:?}: {error}");
        }
    }

    #[test]
    fn secrets_show_neither_in_debug_nor_in_errors() {
        let secret = "s3cret-Passw0rd";
        let url = format!("redis://user:{secret}@host");
        let key = format!("ak_{secret}_long-enough");
        let shown = format!("{:?}", parse(&["--redis-url", &url, "--admin-key", &key]).unwrap());
        assert!(!shown.contains(secret), "{shown}");

        let wrong_url = format!("https://user:{secret}@host");
        let wrong_key = format!("{secret} is no key");
        for arguments in [["--redis-url", &wrong_url], ["--admin-key", &wrong_key]] {
            let error = parse(&arguments).unwrap_err();
            assert!(!error.contains(secret), "{error}");
        }
    }
}
