//! Every status of every script, in order of precedence: each row corrects one fault of the previous row.

use std::collections::BTreeMap;

use quotagate::domain::access::audit::AuditEntry;
use quotagate::domain::metering::reservation::ReservationId;
use quotagate::domain::values::ids::{AppId, PlanId};
use quotagate::store::access::register::{RegisterArgs, RegisterChange, RegisterReply};
use quotagate::store::configuration::configure::{ConfigureArgs, ConfigureReply};
use quotagate::store::configuration::test_clock::SetClockReply;
use quotagate::store::keys::{self, Register, Versioned, configuration_audit};
use quotagate::store::metering::admission::{Stale, UNKNOWN_VERSION};
use quotagate::store::metering::extend::ExtendReply;
use quotagate::store::metering::operation::Operation;
use quotagate::store::metering::reserve::ReserveReply;
use quotagate::store::metering::settle::SettleReply;
use quotagate::store::metering::track::TrackReply;
use quotagate::store::metering::usage::UsageReply;

use crate::table::{
    ALL, BELIEF, Belief, DAY_1, DAY_2, FOR_EVER, How, MOST, NOON, Table, counted, harmless, keyed, ms, tally,
};

fn stale_word(stale: &Stale) -> &'static str {
    match stale {
        Stale::Configuration { .. } => "stale_configuration",
        Stale::Stamp => "stale_stamp",
        Stale::User(_) => "stale_user",
        Stale::Time => "stale_time",
    }
}

fn reserve_word(reply: &ReserveReply) -> &'static str {
    match reply {
        ReserveReply::Reused => "reused",
        ReserveReply::Stale(stale, _) => stale_word(stale),
        ReserveReply::Again(_) => "again",
        ReserveReply::Denied(..) => "denied",
        ReserveReply::Held { .. } => "held",
        ReserveReply::Unmetered(..) => "unmetered",
        ReserveReply::Degraded(..) => "degraded",
        ReserveReply::HeldBefore(_) => "held before",
        ReserveReply::Before(_) => "before",
    }
}

fn track_word(reply: &TrackReply) -> &'static str {
    match reply {
        TrackReply::Reused => "reused",
        TrackReply::Stale(stale, _) => stale_word(stale),
        TrackReply::Again(_) => "again",
        TrackReply::Held(_) => "held",
        TrackReply::Unmetered(_) => "unmetered",
        TrackReply::Denied(..) => "denied",
        TrackReply::Tracked { .. } => "tracked",
        TrackReply::Before(_) => "before",
    }
}

fn settle_word(reply: &SettleReply) -> String {
    match reply {
        SettleReply::Reused => "reused".to_owned(),
        SettleReply::Missing(_) => "missing".to_owned(),
        SettleReply::Expired(_) => "expired".to_owned(),
        SettleReply::NotPending { status, .. } => format!("not_pending {status}"),
        SettleReply::StaleReservation => "stale_reservation".to_owned(),
        SettleReply::Overflow => "overflow".to_owned(),
        SettleReply::Settled(_, settled) => {
            let mut word = settled.status.clone();
            word.push_str(if settled.late { " late" } else { "" });
            word.push_str(if settled.replayed { " replayed" } else { "" });
            word
        }
    }
}

fn extend_word(reply: &ExtendReply) -> &'static str {
    match reply {
        ExtendReply::Reused => "reused",
        ExtendReply::Missing(_) => "missing",
        ExtendReply::Expired(_) => "expired",
        ExtendReply::NotPending { .. } => "not_pending",
        ExtendReply::StaleReservation => "stale_reservation",
        ExtendReply::Stale(stale, _) => stale_word(stale),
        ExtendReply::Again(_) => "again",
        ExtendReply::Denied(..) => "denied",
        ExtendReply::Extended { .. } => "extended",
        ExtendReply::Full => "full",
        ExtendReply::Before(_) => "before",
    }
}

