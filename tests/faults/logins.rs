//! Masters and Sentinels that require different users and passwords, also after a failover.

use quotagate::store::Store;

use crate::outside::is_at_most_acknowledged;
use crate::sentinel::{Group, Guard};
use crate::stage::Stage;
use crate::traffic::Traffic;

const MASTERS: &str = "of-the-master";
const SENTINELS: &str = "of-the-sentinels";

/// The user that the documentation describes for operators, with all permissions of its table.
fn documented_user() -> String {
    let guide = include_str!("../../docs/reference/configuration.md");
    let line = guide.lines().find_map(|line| line.strip_prefix("ACL SETUSER ")).expect("the line to copy");
    format!("{} +select", line.replace("PASSWORD", "secret+"))
}

/// Kills the master under traffic; the last acknowledged calls may be lost, as without passwords.
async fn fails_over(mut group: Group, url: String, database: &str) {
    let stage = Stage::set(url, 2).await;
    let traffic = Traffic::that_may_lose(&stage).await;
    traffic.goes_on(200).await;
    let bound = traffic.bound_on_loss(&group.master).await;
    group.master.kill();
    let bound = bound.by_now(&traffic);
    group.promote().await;
    traffic.goes_on(200).await;
    let book = traffic.stop("the master killed and the replica promoted, behind passwords").await;
    let lost = is_at_most_acknowledged(&format!("{}{database}", group.replica.url()), &stage, &book).await;
    assert!(lost <= bound, "{lost} lost, of {bound} that may be");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_master_and_sentinels_with_different_users_fail_over_in_another_database_too() {
    let user = documented_user();
    let guard = Guard {
        password: Some(MASTERS),
        user: Some(&user),
        sentinel_password: Some(SENTINELS),
        sentinel_user: Some("asks on >a%b&c resetchannels -@all +role +sentinel|masters"),
    };
    let group = Group::guarded(&guard).await;
    let url = group.url_as("quotagate:secret%2B@", "/2?sentinel_username=asks&sentinel_password=a%25b%26c");
    fails_over(group, url, "&db=2").await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_master_with_a_password_behind_sentinels_without_one_fails_over() {
    let group = Group::guarded(&Guard { password: Some(MASTERS), ..Guard::default() }).await;
    let url = group.url_as(&format!(":{MASTERS}@"), "");
    fails_over(group, url, "").await;
}

async fn reported(url: &str) -> Result<(), String> {
    let store = Store::open(url, crate::support::PATIENCE).unwrap();
    store.check_server().await.map(drop).map_err(|error| format!("{error} {error:?}"))
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_rejected_login_is_explained_for_sentinels_and_master_without_passwords() {
    let both = Guard { password: Some(MASTERS), sentinel_password: Some(SENTINELS), ..Guard::default() };
    let group = Group::guarded(&both).await;
    let right = format!("?sentinel_password={SENTINELS}");
    let master = format!(":{MASTERS}@");
    for (login, more) in [
        // As if one password were meant for both servers, and one of them rejects it.
        (master.as_str(), ""),
        (":of-the-sentinels@", ""),
        ("", right.as_str()),
        (&master, "?sentinel_password=of-the-master"),
        (":of-the-sentinels@", &right),
        (":guessed@", &right),
    ] {
        let reported = reported(&group.url_as(login, more)).await.unwrap_err();
        assert!(
            reported.contains("sentinel_username and sentinel_password for the sentinels"),
            "{login} {more}: {reported}"
        );
        assert!(!reported.contains("of-the") && !reported.contains("guessed"), "{reported}");
    }
    assert_eq!(reported(&group.url_as(&master, &right)).await, Ok(()));
    let open = Group::guarded(&Guard { sentinel_password: Some(SENTINELS), ..Guard::default() }).await;
    assert_eq!(reported(&open.url_as("", &right)).await, Ok(()));
}
