//! Edge cases of holds and amounts.

use quotagate::domain::configuration::scope::{OwnerName, Scope};
use quotagate::domain::reporting::ledger::EntryKind;
use quotagate::domain::values::ids::UserId;
use quotagate::store::metering::admission::{OwnedGroup, Owner, OwnerExpiry};
use quotagate::store::metering::extend::ExtendReply;
use quotagate::store::metering::reserve::ReserveReply;
use quotagate::store::metering::usage::UsageReply;
use quotagate::store::reporting::stream::Stream;

use crate::table::{ALL, BELIEF, DAY_1, How, MOST, NOON, Table, counted, full, harmless, keyed, ms, settled, tally};

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_expired_hold_stops_counting_at_that_instant_and_none_earlier() {
    let table = Table::new().await;
    table.hold_for(1000, &[("g", DAY_1, 4, 4)]).await;
    for (after_ms, held, fits) in [(0, 4, false), (999, 4, false), (1000, 0, true)] {
        table.clock(ms(NOON) + after_ms).await;
        assert_eq!(table.stands("g", DAY_1).await, (0, held), "{after_ms} ms after");
        let reply = table.reserve(&[("g", DAY_1, 4, 4)]).await;
        assert_eq!(matches!(reply, ReserveReply::Held { .. }), fits, "{after_ms} ms after: {reply:?}");
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_expiry_names_the_user_whether_or_not_the_hold_does() {
    let table = Table::new().await;
    let red = OwnerName::new(Scope::parse(&["metadata.team"]).unwrap(), vec!["red".to_owned()]).unwrap();
    let of_team = table.owner("u", &[("t", DAY_1, 1, 9)]);
    let team = Owner { keys: table.bucket.owner(&red), renew: Some(OwnerExpiry { at_ms: None, most: 10 }), ..of_team };
    let user = table.owner("u", &[("g", DAY_1, 1, 9)]);
    for owners in [[user.clone(), team.clone()], [table.owner("u", &[]), team.clone()]] {
        // Once on the general path, which begins the windows, and once on the straight path.
        table.hold_of(1000, &owners).await;
        table.hold_of(1000, &owners).await;
    }
    let labels = async |owner: &Owner| {
        let members: Vec<String> = table.redis.run(&["ZRANGE", &owner.keys.holds(), "0", "-1"]).await;
        let labels = members.iter().filter_map(|member| member.splitn(3, ' ').nth(2));
        let mut labels: Vec<String> = labels.map(str::to_owned).collect();
        labels.sort();
        labels
    };
    let [own, other, none] =
        ["image.render key_1", "image.render key_1 u", "-"].map(|label| format!("{label} {}", ms(NOON)));
    assert_eq!(labels(&user).await, [own.clone(), own]);
    assert_eq!(labels(&team).await, [none.clone(), none, other.clone(), other]);
    table.clock(ms(NOON) + 1000).await;
    for (owner, count) in [(&user, 2), (&team, 4)] {
        assert_eq!(table.store.reclaim(&table.bucket, &owner.keys, false).await.unwrap(), (count, false));
    }
    let expired = table.store.entries_before(&table.bucket, Stream::Ledger, None, 10).await.unwrap().entries;
    let named = |name: Option<&UserId>| name.is_some_and(|name| name.as_str() == "u");
    assert_eq!(expired.len(), 4, "one for each reservation");
    assert!(expired.iter().all(|it| it.entry.kind == EntryKind::Expire && named(it.entry.user.as_ref())));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn removing_the_holds_entry_decides_whoever_comes_later() {
    for ending in ["commit", "release", "draw", "extend"] {
        let table = Table::new().await;
        let old = table.hold(&[("g", DAY_1, 4, 6)]).await;
        table.clock(ms(NOON) + 60_000).await;
        let taken = table.store.reclaim(&table.bucket, &table.owner("u", &[]).keys, false).await.unwrap();
        assert_eq!(taken, (1, false));
        let other = table.hold(&[("g", DAY_1, 5, 6)]).await;
        // The clock steps back before the expiry: the first hold seems to be live, but its entry is gone.
        table.clock(ms(NOON) + 30_000).await;
        let used = match ending {
            "commit" => {
                assert!(!settled(table.commit(&old).await).late, "time decides only whether it was late");
                4
            }
            "release" => {
                settled(table.release(&old).await);
                0
            }
            "draw" => {
                settled(table.commit_as(&counted(), &old, How { is_final: false, figures: &[("g", 1)], ..ALL }).await);
                1
            }
            _ => {
                assert!(matches!(table.extend(&old, 60_000, 0, &[]).await, ExtendReply::Expired(_)));
                0
            }
        };
        assert_eq!(table.stands("g", DAY_1).await, (used, 5), "{ending} takes no room of another hold");
        settled(table.commit(&other).await);
        assert_eq!(table.stands("g", DAY_1).await, (used + 5, 0), "{ending}");
        assert_eq!(table.redis.run::<u64>(&["ZCARD", &table.owner("u", &[]).keys.holds()]).await, 0);
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn settling_an_expired_hold_that_was_not_reclaimed_uses_no_other_capacity() {
    let table = Table::new().await;
    let late = table.hold_for(1000, &[("g", DAY_1, 4, 9)]).await;
    table.hold(&[("g", DAY_1, 5, 9)]).await;
    table.clock(ms(NOON) + 2000).await;
    let settlement = settled(table.commit(&late).await);
    assert!(settlement.late);
    assert_eq!(settlement.accounts[0].state, tally(4, 5));
    assert_eq!(table.stands("g", DAY_1).await, (4, 5));
    settled(table.commit(&late).await);
    assert_eq!(table.stands("g", DAY_1).await, (4, 5), "a repetition changes nothing");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_answer_never_shows_an_expired_hold() {
    let table = Table::new().await;
    let (committed, released) = (table.hold(&[("g", DAY_1, 1, 9)]).await, table.hold(&[("g", DAY_1, 1, 9)]).await);
    table.hold_for(1000, &[("g", DAY_1, 3, 9)]).await;
    table.clock(ms(NOON) + 2000).await;
    assert_eq!(settled(table.commit(&committed).await).accounts[0].state, tally(1, 1));
    table.hold_for(1000, &[("g", DAY_1, 3, 9)]).await;
    table.clock(ms(NOON) + 4000).await;
    assert_eq!(settled(table.release(&released).await).accounts[0].state, tally(1, 0));
    table.hold_for(1000, &[("g", DAY_1, 3, 9)]).await;
    table.clock(ms(NOON) + 6000).await;
    assert_eq!(settled(table.refund(&committed, &[("g", 1)]).await).accounts[0].state, tally(0, 0));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn more_than_64_expired_holds_are_taken_in_batches() {
    let table = Table::new().await;
    for _ in 0..300 {
        table.hold_for(1000, &[("g", DAY_1, 1, 600)]).await;
    }
    table.clock(ms(NOON) + 1000).await;
    let usage = table.usage_of("u", &[("g", DAY_1, 0, 600)]).await;
    assert!(matches!(usage, UsageReply::Reclaim(_)), "{usage:?}");
    // It fits although 236 expired holds still count, so it is allowed at once.
    match table.reserve(&[("g", DAY_1, 1, 600)]).await {
        ReserveReply::Held { ran, states, .. } => assert_eq!((ran.reclaimed, states[0]), (64, tally(0, 237))),
        other => panic!("{other:?}"),
    }
    // It does not fit while some expired holds count; a call is denied only after all of them are reclaimed.
    for _ in 0..3 {
        match table.reserve(&[("g", DAY_1, 560, 600)]).await {
            ReserveReply::Again(ran) => assert_eq!(ran.reclaimed, 64),
            other => panic!("{other:?}"),
        }
    }
    match table.reserve(&[("g", DAY_1, 560, 600)]).await {
        ReserveReply::Held { ran, states, .. } => assert_eq!((ran.reclaimed, states[0]), (44, tally(0, 561))),
        other => panic!("{other:?}"),
    }
    let held: u64 = table.redis.run(&["ZCARD", &table.owner("u", &[]).keys.holds()]).await;
    assert_eq!(held, 2);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn all_owners_of_a_call_share_one_batch() {
    let table = Table::new().await;
    let owners = |amount: u64| ["u", "team"].map(|name| table.owner(name, &[("g", DAY_1, amount, 100)]));
    for _ in 0..50 {
        table.hold_of(1000, &owners(1)).await;
    }
    let settling = table.hold_of(60_000, &owners(1)).await;
    table.clock(ms(NOON) + 1000).await;
    match table.reserve_as(&harmless(), BELIEF, 60_000, &owners(1)).await {
        ReserveReply::Held { ran, states, .. } => {
            assert_eq!((ran.reclaimed, &states[..]), (64, &[tally(0, 2), tally(0, 38)][..]));
        }
        other => panic!("{other:?}"),
    }
    assert!(matches!(settled(table.commit(&settling).await).accounts[..], [_, _]));
    for name in ["u", "team"] {
        let held: u64 = table.redis.run(&["ZCARD", &table.owner(name, &[]).keys.holds()]).await;
        assert_eq!(held, 1, "{name}");
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_repeated_call_gets_its_first_answer_and_changes_nothing() {
    let table = Table::new().await;
    let operation = keyed("k", "x");
    let owner = [table.owner("u", &[("g", DAY_1, 3, 5)])];
    assert!(matches!(table.reserve_as(&operation, BELIEF, 60_000, &owner).await, ReserveReply::Held { .. }));
    let denied = keyed("d", "x");
    assert!(matches!(table.reserve_as(&denied, BELIEF, 60_000, &owner).await, ReserveReply::Denied(..)));
    let before = table.dump().await;
    match table.reserve_as(&operation, BELIEF, 60_000, &owner).await {
        ReserveReply::HeldBefore(found) => assert_eq!(found.expires_at_ms, ms(NOON) + 60_000),
        other => panic!("{other:?}"),
    }
    match table.reserve_as(&denied, BELIEF, 60_000, &owner).await {
        ReserveReply::Before(first) => match *first {
            ReserveReply::Denied(_, denied) => {
                assert_eq!(denied.states, [full(0, 3)]);
                let proposed = OwnedGroup { is_hard: false, ..owner[0].groups[0].clone() };
                assert_eq!(denied.groups, [proposed], "with the groups as they were proposed");
            }
            other => panic!("{other:?}"),
        },
        other => panic!("{other:?}"),
    }
    // A denial without an idempotency key leaves only its entry among the denials.
    table.reserve_as(&harmless(), BELIEF, 60_000, &owner).await;
    table.track_as(&counted(), BELIEF, (true, false), &[("g", DAY_1, 3, 5)]).await;
    assert_eq!(table.dump().await, before);
    // The node's own repetition of a counting call finds its record.
    let cut = counted();
    for _ in 0..3 {
        table.track_as(&cut, BELIEF, (false, false), &[("g", DAY_1, 1, MOST)]).await;
    }
    assert_eq!(table.stands("g", DAY_1).await, (1, 3));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn amounts_up_to_2_pow_53_are_exact_in_and_out() {
    for steps in [1_000_000_000_000_000, 1_000_000_000_000_001, 4_503_599_627_370_497, MOST - 1, MOST] {
        let table = Table::new().await;
        let id = match table
            .reserve_as(&keyed("k", "x"), BELIEF, 60_000, &[table.owner("u", &[("g", DAY_1, steps, MOST)])])
            .await
        {
            ReserveReply::Held { ran, states, .. } => {
                assert_eq!(states, [tally(0, steps)]);
                quotagate::domain::metering::reservation::ReservationId {
                    name: keyed("k", "x").name,
                    created_at_ms: ran.now_ms,
                    bucket: 0,
                }
            }
            other => panic!("{other:?}"),
        };
        assert_eq!(table.stands("g", DAY_1).await, (0, steps));
        let lacking = matches!(table.reserve(&[("g", DAY_1, MOST - steps + 1, MOST)]).await, ReserveReply::Denied(..));
        assert!(lacking, "one step more than fits");
        assert!(matches!(table.reserve(&[("g", DAY_1, MOST, MOST)]).await, ReserveReply::Denied(..)));
        settled(table.commit_as(&counted(), &id, How { is_final: false, figures: &[("g", steps - 1)], ..ALL }).await);
        assert_eq!(table.stands("g", DAY_1).await, (steps - 1, 1));
        no_exponent(&table).await;
        assert_eq!(settled(table.commit(&id).await).accounts[0].state, tally(steps, 0));
        table.track_as(&keyed("t", "x"), BELIEF, (false, false), &[("h", DAY_1, steps, MOST)]).await;
        table.track_as(&keyed("over", "x"), BELIEF, (false, false), &[("h", DAY_1, MOST, MOST)]).await;
        assert_eq!(table.stands("h", DAY_1).await, (steps, 0));
        settled(table.refund(&id, &[("g", 1)]).await);
        assert_eq!(table.stands("g", DAY_1).await, (steps - 1, 0));
        table.at("2027-02-01T00:00:00Z").await;
        table.hold(&[("g", crate::table::DAY_2, 1, MOST)]).await;
        assert!(table.past().await["g.1"].starts_with(&format!("{} - daily", steps - 1)));
        no_exponent(&table).await;
    }
}

/// No stored number has a form that Lua or Redis rounded.
async fn no_exponent(table: &Table) {
    let keys: Vec<String> = table.redis.run(&["KEYS", "*"]).await;
    for key in keys {
        let kind: String = table.redis.run(&["TYPE", &key]).await;
        let texts: Vec<String> = match kind.as_str() {
            "hash" => table.redis.run(&["HGETALL", &key]).await,
            "zset" => table.redis.run(&["ZRANGE", &key, "0", "-1", "WITHSCORES"]).await,
            "stream" => {
                let entries: redis::Value = table.redis.run(&["XRANGE", &key, "-", "+"]).await;
                vec![format!("{entries:?}")]
            }
            _ => vec![table.redis.run(&["GET", &key]).await],
        };
        for text in texts {
            let bytes = text.as_bytes();
            let exponent =
                bytes.windows(2).any(|pair| pair[0].is_ascii_digit() && pair[1] == b'e' && text.contains("e+"));
            assert!(!exponent && !text.contains("inf") && !text.contains("nan"), "{key}: {text}");
        }
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn only_what_may_be_forgotten_expires_and_a_sandbox_keeps_it_for_a_week() {
    let table = Table::new().await;
    let id = table.hold(&[("g", DAY_1, 3, 5)]).await;
    table.track_as(&keyed("t", "x"), BELIEF, (false, false), &[("g", DAY_1, 1, MOST)]).await;
    table.commit(&id).await;
    let record = table.bucket.operation(&id.name);
    let ttl_ms: i64 = table.redis.run(&["PTTL", &record]).await;
    assert!(ttl_ms > 6 * 86_400_000, "{ttl_ms}");
    let answer_ms: i64 = table.redis.run(&["PTTL", &table.bucket.operation(&keyed("t", "x").name)]).await;
    assert!((15 * 60_000..=20 * 60_000).contains(&answer_ms), "idempotency stays in real time: {answer_ms}");
    let keys = table.bucket.user(&UserId::parse("u").unwrap());
    for key in [keys.account, table.bucket.clock()] {
        assert_eq!(table.redis.run::<i64>(&["PTTL", &key]).await, -1, "{key}");
    }
}
