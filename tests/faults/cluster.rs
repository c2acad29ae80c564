//! A Redis Cluster of three masters, with the slot of all counters moved from one to another under load.

use std::sync::atomic::Ordering;

use crate::outside::is_as_told;
use crate::stage::Stage;
use crate::support::{Redis, eventually, free_port};
use crate::traffic::Traffic;

const MASTERS: usize = 3;
/// A key of the app's one slot.
const A_KEY: &str = "qg:{default:live}:stamp";
const SLOTS: u16 = 16384;

struct Cluster {
    masters: Vec<Redis>,
    ports: Vec<u16>,
    ids: Vec<String>,
}

impl Cluster {
    async fn start() -> Self {
        let (mut masters, mut ports, mut ids, mut buses) = (Vec::new(), Vec::new(), Vec::new(), Vec::new());
        for _ in 0..MASTERS {
            let (port, bus) = (free_port(), free_port());
            let (port_text, bus_text) = (port.to_string(), bus.to_string());
            let options = ["--port", &port_text, "--cluster-enabled", "yes", "--cluster-port", &bus_text];
            let master = Redis::with(&options).await;
            ids.push(master.run::<String>(&["CLUSTER", "MYID"]).await);
            masters.push(master);
            ports.push(port);
            buses.push(bus_text);
        }
        let share = SLOTS / MASTERS as u16 + 1;
        for (number, master) in masters.iter().enumerate() {
            let first = share * number as u16;
            let last = (first + share - 1).min(SLOTS - 1);
            let range = [first.to_string(), last.to_string()];
            master.run::<()>(&["CLUSTER", "ADDSLOTSRANGE", &range[0], &range[1]]).await;
            master.run::<()>(&["CLUSTER", "MEET", "127.0.0.1", &ports[0].to_string(), &buses[0]]).await;
        }
        for master in &masters {
            eventually("the cluster is whole", || async {
                let info: String = master.run(&["CLUSTER", "INFO"]).await;
                info.contains("cluster_state:ok") && info.contains(&format!("cluster_known_nodes:{MASTERS}"))
            })
            .await;
        }
        Self { masters, ports, ids }
    }

    fn url(&self) -> String {
        let hosts: Vec<String> = self.ports.iter().map(|port| format!("127.0.0.1:{port}")).collect();
        format!("redis-cluster://{}", hosts.join(","))
    }

    async fn slot(&self) -> String {
        self.masters[0].run::<u16>(&["CLUSTER", "KEYSLOT", A_KEY]).await.to_string()
    }

    /// Which master has the slot.
    async fn owner(&self, slot: &str) -> usize {
        for (place, master) in self.masters.iter().enumerate() {
            let stamp: redis::RedisResult<Option<String>> =
                redis::cmd("GET").arg(A_KEY).query_async(&mut master.connect().await).await;
            if stamp.is_ok() {
                return place;
            }
        }
        panic!("nobody has slot {slot}");
    }

    /// Moves the slot, key by key; `between` is awaited after each few keys.
    async fn migrate(&self, slot: &str, to: usize, between: impl AsyncFn()) -> usize {
        let from = self.owner(slot).await;
        let (source, target) = (&self.masters[from], &self.masters[to]);
        target.run::<()>(&["CLUSTER", "SETSLOT", slot, "IMPORTING", &self.ids[from]]).await;
        source.run::<()>(&["CLUSTER", "SETSLOT", slot, "MIGRATING", &self.ids[to]]).await;
        let (port, mut moved) = (self.ports[to].to_string(), 0);
        loop {
            let keys: Vec<String> = source.run(&["CLUSTER", "GETKEYSINSLOT", slot, "50"]).await;
            if keys.is_empty() {
                break;
            }
            let mut command = vec!["MIGRATE", "127.0.0.1", &port, "", "0", "5000", "KEYS"];
            command.extend(keys.iter().map(String::as_str));
            source.run::<String>(&command).await;
            moved += keys.len();
            between().await;
        }
        for master in [target, source].into_iter().chain(&self.masters) {
            master.run::<()>(&["CLUSTER", "SETSLOT", slot, "NODE", &self.ids[to]]).await;
        }
        moved
    }
}

async fn migrated(times: usize) {
    let cluster = Cluster::start().await;
    let stage = Stage::set(cluster.url(), 2).await;
    let slot = cluster.slot().await;
    let traffic = Traffic::start(&stage).await;
    let mut moved = 0;
    for _ in 0..times {
        let to = (cluster.owner(&slot).await + 1) % MASTERS;
        let told = || {
            let seen = traffic.seen();
            seen.answered.load(Ordering::Relaxed) + seen.unavailable.load(Ordering::Relaxed)
        };
        // While its keys lie on two masters a call may find that it cannot be made: its caller repeats it.
        moved += cluster
            .migrate(&slot, to, async || {
                let wanted = told() + 2;
                traffic.until("callers are told something", || told() >= wanted).await;
            })
            .await;
        traffic.goes_on(100).await;
    }
    assert!(moved > 0);
    let book = traffic.stop(&format!("the slot moved {times} times with {moved} keys in all")).await;
    let owner = cluster.owner(&slot).await;
    is_as_told(&cluster.masters[owner], &stage, &book).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_slot_migrated_in_mid_traffic_loses_and_doubles_nothing() {
    migrated(2).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
#[ignore = "long: make chaos"]
async fn long_a_slot_migrated_30_times_loses_and_doubles_nothing() {
    migrated(30).await;
}
