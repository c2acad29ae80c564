//! Connections that serve one call at a time, for calls that would delay others on a shared connection: those that wait
//! for replicas, the pages of scans, and transactions. They are a `deadpool` pool of [`Link`]s, because the managers of
//! deadpool-redis take no time limits for Sentinel and Cluster, keep a master that became a replica, and send a PING
//! before each call.

use std::time::Duration;

use deadpool::managed::{Manager, Metrics, Object, Pool, PoolError, RecycleError, RecycleResult};
use redis::{Cmd, ErrorKind, Pipeline, RedisError, RedisResult, Value};

use super::connection::Link;

/// The pool. Connections are created when they are first needed.
pub struct Exclusive(Pool<Connector>);

struct Connector {
    url: String,
    timeout: Duration,
}

/// A connection of the pool.
struct Connection {
    link: Link,
    /// A call has begun and not ended. If it was dropped, the connection still waits for its answer; if its transaction
    /// failed, it may still be open.
    busy: bool,
}

impl Manager for Connector {
    type Type = Connection;
    type Error = RedisError;

    async fn create(&self) -> RedisResult<Connection> {
        Ok(Connection { link: Link::open(&self.url, self.timeout)?, busy: false })
    }

    async fn recycle(&self, connection: &mut Connection, _: &Metrics) -> RecycleResult<RedisError> {
        if connection.busy {
            return Err(RecycleError::message("its last call did not end"));
        }
        Ok(())
    }
}

impl Exclusive {
    /// At most `size` calls run at once; further ones wait for a connection, within the caller's time limit.
    ///
    /// # Errors
    /// An invalid URL. An unreachable server is only noticed later.
    pub fn open(url: &str, timeout: Duration, size: usize) -> RedisResult<Self> {
        Link::open(url, timeout)?;
        let pool = Pool::builder(Connector { url: url.to_owned(), timeout }).max_size(size).build();
        pool.map(Self).map_err(|error| (ErrorKind::Client, "connection pool", error.to_string()).into())
    }

    /// Runs a command.
    pub async fn run(&self, command: &Cmd) -> RedisResult<Value> {
        self.with(async |link| link.run(command).await).await
    }

    /// Runs a command without a key; in a cluster, on the master of `key`.
    pub async fn run_at(&self, key: &str, command: &Cmd) -> RedisResult<Value> {
        self.with(async |link| link.run_at(key, command).await).await
    }

    /// Runs a command without a key on one of [`Link::masters`].
    pub async fn run_on(&self, master: Option<u16>, command: &Cmd) -> RedisResult<Value> {
        self.with(async |link| link.run_on(master, command).await).await
    }

    /// Runs commands together; in a cluster, on the master of `key`. An answer may be an error of the server.
    pub async fn run_all(&self, key: &str, commands: &Pipeline) -> RedisResult<Vec<Value>> {
        self.with(async |link| link.run_all(key, commands).await).await
    }

    /// Runs commands from `MULTI` to `EXEC`; in a cluster, on the master of `key`. They are not repeated if the
    /// connection breaks: another Redis may be in its place.
    pub async fn run_transaction(&self, key: &str, commands: &Pipeline) -> RedisResult<Vec<Value>> {
        let mut empty = Pipeline::new();
        empty.cmd("MULTI").cmd("EXEC");
        let mut connection = self.connection().await?;
        // For a user without this permission, Redis would run the commands one by one.
        let answers = connection.link.run_all(key, &empty).await?;
        // Without the permission for EXEC, the transaction is still open.
        connection.busy = !matches!(answers.first(), Some(Value::ServerError(_)));
        executed(answers)?;
        let answers = connection.link.run_all_once(key, commands).await;
        connection.busy = false;
        executed(answers?)
    }

    async fn with<T>(&self, call: impl AsyncFnOnce(&Link) -> RedisResult<T>) -> RedisResult<T> {
        let mut connection = self.connection().await?;
        let answer = call(&connection.link).await;
        connection.busy = false;
        answer
    }

    /// A connection that is not used again until `busy` is reset.
    async fn connection(&self) -> RedisResult<Object<Connector>> {
        let mut connection = self.0.get().await.map_err(|error| match error {
            PoolError::Backend(error) => error,
            other => (ErrorKind::Client, "connection pool", other.to_string()).into(),
        })?;
        connection.busy = true;
        Ok(connection)
    }
}

