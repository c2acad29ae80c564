//! What the log says about refused keys.

use std::fs::read_to_string;

use crate::gateway::{ADMIN_KEY, Process};
use crate::support::folder;

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_log_reports_a_guessing_address_once_and_never_its_guesses() {
    let dir = folder();
    let log = dir.path().join("log");
    let settings = [("QUOTAGATE_ADMIN_KEY", ADMIN_KEY), ("QUOTAGATE_LOG", "debug")];
    let gateway = Process::start_with(dir.path(), &settings, &log);
    let (client, url) = (crate::support::http().build().unwrap(), format!("{}/api/v1/plans", gateway.url));
    let guesses = ["sk_live_guess_one", "ak_guess_two", "guess_three"];
    for key in guesses {
        let answer = client.get(&url).bearer_auth(key).send().await.unwrap();
        assert_eq!(answer.status(), 401);
    }
    assert_eq!(gateway.terminate().code(), Some(0));
    let printed = read_to_string(log).unwrap();
    let warnings: Vec<&str> = printed.lines().filter(|line| line.contains("an invalid key was refused")).collect();
    // Two, if a minute ended in between.
    assert!((1..=2).contains(&warnings.len()), "{warnings:?}");
    assert!(warnings[0].contains("WARN") && warnings[0].contains("127.0.0.1"), "{warnings:?}");
    assert!(guesses.iter().all(|key| !printed.contains(key)), "{printed}");
}
