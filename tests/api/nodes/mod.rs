//! Several nodes, their background tasks, and Redis Cluster.

mod background_tasks;
mod cluster;
mod registry;