/// Stamp 5, 108 expired holds of 1 in `g`, and one live hold, so that every fault is possible.
async fn troubled() -> Table {
    let table = Table::new().await;
    for _ in 0..108 {
        table.hold_for(1000, &[("g", DAY_1, 1, MOST)]).await;
    }
    table.clock(ms(NOON) + 5000).await;
    assert_eq!(table.store.stamp(&table.bucket, 5).await.unwrap(), 5);
    table
}

/// Assumptions of a call, from all wrong to all correct, with the status that each one gets.
fn ladder() -> [(&'static str, Belief<'static>); 5] {
    let wrong = Belief { revision: 4, version: UNKNOWN_VERSION, ..BELIEF }.within(DAY_2);
    let unseen = Belief { revision: 6, ..wrong };
    let known = Belief { revision: 5, ..wrong };
    let version = Belief { version: "0", ..known };
    [
        ("stale_configuration", wrong),
        ("stale_stamp", unseen),
        ("stale_user", known),
        ("stale_time", version),
        ("again", version.within(DAY_1)),
    ]
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn reserve_answers_in_its_documented_order() {
    let table = troubled().await;
    let too_much = [table.owner("u", &[("g", DAY_1, 200, 200)])];
    let first = keyed("k", "one body");
    let done = table
        .reserve_as(&first, Belief { revision: 5, ..BELIEF }, 60_000, &[table.owner("u", &[("other", DAY_1, 1, 1)])])
        .await;
    assert_eq!(reserve_word(&done), "held");
    let wrong = ladder()[0].1;
    assert_eq!(reserve_word(&table.reserve_as(&first, wrong, 60_000, &too_much).await), "held before");
    assert_eq!(reserve_word(&table.reserve_as(&keyed("k", "another"), wrong, 60_000, &too_much).await), "reused");
    // A reserve reclaimed one batch of 64; the remaining holds must not hide `again`.
    for _ in 0..108 {
        let owner = [table.owner("u", &[("g", DAY_1, 1, MOST)])];
        table.reserve_as(&harmless(), Belief { revision: 5, ..BELIEF }, 1000, &owner).await;
    }
    table.clock(ms(NOON) + 10_000).await;
    for (word, belief) in ladder() {
        assert_eq!(reserve_word(&table.reserve_as(&harmless(), belief, 60_000, &too_much).await), word);
    }
    let right = ladder()[4].1;
    let beyond = [table.owner("u", &[("g", DAY_1, 201, 200)])];
    assert_eq!(reserve_word(&table.reserve_as(&harmless(), right, 60_000, &beyond).await), "denied");
    let refused = Belief { verdict: "unmatched_event", ..right };
    match table.reserve_as(&harmless(), refused, 60_000, &[table.owner("u", &[("g", DAY_1, 1, 200)])]).await {
        quotagate::store::metering::reserve::ReserveReply::Denied(_, denied) => {
            assert_eq!((denied.verdict.as_str(), denied.states[0]), ("unmatched_event", tally(0, 0)));
        }
        other => panic!("{other:?}"),
    }
    assert_eq!(reserve_word(&table.reserve_as(&harmless(), right, 60_000, &too_much).await), "held");
    assert_eq!(
        reserve_word(&table.reserve_as(&harmless(), right, 60_000, &[table.owner("u", &[])]).await),
        "unmetered"
    );
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn both_tracks_answer_in_their_documented_order() {
    for enforce in [false, true] {
        let table = troubled().await;
        let right = ladder()[4].1;
        let too_much = [("g", DAY_1, 200, 200)];
        for (word, belief) in ladder() {
            let reply = table.track_as(&counted(), belief, (enforce, false), &too_much).await;
            assert_eq!(track_word(&reply), word, "enforce {enforce}");
        }
        assert_eq!(
            track_word(&table.track_as(&keyed("d", "x"), right, (enforce, false), &[("g", DAY_1, 201, 200)]).await),
            "denied"
        );
        assert_eq!(track_word(&table.track_as(&keyed("k", "x"), right, (enforce, false), &too_much).await), "tracked");
        let wrong = ladder()[0].1;
        assert_eq!(track_word(&table.track_as(&keyed("k", "y"), wrong, (enforce, false), &too_much).await), "reused");
        for (key, expected) in [("d", "denied"), ("k", "tracked")] {
            match table.track_as(&keyed(key, "x"), wrong, (enforce, false), &[]).await {
                TrackReply::Before(first) => assert_eq!(track_word(&first), expected),
                other => panic!("{other:?}"),
            }
        }
        assert_eq!(table.stands_with(5, "g").await, (200, 0));
        let reply = table.track_as(&counted(), right, (enforce, true), &[("g", DAY_1, 500, MOST)]).await;
        assert_eq!(track_word(&reply), "tracked");
        assert_eq!(table.stands_with(5, "g").await, (0, 0), "a refund stops at 0");
    }
}

impl Table {
    /// The used and held amounts of a counter in [`DAY_1`], as seen by a node at this revision.
    async fn stands_with(&self, revision: u64, id: &str) -> (u64, u64) {
        let facts = self.facts(&Belief { revision, ..BELIEF });
        match self.store.usage(&self.bucket, facts, &[self.owner("u", &[(id, DAY_1, 0, MOST)])]).await.unwrap() {
            UsageReply::Usage { states, .. } => (states[0].used.steps(), states[0].held.steps()),
            other => panic!("{other:?}"),
        }
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn usage_answers_in_its_documented_order_and_never_writes() {
    let table = troubled().await;
    let before = table.dump().await;
    let owner = [table.owner("u", &[("g", DAY_1, 1, 1)])];
    for (word, belief) in ladder() {
        let reported = match table.store.usage(&table.bucket, table.facts(&belief), &owner).await.unwrap() {
            UsageReply::Stale(stale, _) => stale_word(&stale),
            UsageReply::Reclaim(_) => "again",
            UsageReply::Usage { .. } => "usage",
        };
        assert_eq!(reported, word);
    }
    assert_eq!(table.dump().await, before);
    let keys = &owner[0].keys;
    assert_eq!(table.store.reclaim(&table.bucket, keys, false).await.unwrap(), (64, true));
    let before = table.dump().await;
    assert_eq!(table.stands_with(5, "g").await, (0, 0), "44 expired holds are subtracted on the fly");
    assert_eq!(table.dump().await, before);
    assert_eq!(table.store.reclaim(&table.bucket, keys, false).await.unwrap(), (44, false));
    assert_eq!(table.store.reclaim(&table.bucket, keys, false).await.unwrap(), (0, false));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn commit_answers_in_its_documented_order() {
    let table = Table::new().await;
    let id = table.hold(&[("g", DAY_1, 3, 10)]).await;
    let unknown = ReservationId { created_at_ms: id.created_at_ms + 1, ..id.clone() };
    let draw = How { is_final: false, figures: &[("g", 1)], ..ALL };
    let second = How { changes: 1, figures: &[("g", 2)], ..draw };
    let figures = How { changes: 2, figures: &[("g", 7)], ..ALL };
    for (operation, id, how, word) in [
        (harmless(), &unknown, ALL, "missing"),
        (keyed("draw", "x"), &id, draw, "held"),
        (keyed("draw", "x"), &id, draw, "held replayed"),
        (keyed("draw", "y"), &id, draw, "reused"),
        (counted(), &id, draw, "stale_reservation"),
        (counted(), &id, second, "held"),
        (harmless(), &id, How { figures: &[("g", MOST)], ..figures }, "committed"),
        (harmless(), &id, figures, "committed replayed"),
        (counted(), &id, second, "not_pending committed"),
    ] {
        assert_eq!(settle_word(&table.commit_as(&operation, id, how).await), word);
    }
    assert_eq!(table.stands("g", DAY_1).await, (MOST, 0));
    // A charge beyond the exact range is refused and changes nothing.
    let over = table.hold(&[("h", DAY_1, 3, 10)]).await;
    table.track_as(&counted(), BELIEF, (false, false), &[("h", DAY_1, MOST - 5, MOST)]).await;
    let before = table.dump().await;
    assert_eq!(
        settle_word(&table.commit_as(&harmless(), &over, How { figures: &[("h", 6)], ..ALL }).await),
        "overflow"
    );
    assert_eq!(table.dump().await, before);
    let (late, rejected) = (table.hold(&[("l", DAY_1, 1, 10)]).await, table.hold(&[("l", DAY_1, 1, 10)]).await);
    table.clock(ms(NOON) + 60_000).await;
    let reject = How { reject_late: true, ..ALL };
    assert_eq!(settle_word(&table.commit_as(&harmless(), &rejected, reject).await), "expired");
    assert_eq!(settle_word(&table.commit(&late).await), "committed late");
    assert_eq!(settle_word(&table.commit(&late).await), "committed late replayed");
    table.clock(ms(NOON) + 60_000 + 15 * 60_000 - 1).await;
    assert_eq!(settle_word(&table.commit(&over).await), "committed late");
    table.clock(ms(NOON) + 60_000 + 15 * 60_000).await;
    assert_eq!(settle_word(&table.commit(&rejected).await), "expired");
    assert_eq!(settle_word(&table.commit(&late).await), "expired", "after the grace even a repetition");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn release_refund_and_extend_answer_in_their_documented_order() {
    let table = Table::new().await;
    let hold = async || table.hold(&[("g", DAY_1, 3, MOST)]).await;
    let (released, committed, expired) = (hold().await, hold().await, hold().await);
    let unknown = ReservationId { created_at_ms: 1, ..released.clone() };
    let more = [table.owner("u", &[("g", DAY_1, 1, MOST)])];
    let too_much = [table.owner("u", &[("g", DAY_1, 1, 9)])];
    assert_eq!(extend_word(&table.extend(&unknown, 1000, 0, &[]).await), "missing");
    assert_eq!(extend_word(&table.extend(&expired, 0, 7, &more).await), "stale_reservation");
    assert_eq!(extend_word(&table.extend(&expired, 0, 0, &too_much).await), "denied");
    let belief = BELIEF.within(DAY_2);
    assert_eq!(extend_word(&table.extend_as(&counted(), belief, &expired, 0, 0, &more).await), "stale_time");
    let operation = keyed("e", "x");
    assert_eq!(extend_word(&table.extend_as(&operation, BELIEF, &expired, 0, 0, &more).await), "extended");
    assert_eq!(extend_word(&table.extend_as(&operation, BELIEF, &expired, 0, 0, &more).await), "before");
    assert_eq!(extend_word(&table.extend_as(&keyed("e", "y"), BELIEF, &expired, 0, 0, &more).await), "reused");
    assert_eq!(table.stands("g", DAY_1).await, (0, 10));
    assert_eq!(settle_word(&table.release(&unknown).await), "missing");
    assert_eq!(settle_word(&table.refund(&released, &[("g", 1)]).await), "not_pending held");
    assert_eq!(settle_word(&table.release(&released).await), "released");
    assert_eq!(settle_word(&table.release(&released).await), "released replayed");
    assert_eq!(settle_word(&table.commit(&released).await), "not_pending released");
    assert_eq!(settle_word(&table.commit(&committed).await), "committed");
    assert_eq!(settle_word(&table.release(&committed).await), "not_pending committed");
    assert_eq!(extend_word(&table.extend(&committed, 1000, 0, &[]).await), "not_pending");
    assert_eq!(settle_word(&table.refund(&unknown, &[("g", 1)]).await), "missing");
    for (back, used) in [(2, 1), (2, 0), (1, 0)] {
        assert_eq!(settle_word(&table.refund(&committed, &[("g", back)]).await), "committed");
        assert_eq!(table.stands("g", DAY_1).await, (used, 4), "at most what was charged goes back");
    }
    table.clock(ms(NOON) + 60_000).await;
    assert_eq!(settle_word(&table.release(&expired).await), "expired");
    assert_eq!(extend_word(&table.extend(&expired, 1000, 0, &[]).await), "expired");
    table.clock(ms(NOON) + 60_000 + 15 * 60_000).await;
    for id in [&released, &committed] {
        assert_eq!(settle_word(&table.release(id).await), "expired");
        assert_eq!(settle_word(&table.refund(id, &[("g", 1)]).await), "expired");
        assert_eq!(extend_word(&table.extend(id, 1000, 0, &[]).await), "expired");
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_life_ends_24_hours_after_the_reserve() {
    let table = Table::new().await;
    let id = table.hold(&[("g", FOR_EVER, 1, 10)]).await;
    let mut now = ms(NOON);
    let end = now + 24 * 3_600_000;
    while now < end {
        match table.extend(&id, 3_600_000, 0, &[]).await {
            ExtendReply::Extended { expires_at_ms, .. } => {
                assert_eq!(expires_at_ms, end.min(now + 3_600_000));
                now = expires_at_ms - 1;
                if expires_at_ms == end {
                    break;
                }
            }
            other => panic!("{other:?}"),
        }
        table.clock(now).await;
    }
    table.clock(end - 1).await;
    assert_eq!(table.stands("g", FOR_EVER).await, (0, 1));
    table.clock(end).await;
    assert_eq!(table.stands("g", FOR_EVER).await, (0, 0), "that instant is expired");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_stamp_never_falls_and_a_bucket_without_it_is_not_written() {
    let table = Table::new().await;
    for (revision, stamp) in [(5, 5), (3, 5), (8, 8)] {
        assert_eq!(table.store.stamp(&table.bucket, revision).await.unwrap(), stamp);
    }
    let owner = [table.owner("u", &[("g", DAY_1, 1, 10)])];
    let call = async |revision| match table.reserve_as(&harmless(), Belief { revision, ..BELIEF }, 60_000, &owner).await
    {
        ReserveReply::Stale(stale, _) => stale,
        other => panic!("{other:?}"),
    };
    assert_eq!(call(7).await, Stale::Configuration { stamp: 8 });
    assert_eq!(call(1_800_000_000_000_001).await, Stale::Stamp);
    table.redis.run::<()>(&["DEL", &table.bucket.stamp()]).await;
    let before = table.redis.contents("*").await;
    assert_eq!(call(8).await, Stale::Stamp);
    assert_eq!(table.redis.contents("*").await, before);
}

/// A reservation of the last day may have been made under any version that was current in that time.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_version_goes_only_a_day_after_another_took_its_place() {
    let table = Table::new().await;
    let (app, plan) = (AppId::parse("acme").unwrap(), PlanId::parse("p").unwrap());
    let (seconds, _): (u64, u64) = table.redis.run(&["TIME"]).await;
    let days_ago = |days: u64| (seconds - days * 86_400) * 1_000_000;
    let revisions = [days_ago(14), days_ago(13)].into_iter().chain((0..101).map(|place| days_ago(0) + place));
    let revisions: Vec<u64> = revisions.collect();
    let mut expected = 0;
    for revision in &revisions {
        let versions = [(Versioned::Plan(plan.clone()), Some(revision.to_string()))];
        let args = ConfigureArgs {
            app: &app,
            operation: &harmless(),
            expected,
            revision: *revision,
            answer: "",
            set: &[],
            delete: &[],
            versions: &versions,
            audit_entries: &[],
        };
        assert_eq!(table.store.configure(args).await.unwrap(), ConfigureReply::Configured);
        expected = *revision;
    }
    let kept = table.store.versions(&app, &Versioned::Plan(plan)).await.unwrap();
    let mut kept: Vec<u64> = kept.into_keys().map(|revision| revision.parse().unwrap()).collect();
    kept.sort_unstable();
    assert_eq!(kept, revisions[1..], "the first went, the second was the present one until a moment ago");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn configure_register_and_set_clock_answer_in_their_documented_order() {
    let table = Table::new().await;
    let app = AppId::parse("acme").unwrap();
    let configure = async |operation: &Operation, expected: u64, revision: u64| {
        let set = [("plan:p".to_owned(), revision.to_string())];
        let plan = PlanId::parse("p").unwrap();
        let versions = [(Versioned::Plan(plan), Some(format!("at {revision}")))];
        let audit_entries = [AuditEntry { action: "plan.put".to_owned(), ..AuditEntry::default() }];
        let args = ConfigureArgs {
            app: &app,
            operation,
            expected,
            revision,
            answer: "told",
            set: &set,
            delete: &[],
            versions: &versions,
            audit_entries: &audit_entries,
        };
        table.store.configure(args).await.unwrap()
    };
    let kept = keyed("c", "x");
    for (operation, expected, revision, reply) in [
        (&kept, 0, 7, ConfigureReply::Configured),
        (&kept, 0, 8, ConfigureReply::Before("told".to_owned())),
        (&keyed("c", "y"), 7, 8, ConfigureReply::Reused),
        (&harmless(), 0, 8, ConfigureReply::Stale),
        (&harmless(), 7, 9, ConfigureReply::Configured),
    ] {
        assert_eq!(configure(operation, expected, revision).await, reply);
    }
    let document = table.store.configuration(&app).await.unwrap();
    assert_eq!((&*document["revision"], &*document["plan:p"]), ("9", "9"));
    let plan = PlanId::parse("p").unwrap();
    let versions: BTreeMap<String, String> =
        table.store.versions(&app, &Versioned::Plan(plan)).await.unwrap().into_iter().collect();
    assert_eq!(
        versions,
        [("7", "at 7"), ("9", "at 9")].map(|(name, reported)| (name.to_owned(), reported.to_owned())).into()
    );
    let log = table.store.audit_entries(&configuration_audit(&app), None, 10).await.unwrap();
    assert_eq!(log.len(), 2, "one entry for each change, none for a repetition or a refusal");

    let create = RegisterChange::Create { name: "k", value: "v" };
    let delete = RegisterChange::Delete { name: "k" };
    let kept = keyed("r", "x");
    for (operation, change, reply) in [
        (&harmless(), delete, RegisterReply::Missing),
        (&kept, create, RegisterReply::Registered),
        (&kept, create, RegisterReply::Before("told".to_owned())),
        (&keyed("r", "y"), create, RegisterReply::Reused),
        (&harmless(), create, RegisterReply::Exists),
        (&harmless(), delete, RegisterReply::Registered),
        (&harmless(), delete, RegisterReply::Missing),
    ] {
        assert_eq!(
            {
                let args =
                    RegisterArgs { operation, change, answer: "told", app: &app, audit_entry: &AuditEntry::default() };
                table.store.register(Register::Keys, args).await.unwrap()
            },
            reply
        );
    }
    assert_eq!(table.store.changes().await.unwrap().keys, "2");

    let other = AppId::parse("other").unwrap();
    let count = async || table.store.changes().await.unwrap().configurations;
    let since = async |count: u64| table.store.announced_since(count).await.unwrap();
    assert_eq!((count().await, since(0).await), (0, vec![]));
    table.store.announce_configuration(&app).await.unwrap();
    let first = count().await;
    table.store.announce_configuration(&other).await.unwrap();
    assert_eq!((since(0).await, since(first).await), (vec![app.clone(), other.clone()], vec![other.clone()]));
    table.store.announce_configuration(&app).await.unwrap();
    let last = count().await;
    assert_eq!((since(first).await, since(last).await), (vec![other, app.clone()], vec![]));
    // A failover may lose a number, which must not be assigned to another change then.
    table.redis.run::<()>(&["DEL", keys::CONFIGURED_CHANGES]).await;
    table.store.announce_configuration(&app).await.unwrap();
    assert!(count().await > last);

    let noon = ms(NOON);
    let set = async |time: i64, empty: bool| table.store.set_clock(&table.bucket, time, empty).await.unwrap();
    assert_eq!(set(noon - 1, true).await, SetClockReply::Backwards(noon));
    assert_eq!(set(noon, false).await, SetClockReply::Frozen);
    table.redis.run::<()>(&["DEL", &table.bucket.clock()]).await;
    assert!(matches!(set(1_000, false).await, SetClockReply::NotEmpty(_)), "a sandbox with users does not go back");
    assert_eq!(set(1_000, true).await, SetClockReply::Frozen);
}
