//! A Redis Cluster of three masters.

use crate::support::{Redis, eventually, free_port};

const MASTERS: u16 = 3;
const SLOTS: u16 = 16384;

/// The masters, and how nodes find them.
pub async fn start() -> (Vec<Redis>, String) {
    let (mut masters, mut hosts, mut first) = (Vec::new(), Vec::new(), Vec::new());
    for number in 0..MASTERS {
        let (port, bus) = (free_port().to_string(), free_port().to_string());
        let master = Redis::with(&["--port", &port, "--cluster-enabled", "yes", "--cluster-port", &bus]).await;
        let (begin, end) =
            (SLOTS / MASTERS * number, if number + 1 == MASTERS { SLOTS } else { SLOTS / MASTERS * (number + 1) });
        let range = [begin.to_string(), (end - 1).to_string()];
        master.run::<()>(&["CLUSTER", "ADDSLOTSRANGE", &range[0], &range[1]]).await;
        if first.is_empty() {
            first = vec![port.clone(), bus];
        } else {
            master.run::<()>(&["CLUSTER", "MEET", "127.0.0.1", &first[0], &first[1]]).await;
        }
        hosts.push(format!("127.0.0.1:{port}"));
        masters.push(master);
    }
    for master in &masters {
        eventually("the cluster is whole", || async {
            let info: String = master.run(&["CLUSTER", "INFO"]).await;
            info.contains("cluster_state:ok") && info.contains(&format!("cluster_known_nodes:{MASTERS}"))
        })
        .await;
    }
    (masters, format!("redis-cluster://{}", hosts.join(",")))
}
