//! Edge cases of windows. Each counter numbers its windows.

use quotagate::domain::metering::admission::Validity;
use quotagate::domain::time::window::{Window, WindowKind};
use quotagate::store::metering::admission::Stale;
use quotagate::store::metering::extend::ExtendReply;
use quotagate::store::metering::reserve::ReserveReply;
use quotagate::store::metering::usage::UsageReply;

use crate::table::{
    ALL, BELIEF, Belief, DAY_1, DAY_2, FOR_EVER, How, IN_FLIGHT, MOST, NOON, Table, counted, harmless, ms, settled,
    tally,
};

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_window_turns_or_moves_or_stays_as_its_bounds_say() {
    let month = "monthly/20270131/20270228";
    for (stored, proposed, seq, stands) in [
        (DAY_1, DAY_1, "1", (3, 2)),
        // The stored window ended at or before the proposed start.
        (DAY_1, DAY_2, "2", (0, 0)),
        (DAY_1, "monthly/20270201/20270301", "2", (0, 0)),
        // The windows overlap: a moved anchor, another period, a moved end, a lifetime.
        (DAY_1, "daily/20270131T0700/20270201T0700", "1", (3, 2)),
        (DAY_1, "daily/20270130T2300/20270131T2300", "1", (3, 2)),
        (DAY_1, month, "1", (3, 2)),
        (month, DAY_1, "1", (3, 2)),
        (DAY_1, FOR_EVER, "1", (3, 2)),
        (FOR_EVER, DAY_1, "1", (3, 2)),
        ("fixed/20270131/20270301", "fixed/20270131/20270220", "1", (3, 2)),
        // In-flight groups are counted differently.
        (DAY_1, IN_FLIGHT, "c2", (0, 0)),
        (IN_FLIGHT, DAY_1, "2", (0, 0)),
    ] {
        let table = Table::new().await;
        let id = table.hold(&[("g", stored, 3, 100)]).await;
        table.commit(&id).await;
        table.hold(&[("g", stored, 2, 100)]).await;
        assert_eq!(table.stands("g", proposed).await, stands, "{stored} → {proposed}: read");
        table.hold(&[("g", proposed, 1, 100)]).await;
        let counters = table.counters().await;
        assert_eq!((&*counters["g.seq"], &*counters["g.window"]), (seq, format!("- {proposed}").as_str()));
        assert_eq!(counters["g.used"], stands.0.to_string(), "{stored} → {proposed}");
        assert_eq!(counters["g.held"], (stands.1 + 1).to_string(), "{stored} → {proposed}");
        let used = if stored == IN_FLIGHT { 0 } else { 3 };
        let closed: Vec<String> = table
            .past()
            .await
            .into_iter()
            .filter(|(field, _)| field.starts_with("g.") && field != "g.first")
            .map(|(_, value)| value)
            .collect();
        match stands {
            (0, 0) => assert!(closed.len() == 1 && closed[0].starts_with(&format!("{used} - {stored} ")), "{closed:?}"),
            _ => assert!(closed.is_empty(), "{closed:?}"),
        }
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_clock_that_steps_back_reopens_no_window_and_blocks_no_user() {
    let table = Table::new().await;
    let first = table.hold(&[("g", DAY_1, 3, 3)]).await;
    table.commit(&first).await;
    table.at("2027-02-01T09:00:00Z").await;
    table.hold(&[("g", DAY_2, 2, 3)]).await;
    let past = table.past().await;
    table.at("2027-01-31T23:00:00Z").await;
    // The node computes with yesterday's date; the script returns the start of the current window.
    let yesterday = [table.owner("u", &[("g", DAY_1, 1, 3)])];
    match table.reserve_as(&harmless(), BELIEF.within(DAY_1), 60_000, &yesterday).await {
        ReserveReply::Stale(Stale::Time, now_ms) => assert_eq!(now_ms, ms("2027-02-01T00:00:00Z")),
        other => panic!("{other:?}"),
    }
    match table.store.usage(&table.bucket, table.facts(&BELIEF.within(DAY_1)), &yesterday).await.unwrap() {
        UsageReply::Stale(Stale::Time, now_ms) => assert_eq!(now_ms, ms("2027-02-01T00:00:00Z")),
        other => panic!("{other:?}"),
    }
    // With this start the call is decided in the current window, along with a group that is new.
    let today = [table.owner("u", &[("g", DAY_2, 1, 3), ("new", DAY_2, 1, 3)])];
    match table.reserve_as(&harmless(), BELIEF.within(DAY_2), 60_000, &today).await {
        ReserveReply::Held { ran, expires_at_ms, states, .. } => {
            assert_eq!((ran.now_ms, expires_at_ms), (ms("2027-02-01T00:00:00Z"), ms("2027-02-01T00:01:00Z")));
            assert_eq!(states, [tally(0, 3), tally(0, 1)]);
        }
        other => panic!("{other:?}"),
    }
    assert_eq!(table.past().await, past, "no closed window was touched");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn facts_hold_from_their_start_until_before_their_end() {
    let table = Table::new().await;
    let owner = [table.owner("u", &[("g", DAY_1, 0, 10)])];
    let now = ms(NOON);
    for (from_ms, until_ms, fresh) in
        [(now, now + 1, true), (now + 1, now + 2, false), (now - 1, now, false), (now - 1, now + 1, true)]
    {
        let belief = Belief { validity: Validity { from_ms, until_ms }, ..BELIEF };
        let stale = match table.reserve_as(&harmless(), belief, 1000, &owner).await {
            ReserveReply::Stale(Stale::Time, reported) => {
                assert_eq!(reported, now);
                true
            }
            ReserveReply::Held { .. } => false,
            other => panic!("{other:?}"),
        };
        assert_eq!(stale, !fresh, "[{from_ms}, {until_ms}) at {now}");
        table.redis.run::<()>(&["DEL", &owner[0].keys.account, &owner[0].keys.holds()]).await;
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_hold_of_an_earlier_window_settles_in_the_past() {
    let table = Table::new().await;
    let long = 3_600_000 * 20;
    let charged = table.hold_for(long, &[("g", DAY_1, 3, 100)]).await;
    let released = table.hold_for(long, &[("g", DAY_1, 5, 100)]).await;
    let drawn = table.hold_for(long, &[("g", DAY_1, 7, 100)]).await;
    table.hold_for(long, &[("g", DAY_1, 9, 100)]).await;
    table.at("2027-02-01T01:00:00Z").await;
    table.hold_for(long, &[("g", DAY_2, 11, 100)]).await;
    let settlement = settled(table.commit(&charged).await);
    assert_eq!(settlement.accounts.len(), 1);
    assert_eq!(
        (settlement.accounts[0].state, settlement.accounts[0].window.unwrap().to_text()),
        (tally(3, 0), DAY_1.to_owned())
    );
    settled(table.release(&released).await);
    settled(table.commit_as(&counted(), &drawn, How { is_final: false, figures: &[("g", 2)], ..ALL }).await);
    assert_eq!(table.stands("g", DAY_2).await, (0, 11), "the present window is not touched");
    assert!(table.past().await["g.1"].starts_with(&format!("5 - {DAY_1} ")), "{:?}", table.past().await);
    settled(table.commit(&drawn).await);
    assert!(table.past().await["g.1"].starts_with(&format!("10 - {DAY_1} ")));
    // The last hold expires: the `held` of its window is already gone, and today's is kept.
    table.at("2027-02-01T08:00:01Z").await;
    let (_, more) = table.store.reclaim(&table.bucket, &table.owner("u", &[]).keys, false).await.unwrap();
    assert!(!more);
    assert_eq!(table.counters().await["g.held"], "11");
    assert!(table.past().await["g.1"].starts_with(&format!("10 - {DAY_1} ")));
    // A refund finds the window that was charged.
    settled(table.refund(&charged, &[("g", 2)]).await);
    assert!(table.past().await["g.1"].starts_with(&format!("8 - {DAY_1} ")));
    assert_eq!(table.stands("g", DAY_2).await, (0, 11));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn more_amount_after_the_turn_is_held_and_charged_in_the_present_window() {
    let table = Table::new().await;
    let id = table.hold_for(3_600_000 * 20, &[("g", DAY_1, 3, 100)]).await;
    table.at("2027-02-01T01:00:00Z").await;
    let more = [table.owner("u", &[("g", DAY_2, 4, 100)])];
    table.extend(&id, 0, 0, &more).await;
    assert_eq!(table.stands("g", DAY_2).await, (0, 4));
    // 9 in total: 3 where 3 were held; the rest, including overage, in the current window.
    let settlement = settled(table.commit_as(&harmless(), &id, How { changes: 1, figures: &[("g", 9)], ..ALL }).await);
    let states: Vec<_> = settlement.accounts.iter().map(|account| account.state).collect();
    assert_eq!(states, [tally(3, 0), tally(6, 0)]);
    assert_eq!(table.stands("g", DAY_2).await, (6, 0));
    assert!(table.past().await["g.1"].starts_with("3 "));
    // Refunds are made in the reverse order.
    settled(table.refund(&id, &[("g", 7)]).await);
    assert_eq!(table.stands("g", DAY_2).await, (0, 0));
    assert!(table.past().await["g.1"].starts_with("2 "));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_concurrent_group_has_one_window_and_is_never_charged() {
    let table = Table::new().await;
    let asks = |day| [("f", IN_FLIGHT, 1, 2), ("g", day, 1, 100)];
    let (kept, done) = (table.hold_for(3_600_000 * 20, &asks(DAY_1)).await, table.hold(&asks(DAY_1)).await);
    match table.reserve(&asks(DAY_1)).await {
        ReserveReply::Denied(_, denied) => {
            assert_eq!(denied.free_at_ms, Some(ms(NOON) + 60_000), "when the first hold ends");
            assert_eq!(denied.states.iter().map(|state| state.over_limit).collect::<Vec<_>>(), [true, false]);
        }
        other => panic!("{other:?}"),
    }
    // A partial commit does not change it; the final commit frees it and charges nothing.
    settled(table.commit_as(&counted(), &kept, How { is_final: false, figures: &[("g", 1)], ..ALL }).await);
    assert_eq!(table.stands("f", IN_FLIGHT).await, (0, 2));
    settled(table.commit(&done).await);
    assert_eq!(table.stands("f", IN_FLIGHT).await, (0, 1));
    table.at("2027-02-01T01:00:00Z").await;
    table.hold(&asks(DAY_2)).await;
    let counters = table.counters().await;
    assert_eq!((&*counters["f.seq"], &*counters["f.window"]), ("c1", format!("- {IN_FLIGHT}").as_str()));
    assert_eq!(table.stands("f", IN_FLIGHT).await, (0, 2));
    table.at("2027-02-01T01:01:00Z").await;
    assert_eq!(table.stands("f", IN_FLIGHT).await, (0, 1), "expiry frees it");
    settled(table.release(&kept).await);
    assert_eq!(table.stands("f", IN_FLIGHT).await, (0, 0));
    assert_eq!(table.counters().await["f.used"], "0");
}

fn day(number: i64) -> (i64, String) {
    nth(WindowKind::Daily, number, 86_400_000)
}

fn minute(number: i64) -> (i64, String) {
    nth(WindowKind::Minute, number, 60_000)
}

fn nth(kind: WindowKind, number: i64, length_ms: i64) -> (i64, String) {
    let start_ms = ms("2027-03-01T00:00:00Z") + number * length_ms;
    (start_ms, Window { kind, start_ms, end_ms: Some(start_ms + length_ms) }.to_text())
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_past_is_a_ring_of_12_windows_per_group() {
    let table = Table::new().await;
    for number in 0..30 {
        let (start, window) = day(number);
        table.clock(start).await;
        let id = table.hold(&[("g", &window, 1, 9), ("h", FOR_EVER, 1, MOST)]).await;
        table.commit(&id).await;
        assert!(table.past().await.len() <= 13, "{:?}", table.past().await);
    }
    let past = table.past().await;
    assert_eq!(past.len(), 13);
    assert_eq!((past["g.first"].as_str(), past.contains_key("g.18"), past.contains_key("g.29")), ("18", true, true));
    let counters = table.counters().await;
    assert_eq!((&*counters["g.seq"], &*counters["g.window"]), ("30", format!("- {}", day(29).1).as_str()));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_closed_window_is_kept_while_its_holds_can_be_settled() {
    let table = Table::new().await;
    let (start, window) = minute(0);
    table.clock(start).await;
    let slow = table.hold_for(3_600_000, &[("g", &window, 5, 9)]).await;
    for number in 1..50 {
        let (start, window) = minute(number);
        table.clock(start).await;
        let id = table.hold(&[("g", &window, 1, 9)]).await;
        table.commit(&id).await;
    }
    let settlement = settled(table.commit(&slow).await);
    assert_eq!((settlement.late, settlement.accounts[0].state), (false, tally(5, 0)));
    assert_eq!(settlement.accounts[0].window.unwrap().to_text(), window);
    assert!(table.past().await["g.1"].starts_with(&format!("5 - {window} ")));
    // Two days later nothing can be settled there any more, and new windows remove the old ones.
    for number in 0..20 {
        let (start, window) = minute(3 * 1440 + number * 60);
        table.clock(start).await;
        let id = table.hold(&[("g", &window, 1, 9)]).await;
        table.commit(&id).await;
    }
    assert_eq!(table.past().await.len(), 13, "{:?}", table.past().await);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_closed_window_is_kept_for_the_expiry_and_grace_period_of_a_settled_hold() {
    let table = Table::new().await;
    let (start, window) = minute(0);
    table.clock(start).await;
    let drawn = table.hold_for(3_600_000, &[("g", &window, 3, 99)]).await;
    settled(table.commit_as(&counted(), &drawn, How { is_final: false, figures: &[("g", 3)], ..ALL }).await);
    let refunded = table.hold_for(3_600_000, &[("g", &window, 4, 99)]).await;
    settled(table.commit(&refunded).await);
    for number in 1..50 {
        let (start, window) = minute(number);
        table.clock(start).await;
        let id = table.hold(&[("g", &window, 1, 9)]).await;
        table.commit(&id).await;
    }
    settled(table.refund(&refunded, &[("g", 4)]).await);
    let over = How { changes: 1, figures: &[("g", 5)], ..ALL };
    assert_eq!(settled(table.commit_as(&harmless(), &drawn, over).await).accounts[0].state, tally(5, 0));
    assert!(table.past().await["g.1"].starts_with(&format!("5 - {window} ")), "{:?}", table.past().await.get("g.1"));
}

/// How long, in ms after its own expiry, can a call still be charged to the closed window of `g`?
async fn kept_until(table: &Table, expiry: &str) -> i64 {
    let past = table.past().await;
    past["g.1"].rsplit(' ').next().unwrap().parse::<i64>().unwrap() - ms(expiry)
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_window_in_which_nothing_is_held_any_more_is_final_the_grace_after_its_last_reservation() {
    const GRACE_MS: i64 = 15 * 60 * 1000;
    let hour = 3_600_000;
    for ending in ["expired", "committed", "drawn and extended", "untouched"] {
        let table = Table::new().await;
        table.at("2027-01-31T23:30:00Z").await;
        let (ttl, expiry) = (hour, "2027-02-01T00:30:00Z");
        let id = table.hold_for(ttl, &[("g", DAY_1, 3, 100)]).await;
        match ending {
            "committed" => {
                settled(table.commit(&id).await);
            }
            "drawn and extended" => {
                table.clock(ms("2027-01-31T23:40:00Z")).await;
                settled(table.commit_as(&counted(), &id, crate::table::How { is_final: false, ..ALL }).await);
                let extended = table.extend(&id, 2 * hour, 1, &[]).await;
                assert!(
                    matches!(extended, quotagate::store::metering::extend::ExtendReply::Extended { .. }),
                    "{extended:?}"
                );
            }
            _ => {}
        }
        table.at("2027-02-01T00:40:00Z").await;
        if ending == "expired" {
            // A call in another group reclaims the hold, and does not know this window.
            table.hold(&[("other", DAY_2, 1, 100)]).await;
        }
        let extended = table.counters().await.get(".extended").map(|until| until.parse::<i64>().unwrap() - ms(expiry));
        let wanted = (ending == "drawn and extended").then_some(hour + 10 * 60_000);
        assert_eq!(extended, wanted, "{ending}");
        // The call that closes the window: no hold in it can end later than the longest lifetime after the window's
        // end, or than the extended reservation.
        table.hold(&[("g", DAY_2, 1, 100)]).await;
        let longest = ms("2027-02-01T00:00:00Z") + hour - ms(expiry);
        assert_eq!(kept_until(&table, expiry).await, longest.max(extended.unwrap_or(0)) + GRACE_MS, "{ending}");
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_closed_window_is_kept_while_a_reservation_without_a_hold_can_be_refunded() {
    let table = Table::new().await;
    table.at("2027-01-31T23:59:00Z").await;
    // An amount of 0 creates no hold that could keep the window.
    let id = table.hold_for(3_600_000, &[("g", DAY_1, 0, 100)]).await;
    table.at("2027-02-01T00:01:00Z").await;
    let next = table.hold(&[("g", "daily/20270201/20270202", 1, 100)]).await;
    settled(table.commit(&next).await);
    let over = How { figures: &[("g", 5)], ..ALL };
    assert_eq!(settled(table.commit_as(&harmless(), &id, over).await).accounts[0].state, tally(5, 0));
    // The longest lifetime is an hour.
    assert_eq!(kept_until(&table, "2027-02-01T01:00:00Z").await, 15 * 60 * 1000);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_closed_window_is_kept_for_a_reservation_extended_after_or_while_it_closes() {
    for closes in ["before", "with"] {
        let table = Table::new().await;
        let (start, first) = minute(0);
        table.clock(start).await;
        let id = table.hold_for(120_000, &[("g", &first, 3, 99)]).await;
        let draw = |steps, changes| How { is_final: false, changes, figures: steps, ..ALL };
        settled(table.commit_as(&counted(), &id, draw(&[("g", 3)], 0)).await);
        let (turn, second) = minute(1);
        table.clock(turn).await;
        let more = [table.owner("u", &[("g", &second, 1, 99)])];
        if closes == "before" {
            table.hold(&[("g", &second, 1, 99)]).await;
        }
        let extended = table.extend(&id, 3_600_000, 1, if closes == "with" { &more } else { &[] }).await;
        assert!(matches!(extended, ExtendReply::Extended { .. }), "{closes}: {extended:?}");
        let expiry_ms = turn + 3_600_000;
        assert_eq!(kept_until(&table, "1970-01-01T00:00:00Z").await, expiry_ms + 15 * 60_000, "{closes}");
        // Later than the grace period of the first expiry, and more windows than are kept.
        for number in 20..40 {
            let (start, window) = minute(number);
            table.clock(start).await;
            let other = table.hold(&[("g", &window, 1, 99)]).await;
            table.commit(&other).await;
        }
        if closes == "before" {
            let drawn = settled(table.commit_as(&counted(), &id, draw(&[("g", 5)], 1)).await);
            assert_eq!(drawn.accounts[0].state, tally(5, 0), "of the window that it was held in");
        } else {
            // The amount above the hold is charged to the newest window; what was committed in the first window is
            // still there.
            assert_eq!(settled(table.commit(&id).await).accounts[0].state, tally(3, 0));
        }
    }
}