/// What the commands of a transaction answered, according to all its answers.
fn executed(answers: Vec<Value>) -> RedisResult<Vec<Value>> {
    let mut answers = answers.into_iter().map(Value::extract_error).collect::<RedisResult<Vec<Value>>>()?;
    match answers.pop() {
        Some(Value::Array(answers)) => Ok(answers),
        other => Err((ErrorKind::UnexpectedReturnType, "EXEC", format!("{other:?}")).into()),
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;
    use std::sync::atomic::{AtomicUsize, Ordering};

    use futures::future::join_all;
    use tokio::io::{AsyncReadExt, AsyncWriteExt};
    use tokio::net::{TcpListener, TcpStream};
    use tokio::sync::Barrier;

    use super::*;

    const PATIENCE: Duration = Duration::from_secs(60);

    async fn listener() -> (TcpListener, String) {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let url = format!("redis://{}", listener.local_addr().unwrap());
        (listener, url)
    }

    /// Returns at the first PING, after the commands that set up a connection.
    async fn until_ping(stream: &mut TcpStream) {
        let mut text = String::new();
        while !text.contains("PING") {
            let mut bytes = Vec::new();
            assert!(stream.read_buf(&mut bytes).await.unwrap() > 0, "the connection ended");
            let more = String::from_utf8(bytes).unwrap();
            stream.write_all("+OK\r\n".repeat(more.matches("CLIENT").count()).as_bytes()).await.unwrap();
            text.push_str(&more);
        }
    }

    #[tokio::test]
    async fn calls_at_the_same_time_have_a_connection_each_and_later_ones_wait() {
        let (listener, url) = listener().await;
        let pool = Exclusive::open(&url, PATIENCE, 2).unwrap();
        let (connections, both) = (Arc::new(AtomicUsize::new(0)), Arc::new(Barrier::new(2)));
        let server = {
            let (connections, both) = (Arc::clone(&connections), Arc::clone(&both));
            tokio::spawn(async move {
                loop {
                    let (mut stream, _) = listener.accept().await.unwrap();
                    connections.fetch_add(1, Ordering::Relaxed);
                    let both = Arc::clone(&both);
                    tokio::spawn(async move {
                        loop {
                            until_ping(&mut stream).await;
                            // Each answer waits until both connections have a call.
                            both.wait().await;
                            stream.write_all(b"+PONG\r\n").await.unwrap();
                        }
                    });
                }
            })
        };
        let ping = redis::cmd("PING");

        let answers = join_all((0..8).map(|_| pool.run(&ping))).await;

        assert!(answers.iter().all(Result::is_ok), "{answers:?}");
        assert_eq!(connections.load(Ordering::Relaxed), 2);
        server.abort();
    }

    #[tokio::test]
    async fn a_connection_whose_call_was_dropped_serves_no_other() {
        let (listener, url) = listener().await;
        let pool = Exclusive::open(&url, PATIENCE, 1).unwrap();
        let ping = redis::cmd("PING");
        let mut silent = tokio::select! {
            answer = pool.run(&ping) => panic!("{answer:?}"),
            stream = async {
                let mut stream = listener.accept().await.unwrap().0;
                until_ping(&mut stream).await;
                stream
            } => stream,
        };

        let server = async {
            let mut stream = listener.accept().await.unwrap().0;
            until_ping(&mut stream).await;
            stream.write_all(b"+PONG\r\n").await.unwrap();
            stream
        };
        let second = async { tokio::join!(pool.run(&ping), server) };
        let (answer, _stream) = tokio::time::timeout(PATIENCE, second).await.expect("a second connection");

        assert_eq!(answer, Ok(Value::SimpleString("PONG".to_owned())));
        let mut rest = Vec::new();
        silent.read_to_end(&mut rest).await.unwrap();
        assert_eq!(rest, b"", "the first connection got no further call and was closed");
    }

    #[test]
    fn an_invalid_url_is_reported_at_once() {
        assert!(Exclusive::open("redis-sentinel://", PATIENCE, 1).is_err());
        assert!(Exclusive::open("http://127.0.0.1", PATIENCE, 1).is_err());
    }
}
