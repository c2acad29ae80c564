//! A pipelined connection to Redis that many calls share: a single server, a Sentinel group, or a Cluster.

use std::time::Duration;

use redis::aio::{ConnectionLike, ConnectionManager, ConnectionManagerConfig, MultiplexedConnection};
use redis::cluster::ClusterClient;
use redis::cluster_async::ClusterConnection;
use redis::cluster_routing::{Route, RoutingInfo, SingleNodeRoutingInfo, SlotAddr};
use redis::io::tcp::TcpSettings;
use redis::sentinel::SentinelClient;
use redis::{AsyncConnectionConfig, Cmd, ErrorKind, IntoConnectionInfo, Pipeline, RedisError, RedisResult, Value};
use thread_local::ThreadLocal;
use tokio::sync::Mutex;

use super::sentinel_url::SentinelUrl;
use crate::store::error::is_forbidden;

/// How many commands may wait for a connection, and how many bytes it collects before it writes. This is enough for
/// all operations of a batch and some other calls, so that they reach Redis in one write. The defaults of the client
/// library are 50 commands and 8 KiB. In a cluster it lets only the bytes be set, so a master gets at most 50 commands
/// in one write.
const MOST_WAITING: usize = 256;
const MOST_UNWRITTEN_BYTES: usize = 256 * 1024;

const CLUSTER: &str = "redis-cluster://";

/// A connection that is restored when it breaks.
pub enum Link {
    Single(ConnectionManager),
    Sentinel(Box<SentinelLink>),
    Cluster(Box<ClusterLink>),
}

/// The present master of a Sentinel group.
pub struct SentinelLink {
    state: Mutex<(SentinelClient, Option<MultiplexedConnection>)>,
    config: AsyncConnectionConfig,
}

/// A cluster's client, connected at the first call.
pub struct ClusterLink {
    client: ClusterClient,
    connection: Mutex<Option<ClusterConnection>>,
}

/// One link per thread. A connection's reader runs on the thread that made it, so a call never wakes another thread.
pub struct Links {
    url: String,
    timeout: Duration,
    links: ThreadLocal<Link>,
}

impl Links {
    /// # Errors
    /// An invalid URL. An unreachable server is only noticed later.
    pub fn open(url: &str, timeout: Duration) -> RedisResult<Self> {
        let links = Self { url: url.to_owned(), timeout, links: ThreadLocal::new() };
        links.own()?;
        Ok(links)
    }

    /// Whether it is a cluster, where one command needs keys of one slot.
    pub fn is_cluster(&self) -> bool {
        self.url.starts_with(CLUSTER)
    }

    /// The link of the present thread.
    ///
    /// # Errors
    /// An invalid URL, which [`Self::open`] has already reported.
    pub fn own(&self) -> RedisResult<&Link> {
        self.links.get_or_try(|| Link::open(&self.url, self.timeout))
    }
}

impl Link {
    /// # Errors
    /// An invalid URL. An unreachable server is only noticed later.
    pub fn open(url: &str, timeout: Duration) -> RedisResult<Self> {
        if let Some(group) = SentinelUrl::parse(url) {
            return SentinelLink::open(group?, timeout).map(|link| Self::Sentinel(Box::new(link)));
        }
        if let Some(rest) = url.strip_prefix(CLUSTER) {
            let client = ClusterClient::builder(nodes(rest))
                .connection_timeout(timeout)
                .response_timeout(timeout)
                .tcp_settings(at_once())
                .write_backpressure_boundary(MOST_UNWRITTEN_BYTES)
                .build()?;
            return Ok(Self::Cluster(Box::new(ClusterLink { client, connection: Mutex::new(None) })));
        }
        let client = single(url)?;
        let config = ConnectionManagerConfig::new()
            .set_connection_timeout(Some(timeout))
            // Callers have their own time limit, which includes retries and reconnects.
            .set_response_timeout(None)
            .set_pipeline_buffer_size(MOST_WAITING)
            .set_write_backpressure_boundary(MOST_UNWRITTEN_BYTES)
            .set_min_delay(Duration::from_millis(20))
            .set_max_delay(Duration::from_millis(500));
        ConnectionManager::new_lazy_with_config(client, config).map(Self::Single)
    }

