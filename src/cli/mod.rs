//! The subcommands of `quotagate`. Each reads its arguments, calls the service or a running gateway, and prints.

pub mod apply;
pub mod config_file;
pub mod direct;
pub mod export;
pub mod inspect;
pub mod migrate;
pub mod operations;
pub mod pages;
pub mod print;
pub mod remote;
pub mod rollup;
pub mod trace;
pub mod verify;
pub mod whatif;
pub mod yaml;
