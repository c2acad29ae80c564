//! Apps, keys, secrets and sessions.

mod apps;
mod keys;
mod refused_keys;
mod secrets;
mod sessions;