    /// Runs a command; once more if the connection broke, since every call can be repeated.
    pub async fn run(&self, command: &Cmd) -> RedisResult<Value> {
        match self.run_once(command).await {
            Err(error) if broke(&error) => {
                metrics::counter!("quotagate_retries_total", "cause" => "connection").increment(1);
                self.run_once(command).await
            }
            other => other,
        }
    }

    /// Runs a command without a key; in a cluster, on the master of `key`.
    pub async fn run_at(&self, key: &str, command: &Cmd) -> RedisResult<Value> {
        match self {
            Self::Cluster(link) => Box::pin(link.run_at(key, command)).await.and_then(own_error),
            Self::Single(_) | Self::Sentinel(_) => self.run(command).await,
        }
    }

    /// A slot of each master; None for a single master without slots.
    pub async fn masters(&self) -> RedisResult<Vec<Option<u16>>> {
        match self {
            Self::Cluster(link) => {
                let found = Box::pin(link.masters()).await?;
                Ok(found.into_iter().map(Some).collect())
            }
            Self::Single(_) | Self::Sentinel(_) => Ok(vec![None]),
        }
    }

    /// Runs a command without a key on one of [`Self::masters`].
    pub async fn run_on(&self, master: Option<u16>, command: &Cmd) -> RedisResult<Value> {
        match (self, master) {
            (Self::Cluster(link), Some(slot)) => Box::pin(link.run_on(slot, command)).await.and_then(own_error),
            _ => self.run(command).await,
        }
    }

    /// Runs commands together on one connection, in a cluster on the master of `key`; once more if the connection
    /// broke. An answer may be an error of the server.
    pub async fn run_all(&self, key: &str, commands: &Pipeline) -> RedisResult<Vec<Value>> {
        match self.run_all_once(key, commands).await {
            Err(error) if broke(&error) => {
                metrics::counter!("quotagate_retries_total", "cause" => "connection").increment(1);
                self.run_all_once(key, commands).await
            }
            other => other,
        }
    }

    /// The same without a repetition.
    // The rarer kinds are boxed. Inlined, they would make every future that calls Redis a few kilobytes larger, and
    // futures are moved often.
    pub async fn run_all_once(&self, key: &str, commands: &Pipeline) -> RedisResult<Vec<Value>> {
        let count = commands.cmd_iter().count();
        match self {
            Self::Single(manager) => manager.clone().req_packed_commands(commands, 0, count).await,
            Self::Sentinel(link) => Box::pin(link.run_all(commands, count)).await,
            Self::Cluster(link) => Box::pin(link.run_all(key, commands, count)).await,
        }
    }

    async fn run_once(&self, command: &Cmd) -> RedisResult<Value> {
        match self {
            Self::Single(manager) => manager.clone().req_packed_command(command).await.and_then(own_error),
            Self::Sentinel(link) => Box::pin(link.run(command)).await.and_then(own_error),
            Self::Cluster(link) => Box::pin(link.run(command)).await.and_then(own_error),
        }
    }
}

/// Disables Nagle's algorithm, so that a call is sent at once. Otherwise the kernel delays it until an earlier call on
/// the connection is acknowledged, which costs a round trip.
fn at_once() -> TcpSettings {
    TcpSettings::default().set_nodelay(true)
}

fn single(url: &str) -> RedisResult<redis::Client> {
    redis::Client::open(url.into_connection_info()?.set_tcp_settings(at_once()))
}

fn master_of(key: &str) -> SingleNodeRoutingInfo {
    SingleNodeRoutingInfo::SpecificNode(Route::with_key(key, SlotAddr::Master))
}

