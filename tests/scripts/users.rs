//! Changes of a user, and how its counters change with the plan, tested at the scripts.

use quotagate::domain::access::audit::AuditEntry;
use quotagate::domain::accounts::subscription::Subscription;
use quotagate::domain::configuration::limit_group::OnPlanChange;
use quotagate::domain::configuration::scope::OwnerName;
use quotagate::domain::time::window::Window;
use quotagate::domain::values::amount::Amount;
use quotagate::domain::values::ids::{GroupId, PlanId, UserId};
use quotagate::store::accounts::change_user::{ChangeUserArgs, ChangeUserReply, MovedGroup, Reset, UserChange};
use quotagate::store::accounts::grants::{GrantArgs, GrantReply, RevokeArgs, RevokeReply};
use quotagate::store::client::library::WhenFull;
use quotagate::store::metering::admission::{OwnedGroup, Owner, Stale, UserExpiry};
use quotagate::store::metering::operation::Operation;
use quotagate::store::metering::reserve::ReserveReply;

use crate::table::{BELIEF, Belief, DAY_1, DAY_2, IN_FLIGHT, MOST, NOON, Table, harmless, keyed, ms, settled};

fn user() -> UserId {
    UserId::parse("u").unwrap()
}

async fn change(
    table: &Table,
    operation: &Operation,
    version: &str,
    write: bool,
    reset: Reset<'_>,
    moved: &[MovedGroup],
) -> ChangeUserReply {
    let subscription = Subscription {
        plan: PlanId::parse("pro").unwrap(),
        started_at_ms: ms(NOON),
        cycle_start_ms: Some(ms(NOON)),
        ends_at_ms: None,
        custom_limits: None,
    };
    let audit_entry = AuditEntry::default();
    let args = ChangeUserArgs {
        bucket: &table.bucket,
        operation,
        facts: table.facts(&Belief { version, ..BELIEF }),
        user: &user(),
        when_full: WhenFull::Refused,
        change: if write { UserChange::Subscription(&subscription) } else { UserChange::Nothing },
        reset,
        moved,
        event: None,
        audit_entry: write.then_some(&audit_entry),
        answer: "{\"told\":1}",
    };
    table.store.change_user(args).await.unwrap()
}

