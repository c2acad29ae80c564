//! A TCP proxy between gateway and Redis that cuts a connection, or exchanges Redis' data, at a chosen moment.

use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream, UnixStream};

/// Sent after a call whose reply is to be lost: once this is answered, the call has run.
const MARK: &[u8] = b"*2\r\n$4\r\nECHO\r\n$12\r\nthe-call-ran\r\n";
const MARK_ANSWERED: &[u8] = b"the-call-ran";

/// The end of `HGET qg:{<app>}:configuration revision`.
const REVISION_READ: &[u8] = b"$8\r\nrevision\r\n";

/// When to cut a connection that carries a script call.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Cut {
    /// Redis receives nothing of the call.
    Before,
    /// Redis receives half of the call.
    Within,
    /// Redis ran the script, its answer is lost.
    After,
}

pub const CUTS: [Cut; 3] = [Cut::Before, Cut::Within, Cut::After];

#[derive(Default)]
struct Orders {
    open: [AtomicU64; 3],
    done: [AtomicU64; 3],
    exchange: AtomicBool,
}

impl Orders {
    /// Takes the next cut, if any.
    fn take(&self) -> Option<Cut> {
        CUTS.into_iter().find(|cut| {
            let open = &self.open[*cut as usize];
            open.fetch_update(Ordering::SeqCst, Ordering::SeqCst, |orders| orders.checked_sub(1)).is_ok()
        })
    }
}

pub struct Proxy {
    pub url: String,
    orders: Arc<Orders>,
    accepting: tokio::task::JoinHandle<()>,
}

impl Proxy {
    pub async fn start(socket: PathBuf) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let url = format!("redis://{}", listener.local_addr().unwrap());
        let orders = Arc::new(Orders::default());
        let taken = Arc::clone(&orders);
        let accepting = tokio::spawn(async move {
            while let Ok((gateway, _)) = listener.accept().await {
                let (socket, orders) = (socket.clone(), Arc::clone(&taken));
                tokio::spawn(async move {
                    if let Ok(redis) = UnixStream::connect(&socket).await {
                        // Both connections end here.
                        let _ = carry(gateway, redis, &socket, &orders).await;
                    }
                });
            }
        });
        Self { url, orders, accepting }
    }

    /// Cuts the connections of the next script calls, each one separately.
    pub fn cut(&self, how: Cut, calls: u64) {
        self.orders.open[how as usize].fetch_add(calls, Ordering::SeqCst);
    }

    pub fn cuts(&self, how: Cut) -> u64 {
        self.orders.done[how as usize].load(Ordering::SeqCst)
    }

    /// Exchanges databases 0 and 1 when the gateway next reads the revision of a configuration, before Redis answers.
    pub fn exchange_before_a_revision_is_read(&self) {
        self.orders.exchange.store(true, Ordering::SeqCst);
    }

    pub fn has_exchanged(&self) -> bool {
        !self.orders.exchange.load(Ordering::SeqCst)
    }
}

impl Drop for Proxy {
    fn drop(&mut self) {
        self.accepting.abort();
    }
}

async fn carry(gateway: TcpStream, redis: UnixStream, socket: &Path, orders: &Orders) -> std::io::Result<()> {
    let (mut from_gateway, mut to_gateway) = gateway.into_split();
    let (mut from_redis, mut to_redis) = redis.into_split();
    let (mut asked, mut reported) = (vec![0; 64 * 1024], vec![0; 64 * 1024]);
    let mut lose_answers = false;
    loop {
        tokio::select! {
            read = from_gateway.read(&mut asked), if !lose_answers => {
                let piece = &asked[..read?];
                if piece.is_empty() {
                    return Ok(());
                }
                if contains(piece, REVISION_READ) && orders.exchange.load(Ordering::SeqCst) {
                    exchange(socket).await?;
                    orders.exchange.store(false, Ordering::SeqCst);
                }
                let is_call = contains(piece, b"FCALL");
                let cut = if is_call { orders.take() } else { None };
                match cut {
                    None => to_redis.write_all(piece).await?,
                    Some(Cut::Before) => {}
                    Some(Cut::Within) => to_redis.write_all(&piece[..piece.len() / 2]).await?,
                    Some(Cut::After) => {
                        to_redis.write_all(piece).await?;
                        to_redis.write_all(MARK).await?;
                        lose_answers = true;
                    }
                }
                if let Some(cut) = cut.filter(|cut| *cut != Cut::After) {
                    orders.done[cut as usize].fetch_add(1, Ordering::SeqCst);
                    return Ok(());
                }
            }
            read = from_redis.read(&mut reported) => {
                let piece = &reported[..read?];
                if piece.is_empty() {
                    return Ok(());
                }
                if !lose_answers {
                    to_gateway.write_all(piece).await?;
                } else if contains(piece, MARK_ANSWERED) {
                    orders.done[Cut::After as usize].fetch_add(1, Ordering::SeqCst);
                    return Ok(());
                }
            }
        }
    }
}

async fn exchange(socket: &Path) -> std::io::Result<()> {
    let mut redis = UnixStream::connect(socket).await?;
    redis.write_all(b"SWAPDB 0 1\r\n").await?;
    redis.read_exact(&mut [0; 5]).await.map(drop)
}

fn contains(piece: &[u8], word: &[u8]) -> bool {
    piece.windows(word.len()).any(|part| part == word)
}
