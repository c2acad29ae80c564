//! A Redis Cluster.

use super::slots::Slot;
use super::{Redis, connect, eventually, free_port};

const SLOTS: usize = 16384;

/// Waits until a server is a replica that has all data of its master. (The master reports it online a little earlier.)
pub async fn follows(replica: &Redis) {
    eventually("the replica follows", || async {
        let info: String = replica.run(&["INFO", "replication"]).await;
        info.contains("role:slave") && info.contains("master_link_status:up")
    })
    .await;
}

/// A slot that moves from one master to another.
pub struct Moving {
    slot: String,
    from: usize,
    to: usize,
}

pub struct Cluster {
    /// The first ones are the initial masters.
    pub servers: Vec<Redis>,
    pub ports: Vec<u16>,
    pub ids: Vec<String>,
    _slot: Slot,
}

impl Cluster {
    /// Starts this many masters, each with a replica if `replicas`.
    pub async fn start(masters: usize, replicas: bool) -> Self {
        let slot = Slot::take().await;
        let (mut servers, mut ports, mut ids, mut buses) = (Vec::new(), Vec::new(), Vec::new(), Vec::new());
        let count = if replicas { 2 * masters } else { masters };
        for _ in 0..count {
            let (port, bus) = (free_port(), free_port());
            let (port_text, bus_text) = (port.to_string(), bus.to_string());
            // A replica whose link broke a while ago can still be promoted.
            let options = ["--port", &port_text, "--cluster-enabled", "yes", "--cluster-port", &bus_text]
                .into_iter()
                .chain(["--cluster-node-timeout", "2000", "--cluster-replica-validity-factor", "0"]);
            let server = Redis::with(&options.collect::<Vec<_>>()).await;
            ids.push(server.run::<String>(&["CLUSTER", "MYID"]).await);
            servers.push(server);
            ports.push(port);
            buses.push(bus_text);
        }
        let share = SLOTS.div_ceil(masters);
        for (number, server) in servers.iter().enumerate() {
            if number < masters {
                let first = share * number;
                let last = (first + share).min(SLOTS) - 1;
                let range = [first.to_string(), last.to_string()];
                server.run::<()>(&["CLUSTER", "ADDSLOTSRANGE", &range[0], &range[1]]).await;
            }
            server.run::<()>(&["CLUSTER", "MEET", "127.0.0.1", &ports[0].to_string(), &buses[0]]).await;
        }
        for server in &servers {
            eventually("the cluster is whole", || async {
                let info: String = server.run(&["CLUSTER", "INFO"]).await;
                info.contains("cluster_state:ok") && info.contains(&format!("cluster_known_nodes:{count}"))
            })
            .await;
        }
        let cluster = Self { servers, ports, ids, _slot: slot };
        for place in masters..count {
            let master = &cluster.ids[place - masters];
            cluster.servers[place].run::<()>(&["CLUSTER", "REPLICATE", master]).await;
            cluster.follows(place).await;
        }
        cluster
    }

    /// Waits until a server is a replica that has all data of its master.
    pub async fn follows(&self, place: usize) {
        follows(&self.servers[place]).await;
    }

    /// Which server currently owns the slot of a key.
    pub async fn serving(&self, key: &str) -> Option<usize> {
        for (place, server) in self.servers.iter().enumerate() {
            let Ok(mut connection) = connect(&server.url()).await else { continue };
            let stamp = redis::cmd("GET").arg(key).query_async::<Option<String>>(&mut connection).await;
            if stamp.is_ok() {
                return Some(place);
            }
        }
        None
    }

    pub async fn owner_of(&self, key: &str) -> usize {
        self.serving(key).await.expect("somebody has the slot")
    }

    /// Begins to move the slot of a key to the next of the masters.
    pub async fn begin_to_move(&self, key: &str, masters: usize) -> Moving {
        let from = self.owner_of(key).await;
        let to = (from + 1) % masters;
        let slot = self.servers[0].run::<u16>(&["CLUSTER", "KEYSLOT", key]).await.to_string();
        self.servers[to].run::<()>(&["CLUSTER", "SETSLOT", &slot, "IMPORTING", &self.ids[from]]).await;
        self.servers[from].run::<()>(&["CLUSTER", "SETSLOT", &slot, "MIGRATING", &self.ids[to]]).await;
        Moving { slot, from, to }
    }

    pub async fn move_keys(&self, moving: &Moving, keys: &[String]) {
        let port = self.ports[moving.to].to_string();
        let mut command = vec!["MIGRATE", "127.0.0.1", &port, "", "0", "5000", "KEYS"];
        command.extend(keys.iter().map(String::as_str));
        self.servers[moving.from].run::<String>(&command).await;
    }

    /// Moves the keys that are left, and gives the slot to its new master. After every few keys, `between` is awaited.
    /// Returns how many keys were left.
    pub async fn end_move(&self, moving: &Moving, between: impl AsyncFn()) -> usize {
        let (source, target) = (&self.servers[moving.from], &self.servers[moving.to]);
        let mut moved = 0;
        loop {
            let keys: Vec<String> = source.run(&["CLUSTER", "GETKEYSINSLOT", &moving.slot, "50"]).await;
            if keys.is_empty() {
                break;
            }
            self.move_keys(moving, &keys).await;
            moved += keys.len();
            between().await;
        }
        for server in [target, source].into_iter().chain(&self.servers) {
            server.run::<()>(&["CLUSTER", "SETSLOT", &moving.slot, "NODE", &self.ids[moving.to]]).await;
        }
        moved
    }

    pub fn url(&self) -> String {
        let hosts: Vec<String> = self.ports.iter().map(|port| format!("127.0.0.1:{port}")).collect();
        format!("redis-cluster://{}", hosts.join(","))
    }
}