/// The error that a reply is. Its parts are not searched, since a page of the ledger has thousands of them and only `EXEC`
/// answers with errors in a list.
fn own_error(reply: Value) -> RedisResult<Value> {
    match reply {
        Value::ServerError(error) => Err(error.into()),
        reply => Ok(reply),
    }
}

fn broke(error: &RedisError) -> bool {
    error.is_io_error() && !error.is_timeout()
}

/// `[user:password@]host:port,host:port` as URLs of nodes.
fn nodes(list: &str) -> Vec<String> {
    let (login, hosts) = list.rsplit_once('@').map_or(("", list), |(login, hosts)| (login, hosts));
    let login = if login.is_empty() { String::new() } else { format!("{login}@") };
    hosts.trim_end_matches('/').split(',').map(|host| format!("redis://{login}{host}")).collect()
}

impl SentinelLink {
    fn open(group: SentinelUrl, timeout: Duration) -> RedisResult<Self> {
        let config =
            AsyncConnectionConfig::new().set_connection_timeout(Some(timeout)).set_response_timeout(Some(timeout));
        let config =
            config.set_pipeline_buffer_size(MOST_WAITING).set_write_backpressure_boundary(MOST_UNWRITTEN_BYTES);
        Ok(Self { state: Mutex::new((group.client(at_once())?, None)), config })
    }

    async fn run(&self, command: &Cmd) -> RedisResult<Value> {
        let mut connection = self.connection().await?;
        let result = connection.req_packed_command(command).await;
        self.look_at(result.as_ref().map(std::slice::from_ref)).await;
        result
    }

    async fn run_all(&self, commands: &Pipeline, count: usize) -> RedisResult<Vec<Value>> {
        let mut connection = self.connection().await?;
        let result = connection.req_packed_commands(commands, 0, count).await;
        self.look_at(result.as_deref()).await;
        result
    }

    /// After a broken connection, or if the master became a replica, the sentinels are asked again.
    async fn look_at(&self, result: Result<&[Value], &RedisError>) {
        let is_readonly = |value: &Value| matches!(value, Value::ServerError(error) if error.code() == "READONLY");
        let failed = match result {
            Err(error) => error.is_io_error() || error.code() == Some("READONLY"),
            Ok(values) => values.iter().any(is_readonly),
        };
        if failed {
            self.state.lock().await.1 = None;
        }
    }

    async fn connection(&self) -> RedisResult<MultiplexedConnection> {
        let mut state = self.state.lock().await;
        if let Some(connection) = &state.1 {
            return Ok(connection.clone());
        }
        let connection = state.0.get_async_connection_with_config(&self.config).await.map_err(whose_login)?;
        state.1 = Some(connection.clone());
        Ok(connection)
    }
}

/// The error does not say whether a sentinel or the master rejected the login.
fn whose_login(error: RedisError) -> RedisError {
    const HINT: &str = "a sentinel or the master rejected the login; the name and password before the hosts in \
                        the URL are for the master, sentinel_username and sentinel_password for the sentinels";
    match error.to_string() {
        message if is_forbidden(&message) => (ErrorKind::AuthenticationFailed, HINT, message).into(),
        _ => error,
    }
}

impl ClusterLink {
    async fn run(&self, command: &Cmd) -> RedisResult<Value> {
        self.connection().await?.req_packed_command(command).await
    }

    /// On the master of `key`.
    async fn run_at(&self, key: &str, command: &Cmd) -> RedisResult<Value> {
        let routing = RoutingInfo::SingleNode(master_of(key));
        self.connection().await?.route_command(command.clone(), routing).await
    }