fn moved(id: &str, window: &str, action: OnPlanChange, quota: u64) -> MovedGroup {
    MovedGroup {
        id: GroupId::parse(id).unwrap(),
        window: Window::parse(window).unwrap(),
        action,
        quota: Some(Amount::from_steps(quota).unwrap()),
        rollover: None,
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn change_user_answers_in_order_and_versions_never_restart() {
    let table = Table::new().await;
    let write = async |version: &str| match change(&table, &harmless(), version, true, Reset::Nothing, &[]).await {
        ChangeUserReply::Changed { version, .. } => version,
        other => panic!("{other:?}"),
    };
    let first = write("0").await;
    match change(&table, &harmless(), "0", true, Reset::Nothing, &[]).await {
        ChangeUserReply::Stale(Stale::User(truth), _) => {
            assert_eq!(truth.version, first);
            assert_eq!(truth.subscription.unwrap().plan.as_str(), "pro");
        }
        other => panic!("{other:?}"),
    }
    let second = write(&first).await;
    assert!(second.parse::<u64>().unwrap() > first.parse::<u64>().unwrap());
    // After a failover to a server whose clock is behind, the next version is still a new one.
    let counters = table.owner("u", &[]).keys.account;
    table.redis.run::<()>(&["HSET", &counters, ".account", "v9000000000000000 expiry=0 ttl=0"]).await;
    assert_eq!(write("9000000000000000").await, "9000000000000001");
    let kept = keyed("s", "x");
    let reply = change(&table, &kept, "9000000000000001", false, Reset::Nothing, &[]).await;
    assert!(matches!(reply, ChangeUserReply::Changed { .. }));
    let reply = change(&table, &kept, "?", true, Reset::Nothing, &[]).await;
    assert!(matches!(reply, ChangeUserReply::Before(reported) if reported == "{\"told\":1}"));
    let reply = change(&table, &keyed("s", "y"), "?", true, Reset::Nothing, &[]).await;
    assert!(matches!(reply, ChangeUserReply::Reused));
    assert_eq!(table.counters().await["version"], "9000000000000001");
    let log = table.store.audit_entries(&table.bucket.audit(), None, 10).await.unwrap();
    assert_eq!(log.len(), 3, "one entry for each change, none for a repetition or a refusal");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_reset_raises_serials_but_leaves_work_in_flight() {
    for reset in [Reset::All, Reset::Group(&GroupId::parse("g").unwrap())] {
        let table = Table::new().await;
        let id = table.hold(&[("g", DAY_1, 3, 10), ("f", IN_FLIGHT, 1, 10), ("h", DAY_1, 1, 10)]).await;
        let done = table.hold(&[("g", DAY_1, 4, 10), ("h", DAY_1, 4, 10)]).await;
        table.commit(&done).await;
        let reply = change(&table, &harmless(), "0", true, reset, &[]).await;
        assert!(matches!(reply, ChangeUserReply::Changed { .. }));
        let counters = table.counters().await;
        assert_eq!((&*counters["g.seq"], counters["g.window"].clone()), ("2", format!("- {DAY_1}")));
        assert_eq!((&*counters["f.seq"], counters["f.window"].clone()), ("c1", format!("- {IN_FLIGHT}")));
        assert_eq!((&*counters["g.used"], &*counters["g.held"], &*counters["f.held"]), ("0", "0", "1"));
        assert_eq!(counters["h.used"], if reset == Reset::All { "0" } else { "4" });
        assert_eq!(settled(table.commit(&id).await).status, "committed");
        let counters = table.counters().await;
        assert_eq!((&*counters["g.used"], &*counters["g.held"], &*counters["f.held"]), ("0", "0", "0"));
        assert!(table.past().await["g.1"].starts_with(&format!("7 - {DAY_1} ")), "it settles where it was held");
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_user_with_thousands_of_groups_is_reset_without_blocking_redis() {
    let table = Table::new().await;
    let counters = table.owner("u", &[]).keys.account;
    let fill = "for i = 1, 4000 do
        redis.call('HSET', KEYS[1], 'g' .. i, '7+0/- ' .. ARGV[1] .. '#1')
    end";
    table.redis.run::<()>(&["EVAL", fill, "1", &counters, DAY_1]).await;
    let groups = [moved("g1", "monthly/20270115/20270215", OnPlanChange::Block, 20)];
    let reply = change(&table, &harmless(), "0", true, Reset::All, &groups).await;
    assert!(matches!(reply, ChangeUserReply::Changed { .. }), "{reply:?}");
    let counters = table.counters().await;
    assert!((1..=4000).all(|number| counters[&format!("g{number}.used")] == "0"));
    assert!(counters["g1.seq"] == "2" && !counters.contains_key("g1.blocked"), "{}", counters["g1.window"]);
}

/// The state of a counter with 4 used and 3 held of 10 after its user moves: window, used, held, blocked.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn counters_come_over_to_another_plan() {
    const MONTH: &str = "monthly/20270115/20270215";
    use OnPlanChange::{Block, Carry, Reset as Anew};
    for (stored, at, to, action, quota, expected) in [
        (Some(DAY_1), NOON, DAY_1, Carry, 20, ("1", DAY_1, "4", "3", None)),
        (Some(DAY_1), NOON, MONTH, Carry, 20, ("1", MONTH, "4", "3", None)),
        (Some(DAY_1), NOON, DAY_1, Anew, 20, ("2", DAY_1, "0", "0", None)),
        (Some(DAY_1), NOON, MONTH, Anew, 20, ("2", MONTH, "0", "0", None)),
        (Some(DAY_1), NOON, DAY_1, Block, 20, ("1", DAY_1, "4", "3", Some("1 16"))),
        (Some(DAY_1), NOON, MONTH, Block, 3, ("1", MONTH, "4", "3", Some("1 0"))),
        // The stored window has ended: nothing of it is in the current one.
        (Some(DAY_1), "2027-02-01T12:00:00Z", DAY_2, Carry, 20, ("2", DAY_2, "0", "0", None)),
        (Some(DAY_1), "2027-02-01T12:00:00Z", MONTH, Carry, 20, ("2", MONTH, "0", "0", None)),
        (Some(DAY_1), "2027-02-01T12:00:00Z", MONTH, Block, 20, ("2", MONTH, "0", "0", Some("2 20"))),
        (Some(DAY_1), "2027-02-01T12:00:00Z", DAY_2, Block, 20, ("2", DAY_2, "0", "0", Some("2 20"))),
        (None, NOON, DAY_1, Block, 20, ("1", DAY_1, "0", "0", Some("1 20"))),
    ] {
        let table = Table::new().await;
        if let Some(window) = stored {
            let done = table.hold(&[("g", window, 4, 10)]).await;
            table.commit(&done).await;
            table.hold_for(24 * 3_600_000, &[("g", window, 3, 10)]).await;
        }
        table.at(at).await;
        let moved = [moved("g", to, action, quota)];
        let reply = change(&table, &harmless(), "0", true, Reset::Nothing, &moved).await;
        assert!(matches!(reply, ChangeUserReply::Changed { .. }), "{reply:?}");
        let counters = table.counters().await;
        let (window_seq, window, used, held, blocked) = expected;
        let reported = format!("{action:?} of {stored:?} at {at} to {to}: {counters:?}");
        assert_eq!(
            (&*counters["g.seq"], &*counters["g.window"]),
            (window_seq, format!("{quota} {window}").as_str()),
            "{reported}"
        );
        assert_eq!((&*counters["g.used"], &*counters["g.held"]), (used, held), "{reported}");
        assert_eq!(counters.get("g.blocked").map(String::as_str), blocked, "{reported}");
        let past = table.past().await;
        assert_eq!(
            past.get("g.1").is_some_and(|past| past.starts_with("4 ")),
            window_seq == "2",
            "{reported}: {past:?}"
        );
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn nothing_is_written_for_an_unused_or_a_concurrent_counter() {
    let table = Table::new().await;
    table.hold(&[("f", IN_FLIGHT, 1, 10)]).await;
    let groups = [
        moved("new", DAY_1, OnPlanChange::Carry, 5),
        moved("fresh", DAY_1, OnPlanChange::Reset, 5),
        moved("f", IN_FLIGHT, OnPlanChange::Block, 5),
    ];
    change(&table, &harmless(), "0", true, Reset::Nothing, &groups).await;
    let counters = table.counters().await;
    assert!(!counters.keys().any(|field| field.starts_with("new.") || field.starts_with("fresh.")), "{counters:?}");
    assert_eq!((counters["f.held"].as_str(), counters.get("f.blocked")), ("1", None));
}

async fn grant(table: &Table, id: &str, amount: u64, ends_at: Option<&str>) -> GrantReply {
    let group = OwnedGroup {
        id: GroupId::parse("g").unwrap(),
        window: Window::parse(DAY_1).unwrap(),
        amount: Amount::ZERO,
        limit: Amount::from_steps(MOST).unwrap(),
        quota: None,
        rollover: None,
        watch: None,
        observes: false,
        is_hard: true,
        balance: None,
    };
    let owner = Owner { keys: table.owner("u", &[]).keys, renew: None, groups: vec![group.clone()] };
    let version = table.counters().await.get("version").cloned().unwrap_or_else(|| "0".to_owned());
    let args = GrantArgs {
        bucket: &table.bucket,
        operation: &harmless(),
        facts: table.facts(&Belief { version: &version, ..BELIEF }),
        owner: &owner,
        user: Some(&user()),
        group_id: &group.id,
        grant: id,
        amount: Amount::from_steps(amount).unwrap(),
        ends_at_ms: ends_at.map(ms),
        expected_end_ms: Some(ends_at.map_or(ms("2027-02-01T00:00:00Z"), ms)),
        about: id,
        audit_entry: &AuditEntry::default(),
        approval: None,
        answer: id,
    };
    table.store.grant(args).await.unwrap()
}

/// Reserves with the user's current version; returns whether it is allowed.
async fn fits(table: &Table, window: &str, amount: u64, limit: u64) -> bool {
    let version = table.counters().await.get("version").cloned().unwrap_or_else(|| "0".to_owned());
    let owner = [table.owner("u", &[("g", window, amount, limit)])];
    match table.reserve_as(&harmless(), Belief { version: &version, ..BELIEF }, 60_000, &owner).await {
        ReserveReply::Held { .. } => true,
        ReserveReply::Denied(..) => false,
        other => panic!("{other:?}"),
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn grants_make_room_until_their_window_or_their_time_ends() {
    let table = Table::new().await;
    assert!(!fits(&table, DAY_1, 1, 0).await);
    assert!(matches!(grant(&table, "a", 3, None).await, GrantReply::Granted(_)));
    assert!(matches!(grant(&table, "b", 2, Some("2027-02-02T00:00:00Z")).await, GrantReply::Granted(_)));
    assert!(!fits(&table, DAY_1, 6, 0).await);
    assert!(fits(&table, DAY_1, 5, 0).await, "a quota of 0 with grants has room");
    assert!(!fits(&table, DAY_1, 1, 0).await);
    // The next day only the grant with its own expiry is left, with its whole amount.
    table.at("2027-02-01T12:00:00Z").await;
    assert!(!fits(&table, DAY_2, 3, 0).await);
    assert!(fits(&table, DAY_2, 2, 0).await);
    table.at("2027-02-02T00:00:00Z").await;
    assert!(!fits(&table, "daily/20270202/20270203", 1, 0).await, "its end is exclusive");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_counter_has_at_most_eight_live_grants_within_what_it_can_hold() {
    let table = Table::new().await;
    for number in 0..8 {
        let ends_at = if number == 0 { "2027-01-31T13:00:00Z" } else { "2027-02-05T00:00:00Z" };
        assert!(matches!(grant(&table, &format!("g{number}"), 1, Some(ends_at)).await, GrantReply::Granted(_)));
    }
    assert!(matches!(grant(&table, "more", 1, None).await, GrantReply::Full));
    table.at("2027-01-31T13:00:00Z").await;
    assert!(matches!(grant(&table, "huge", MOST, None).await, GrantReply::Overflow));
    assert!(matches!(grant(&table, "more", 1, None).await, GrantReply::Granted(_)), "one of them has ended");
    let known: Vec<String> = table.redis.run(&["HKEYS", &table.bucket.grants()]).await;
    assert_eq!(known.len(), 8, "what is known of the one that has ended is gone: {known:?}");
    let group = GroupId::parse("g").unwrap();
    let revoke = async |id: &str| {
        let (owner, operation, audit_entry) = (OwnerName::of_user(&user()), harmless(), AuditEntry::default());
        let args =
            RevokeArgs { owner: &owner, group: &group, grant: id, operation: &operation, audit_entry: &audit_entry };
        table.store.revoke(&table.bucket, args).await.unwrap() == RevokeReply::Revoked
    };
    assert!(fits(&table, DAY_1, 8, 0).await);
    assert!(revoke("more").await);
    assert!(!revoke("more").await);
    assert!(!fits(&table, DAY_1, 1, 0).await);
    table.at("2027-02-05T00:00:00Z").await;
    assert!(!revoke("g1").await, "it has ended, and is not removed yet");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn data_of_users_who_never_subscribed_expire_after_the_last_window() {
    let table = Table::new().await;
    let reserve = async |name: &str, group: (&str, &str, u64, u64), at_ms: Option<i64>| {
        let user = UserId::parse(name).unwrap();
        let belief = Belief { forget: Some(UserExpiry { user: &user, at_ms }), ..BELIEF };
        table.reserve_as(&harmless(), belief, 60_000, &[table.owner(name, &[group])]).await
    };
    let ttl = async |key: String| table.redis.run::<i64>(&["PTTL", &key]).await;
    let names = async |key: String| table.redis.run::<Vec<String>>(&["ZRANGE", &key, "0", "-1"]).await;
    let keys = table.owner("u", &[]).keys;
    const WEEK_MS: i64 = 7 * 24 * 3_600_000;

    assert!(matches!(reserve("u", ("g", DAY_1, 11, 10), Some(ms(NOON))).await, ReserveReply::Denied(..)));
    assert_eq!(table.redis.run::<i64>(&["EXISTS", &keys.account]).await, 0, "a denial costs no memory");
    assert_eq!(names(table.bucket.users()).await, Vec::<String>::new());

    let far = ms(NOON) + 30 * 24 * 3_600_000;
    reserve("u", ("g", DAY_1, 1, 10), Some(far)).await;
    reserve("u", ("h", DAY_1, 1, 10), Some(ms(NOON) + 60_000)).await;
    for key in [&keys.account, &keys.holds()] {
        assert!(ttl(key.clone()).await > 29 * 24 * 3_600_000, "a shorter window does not shorten it");
    }
    assert_eq!(names(table.bucket.users()).await, ["u"]);
    assert_eq!(names(table.bucket.leaving()).await, ["u"]);
    // A sandbox keeps everything for seven days of real time.
    reserve("v", ("g", DAY_1, 1, 10), Some(ms(NOON) + 60_000)).await;
    assert!((WEEK_MS - 60_000..=WEEK_MS).contains(&ttl(table.owner("v", &[]).keys.account).await));

    // An expired name is removed from the index when the next one is added.
    table.redis.run::<()>(&["ZADD", &table.bucket.leaving(), "1000", "v"]).await;
    reserve("w", ("g", DAY_1, 1, 10), None).await;
    assert_eq!(names(table.bucket.users()).await, ["u", "w"]);
    assert_eq!(names(table.bucket.leaving()).await, ["u"]);
    assert_eq!(ttl(table.owner("w", &[]).keys.account).await, -1, "a lifetime counter stays");

    // A subscription keeps the user permanently.
    change(&table, &harmless(), "0", true, Reset::Nothing, &[]).await;
    for key in [keys.holds(), keys.account] {
        assert_eq!(ttl(key).await, -1);
    }
    assert_eq!(names(table.bucket.leaving()).await, Vec::<String>::new());
}