    /// A slot of each master.
    async fn masters(&self) -> RedisResult<Vec<u16>> {
        let mut command = redis::cmd("CLUSTER");
        command.arg("SLOTS");
        let found = self.run(&command).await.and_then(own_error)?;
        // First and last slot, the master's address, port and ID, and its replicas.
        let (mut known, mut slots) = (Vec::new(), Vec::new());
        for range in redis::from_redis_value::<Vec<Vec<Value>>>(found)? {
            let mut parts = range.into_iter();
            let (first, _, master) = (parts.next(), parts.next(), parts.next());
            if let (Some(first), Some(master)) = (first, master)
                && !known.contains(&master)
            {
                slots.push(redis::from_redis_value(first)?);
                known.push(master);
            }
        }
        Ok(slots)
    }

    async fn run_on(&self, slot: u16, command: &Cmd) -> RedisResult<Value> {
        let master = SingleNodeRoutingInfo::SpecificNode(Route::new(slot, SlotAddr::Master));
        self.connection().await?.route_command(command.clone(), RoutingInfo::SingleNode(master)).await
    }

    async fn run_all(&self, key: &str, commands: &Pipeline, count: usize) -> RedisResult<Vec<Value>> {
        self.connection().await?.route_pipeline(commands.clone(), 0, count, master_of(key)).await
    }

    async fn connection(&self) -> RedisResult<ClusterConnection> {
        let mut connected = self.connection.lock().await;
        match &*connected {
            Some(connection) => Ok(connection.clone()),
            None => Ok(connected.insert(self.client.get_async_connection().await?).clone()),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use futures::future::join_all;
    use tokio::io::{AsyncReadExt, AsyncWriteExt};
    use tokio::net::{TcpListener, TcpStream};

    /// The first byte of a TLS handshake.
    const HANDSHAKE: u8 = 0x16;

    #[tokio::test]
    async fn sentinels_are_asked_by_tls_where_the_url_says_so() {
        for (scheme, first) in [("redis-sentinel", b'*'), ("rediss-sentinel", HANDSHAKE)] {
            let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
            let url = format!("{scheme}://{}/master", listener.local_addr().unwrap());
            let link = Link::open(&url, Duration::from_secs(30)).unwrap();
            let ping = redis::cmd("PING");
            let first_byte = async { listener.accept().await.unwrap().0.read_u8().await.unwrap() };
            tokio::select! {
                sent = first_byte => assert_eq!(sent, first, "{scheme}"),
                answer = link.run(&ping) => panic!("{scheme}: {answer:?}"),
            }
        }
    }

    /// Waits for commands and returns how many have arrived.
    async fn arrived(stream: &mut TcpStream) -> usize {
        let mut bytes = Vec::new();
        stream.read_buf(&mut bytes).await.unwrap();
        while stream.try_read_buf(&mut bytes).is_ok() {}
        bytes.iter().filter(|byte| **byte == b'*').count()
    }

    #[tokio::test]
    async fn commands_that_are_made_together_reach_redis_together() {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let url = format!("redis://{}", listener.local_addr().unwrap());
        let link = Link::open(&url, Duration::from_secs(30)).unwrap();
        let ping = redis::cmd("PING");
        let calls = async {
            link.run(&ping).await.unwrap();
            // In the same way as a batch.
            tokio::task::unconstrained(join_all((0..100).map(|_| link.run(&ping)))).await
        };
        let server = async {
            let mut stream = listener.accept().await.unwrap().0;
            let mut together = 0;
            // The connection's setup commands come first.
            while together < 100 {
                together = arrived(&mut stream).await;
                stream.write_all("+PONG\r\n".repeat(together).as_bytes()).await.unwrap();
                assert!(together < 10 || together == 100, "only {together} of 100 commands");
            }
        };
        let (calls, ()) = tokio::join!(calls, server);
        assert!(calls.iter().all(Result::is_ok), "{calls:?}");
    }

    #[test]
    fn no_call_is_kept_back_until_an_earlier_one_is_answered() {
        for url in ["redis://127.0.0.1:6379", "rediss://user:password@redis.example:6380/1"] {
            assert!(single(url).unwrap().get_connection_info().tcp_settings().nodelay(), "{url}");
        }
    }
}
