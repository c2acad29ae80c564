//! Credits: every status of adding, voiding and listing them, in order of precedence, and what a refused call leaves.

use std::collections::BTreeMap;

use quotagate::domain::access::audit::AuditEntry;
use quotagate::domain::configuration::scope::OwnerName;
use quotagate::domain::metering::counter::{BalanceState, CounterState, OverflowState};
use quotagate::domain::values::ids::{KeyId, UserId};
use quotagate::store::accounts::credits::{
    CreditArgs, CreditDetails, CreditPage, CreditPlace, CreditReply, CreditState, StoredCredit, VoidArgs, VoidReply,
};
use quotagate::store::metering::admission::{OwnedBalance, Owner, Stale, UNKNOWN_VERSION};
use quotagate::store::metering::operation::Operation;
use quotagate::store::metering::reserve::ReserveReply;

use crate::table::{
    BELIEF, Belief, DAY_1, DAY_2, MOST, NOON, Table, amount, counted, group, harmless, keyed, ms, settled, tally,
};

const BALANCE: &str = "lifetime/19700101/99991231T235959";
const LATER: &str = "2027-01-31T13:00:00Z";

fn user() -> UserId {
    UserId::parse("u").unwrap()
}

fn key() -> KeyId {
    KeyId::parse("key_1").unwrap()
}

async fn version(table: &Table) -> String {
    table.counters().await.get("version").cloned().unwrap_or_else(|| "0".to_owned())
}

fn balance() -> OwnedBalance {
    OwnedBalance { id: group("c"), alerts_below: vec![amount(2)] }
}

/// `u` with the balance `c`, from which a call takes so much.
fn buyer(table: &Table, steps: u64) -> Owner {
    let mut owner = table.owner("u", &[("c", BALANCE, steps, MOST)]);
    owner.groups[0].balance = Some(balance());
    owner
}

/// `u` with 2 of the group `g`, which overflows onto the balance.
fn overflowing(table: &Table, steps: u64) -> Owner {
    let mut owner = table.owner("u", &[("g", DAY_1, steps, 2)]);
    (owner.groups[0].quota, owner.groups[0].balance) = (Some(amount(2)), Some(balance()));
    owner
}

#[derive(Clone, Copy)]
struct New<'a> {
    id: &'a str,
    steps: u64,
    source: Option<&'a str>,
    expires_at: Option<&'a str>,
}

async fn add_as(table: &Table, operation: &Operation, belief: Belief<'_>, new: New<'_>) -> CreditReply {
    let details = CreditDetails {
        id: new.id.to_owned(),
        created_at_ms: ms(NOON),
        created_by: key(),
        expires_at_ms: new.expires_at.map(ms),
        source: new.source.map(str::to_owned),
        note: Some("a, b".to_owned()),
    };
    let args = CreditArgs {
        bucket: &table.bucket,
        operation,
        facts: table.facts(&belief),
        owner: &buyer(table, 0),
        user: Some(&user()),
        amount: amount(new.steps),
        details: &details,
        audit_entry: &AuditEntry::default(),
        answer: "answer",
    };
    table.store.credit(args).await.unwrap()
}

/// Adds a credit.
async fn add(table: &Table, id: &str, steps: u64, expires_at: Option<&str>) {
    let version = version(table).await;
    let new = New { id, steps, source: None, expires_at };
    let reply = add_as(table, &counted(), Belief { version: &version, ..BELIEF }, new).await;
    assert_eq!(word(&reply), "credited");
}

fn word(reply: &CreditReply) -> &'static str {
    match reply {
        CreditReply::Reused => "reused",
        CreditReply::Stale(Stale::Configuration { .. }, _) => "stale_configuration",
        CreditReply::Stale(Stale::Stamp, _) => "stale_stamp",
        CreditReply::Stale(Stale::User(_), _) => "stale_user",
        CreditReply::Stale(Stale::Time, _) => "stale_time",
        CreditReply::Known(..) => "known",
        CreditReply::Full => "full",
        CreditReply::Overflow => "overflow",
        CreditReply::Credited(_) => "credited",
        CreditReply::Before(_) => "before",
    }
}

async fn place(table: &Table, id: &str) -> CreditPlace {
    table.store.credit_place(&table.bucket, id).await.unwrap().unwrap()
}

async fn void(table: &Table, operation: &Operation, id: &str, steps: Option<u64>) -> VoidReply {
    let args = VoidArgs {
        place: &place(table, id).await,
        amount: steps.map(amount),
        by: &key(),
        note: None,
        reports_expiry: false,
        operation,
        audit_entry: &AuditEntry::default(),
    };
    table.store.void_credit(&table.bucket, args).await.unwrap()
}

async fn list(table: &Table, from: Option<u64>, count: usize) -> CreditPage {
    let owner = OwnerName::of_user(&user());
    table.store.credits(&table.bucket, &owner, &group("c"), from, count).await.unwrap()
}

/// Amount, remaining, held, used, lapsed and voided.
fn figures(credit: &StoredCredit) -> [u64; 6] {
    let of = &credit.amounts;
    [of.amount, of.remaining, of.held, of.used, of.lapsed, of.voided].map(|amount| amount.steps())
}

async fn all(table: &Table) -> Vec<[u64; 6]> {
    list(table, None, 200).await.credits.iter().map(figures).collect()
}

/// A reserve for a minute, with correct assumptions.
async fn reserve(table: &Table, owner: Owner) -> (Operation, ReserveReply) {
    let (version, operation) = (version(table).await, harmless());
    let reply = table.reserve_as(&operation, Belief { version: &version, ..BELIEF }, 60_000, &[owner]).await;
    (operation, reply)
}

fn held(reply: ReserveReply) -> CounterState {
    match reply {
        ReserveReply::Held { states, .. } => states[0],
        other => panic!("{other:?}"),
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_credit_is_answered_in_its_documented_order() {
    let table = Table::new().await;
    assert_eq!(table.store.stamp(&table.bucket, 5).await.unwrap(), 5);
    let paid = || New { id: "crd_1", steps: 5, source: Some("pay, 1"), expires_at: None };
    let wrong = Belief { revision: 4, version: UNKNOWN_VERSION, ..BELIEF }.within(DAY_2);
    let seen = Belief { revision: 5, ..wrong };
    let first = Belief { version: "0", ..seen };
    for (expected, belief) in [
        ("stale_configuration", wrong),
        ("stale_stamp", Belief { revision: 6, ..wrong }),
        ("stale_user", seen),
        ("stale_time", first),
    ] {
        let before = table.redis.contents("*").await;
        assert_eq!(word(&add_as(&table, &keyed("k", "x"), belief, paid()).await), expected);
        assert_eq!(table.redis.contents("*").await, before, "{expected}");
    }
    assert_eq!(word(&add_as(&table, &keyed("k", "x"), first.within(DAY_1), paid()).await), "credited");
    match add_as(&table, &keyed("k", "x"), wrong, paid()).await {
        CreditReply::Before(answer) => assert_eq!(answer, "answer"),
        other => panic!("{other:?}"),
    }
    assert_eq!(word(&add_as(&table, &keyed("k", "y"), wrong, paid()).await), "reused");
    let version = version(&table).await;
    assert_ne!(version, "0", "whoever has credits stays");
    let right = Belief { version: &version, revision: 5, ..BELIEF };
    let bare = |steps| New { id: "crd_x", steps, source: None, expires_at: None };
    assert_eq!(word(&add_as(&table, &counted(), right, bare(MOST - 4)).await), "overflow");
    for _ in 0..63 {
        assert_eq!(word(&add_as(&table, &counted(), right, bare(1)).await), "credited");
    }
    assert_eq!(word(&add_as(&table, &counted(), right, bare(MOST)).await), "full");
    match add_as(&table, &counted(), right, paid()).await {
        CreditReply::Known(_, stored) => {
            assert_eq!((stored.details.source.as_deref(), figures(&stored)), (Some("pay, 1"), [5, 5, 0, 0, 0, 0]));
        }
        other => panic!("{other:?}"),
    }
    assert_eq!(all(&table).await.len(), 64);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_void_is_answered_in_its_documented_order() {
    let table = Table::new().await;
    add(&table, "crd_1", 5, None).await;
    assert!(table.store.credit_place(&table.bucket, "crd_2").await.unwrap().is_none());
    match void(&table, &keyed("v", "x"), "crd_1", Some(6)).await {
        VoidReply::Exceeds(amounts) => assert_eq!(amounts.remaining, amount(5)),
        other => panic!("{other:?}"),
    }
    // The first answer of a key, whatever the amount of the repetition.
    assert!(matches!(void(&table, &keyed("v", "x"), "crd_1", Some(1)).await, VoidReply::Exceeds(_)));
    assert!(matches!(void(&table, &keyed("v", "y"), "crd_1", Some(1)).await, VoidReply::Reused));
    assert_eq!(all(&table).await, [[5, 5, 0, 0, 0, 0]]);
    let (_, reply) = reserve(&table, buyer(&table, 3)).await;
    assert_eq!(held(reply).balance.map(|balance| balance.remaining), Some(amount(2)));
    assert!(matches!(void(&table, &counted(), "crd_1", Some(3)).await, VoidReply::Exceeds(_)), "3 of 5 are held");
    for (steps, state, expected) in [
        (Some(1), CreditState::Open, [5, 1, 3, 0, 0, 1]),
        (None, CreditState::Voided, [5, 0, 3, 0, 0, 2]),
        (None, CreditState::Voided, [5, 0, 3, 0, 0, 2]),
    ] {
        match void(&table, &counted(), "crd_1", steps).await {
            VoidReply::Voided(amounts) => assert_eq!(amounts.state, state),
            other => panic!("{other:?}"),
        }
        assert_eq!(all(&table).await, [expected]);
    }
    // What comes back later is voided too, by the next call that changes the balance.
    table.clock(ms(NOON) + 60_000).await;
    assert_eq!(all(&table).await, [[5, 0, 0, 0, 0, 5]], "as read");
    assert!(matches!(void(&table, &counted(), "crd_1", None).await, VoidReply::Voided(_)));
    assert_eq!(all(&table).await, [[5, 0, 0, 0, 0, 5]]);
    // Its details were removed by hand.
    let hash = table.bucket.credits(&OwnerName::of_user(&user()));
    let found = place(&table, "crd_1").await;
    table.redis.run::<()>(&["HDEL", &hash, "c.b1"]).await;
    assert!(table.store.credit_details(&table.bucket, &found).await.unwrap().is_none());
    assert!(matches!(void(&table, &counted(), "crd_1", None).await, VoidReply::Missing));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_list_shows_what_has_ended_and_writes_nothing() {
    let table = Table::new().await;
    assert_eq!(all(&table).await, Vec::<[u64; 6]>::new());
    for (id, steps, expires_at) in [("crd_1", 1, None), ("crd_2", 2, Some(LATER)), ("crd_3", 3, Some(LATER))] {
        add(&table, id, steps, expires_at).await;
    }
    let (operation, reply) = reserve(&table, overflowing(&table, 5)).await;
    let state = held(reply);
    let expected = OverflowState {
        amount: amount(3),
        used: amount(0),
        held: amount(3),
        balance: BalanceState {
            remaining: amount(3),
            uncovered: amount(0),
            expires_next: Some((amount(2), ms(LATER))),
        },
    };
    assert_eq!((state.held, state.overflow), (amount(2), Some(expected)), "2 of credit 2, and 1 of credit 3");
    assert_eq!(all(&table).await, [[3, 2, 1, 0, 0, 0], [2, 0, 2, 0, 0, 0], [1, 1, 0, 0, 0, 0]]);
    let id = quotagate::domain::metering::reservation::ReservationId {
        name: operation.name,
        created_at_ms: ms(NOON),
        bucket: table.bucket.number(),
    };
    let committed = settled(table.commit(&id).await);
    let taken: Vec<_> = committed.overflow.iter().map(|overflow| (overflow.from.as_str(), overflow.amount)).collect();
    assert_eq!((committed.accounts[0].state, taken), (tally(2, 0), vec![("g", amount(3))]));
    table.at(LATER).await;
    let before = table.dump().await;
    let page = list(&table, None, 2).await;
    assert_eq!(page.credits.iter().map(figures).collect::<Vec<_>>(), [[3, 0, 0, 1, 2, 0], [2, 0, 0, 2, 0, 0]]);
    assert_eq!(page.credits[0].amounts.state, CreditState::Lapsed);
    let rest = list(&table, page.next, 2).await;
    assert_eq!((figures(&rest.credits[0]), rest.credits.len(), rest.next), ([1, 1, 0, 0, 0, 0], 1, None));
    assert_eq!(table.dump().await, before);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn credits_that_have_expired_make_room_for_others() {
    let table = Table::new().await;
    for number in 0..64 {
        add(&table, &format!("crd_{number}"), 1, Some(LATER)).await;
    }
    table.at(LATER).await;

    add(&table, "crd_64", 1, None).await;

    let figures = all(&table).await;
    assert_eq!((figures.len(), figures[0], figures[1]), (65, [1, 1, 0, 0, 0, 0], [1, 0, 0, 0, 1, 0]));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn credits_do_not_pay_while_expired_holds_occupy_the_quota() {
    let table = Table::new().await;
    add(&table, "crd_1", 50, None).await;
    let of_200 = |steps| {
        let mut owner = table.owner("u", &[("g", DAY_1, steps, 200)]);
        (owner.groups[0].quota, owner.groups[0].balance) = (Some(amount(200)), Some(balance()));
        owner
    };
    for _ in 0..200 {
        held(reserve(&table, of_200(1)).await.1);
    }
    table.clock(ms(NOON) + 60_000).await;

    let (_, first) = reserve(&table, of_200(100)).await;
    let (_, second) = reserve(&table, of_200(100)).await;

    assert!(matches!(&first, ReserveReply::Again(ran) if ran.reclaimed == 64), "{first:?}");
    let state = held(second);
    assert_eq!((state.held, state.overflow), (amount(172), None), "72 expired ones are still there, and all fits");
}

/// Calls in a limit group `g`, the last of which exceeds the quota, and in a group `h` with room.
struct Case {
    what: &'static str,
    credits: &'static [(u64, Option<&'static str>)],
    quota: Option<u64>,
    limit: u64,
    is_hard: bool,
    calls: [u64; 2],
    /// The credits as stored before the last call, if they are others.
    list: Option<&'static str>,
    /// The straight path decides the last call.
    is_straight: bool,
}

const PLAIN: Case = Case {
    what: "the first credit covers the excess",
    credits: &[(9, None)],
    quota: Some(2),
    limit: 2,
    is_hard: true,
    calls: [1, 4],
    list: None,
    is_straight: true,
};

fn cases() -> Vec<Case> {
    let general = Case { is_straight: false, ..PLAIN };
    let listed = |what, list, is_straight| Case { what, list: Some(list), is_straight, ..PLAIN };
    vec![
        PLAIN,
        Case { what: "soft", limit: MOST, is_hard: false, ..PLAIN },
        Case { what: "one that expires", credits: &[(9, Some(LATER)), (9, None)], ..PLAIN },
        Case { what: "all of one that expires", credits: &[(3, Some(LATER)), (9, None)], ..general },
        Case { what: "two that expire together", credits: &[(9, Some(LATER)), (9, Some(LATER))], ..general },
        Case { what: "credits only", quota: Some(0), limit: 0, ..PLAIN },
        Case { what: "credits only, and an amount of 0", quota: Some(0), limit: 0, calls: [1, 0], ..general },
        Case { what: "two credits", credits: &[(2, None), (9, None)], ..general },
        Case { what: "a threshold", credits: &[(5, None)], ..general },
        Case { what: "too little", credits: &[(2, None)], ..general },
        Case { what: "without a quota, beyond what a counter holds", quota: None, limit: 5, calls: [1, 7], ..general },
        Case {
            what: "a sum that is not exact",
            credits: &[(MOST, None)],
            quota: Some(12),
            limit: 12,
            calls: [12, MOST - 10],
            ..general
        },
        listed("some was used without a credit", "9 4 2 -;b1:9:9:0:0:0:0:*", true),
        listed("all of the only one, which expires", "3 0 2 2;b1:3:3:0:0:0:0:1801400400000", true),
        listed("it expires now", "9 0 2 -;b1:9:9:0:0:0:0:1801396800000", false),
        listed("other thresholds", "9 0 - -;b1:9:9:0:0:0:0:*", false),
        listed("damaged: less in all than in the first", "2 0 2 2;b1:9:9:0:0:0:0:*", false),
        listed("damaged: some remains of an ended one", "9 0 2 -;b1:9:9:0:0:0:0:lapsed", false),
    ]
}

impl Case {
    fn owner(&self, table: &Table, steps: u64, is_first: bool) -> Owner {
        let mut owner = table.owner("u", &[("g", DAY_1, steps, self.limit), ("h", DAY_1, 1, 100)]);
        let g = &mut owner.groups[0];
        (g.quota, g.is_hard, g.balance) = (self.quota.map(amount), self.is_hard, Some(balance()));
        if !is_first {
            owner.groups.swap(0, 1);
        }
        owner
    }

    /// What the calls of a new user answer and leave, and whether the straight path decided the last one.
    async fn play(&self, table: &Table, is_first: bool) -> (Vec<String>, bool) {
        let keys = table.owner("u", &[]).keys;
        let hash = table.bucket.credits(&OwnerName::of_user(&user()));
        table.redis.run::<i64>(&["DEL", &keys.account, &keys.holds(), &hash]).await;
        for (number, (steps, expires_at)) in self.credits.iter().enumerate() {
            add(table, &format!("crd_{number}"), *steps, *expires_at).await;
        }
        let (mut told, mut is_straight) = (Vec::new(), false);
        for (number, steps) in self.calls.into_iter().enumerate() {
            if let (1, Some(list)) = (number, self.list) {
                table.redis.run::<i64>(&["HSET", &keys.account, "c.credits", list]).await;
            }
            let (version, operation) = (version(table).await, keyed(&number.to_string(), "x"));
            let record = table.bucket.operation(&operation.name);
            table.redis.run::<i64>(&["DEL", &record]).await;
            let belief = Belief { version: &version, ..BELIEF };
            let reply = table.reserve_as(&operation, belief, 60_000, &[self.owner(table, steps, is_first)]).await;
            let stored: String = table.redis.run(&["GET", &record]).await;
            let (head, rest) = stored.split_once('\n').unwrap();
            let words: Vec<&str> = head.split(' ').collect();
            // Only the straight path writes the name of the program.
            is_straight = words.get(3).is_some_and(|program| *program != "-");
            told.push(format!("{reply:?} {:?} {:?} {rest}", &words[..words.len().min(3)], words.get(4..)));
        }
        let mut account = table.counters().await;
        // It contains the time.
        account.remove("version");
        let holds: Vec<String> = table.redis.run(&["ZRANGE", &keys.holds(), "0", "-1"]).await;
        let ended: BTreeMap<String, String> = table.redis.run(&["HGETALL", &hash]).await;
        let alerts: u64 = table.redis.run(&["XLEN", &table.bucket.outbox()]).await;
        told.push(format!("{account:?} {holds:?} {ended:?} {alerts}"));
        (told, is_straight)
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_reserve_that_exceeds_its_quota_is_decided_alike_on_both_paths() {
    let (straight, mut general) = (Table::new().await, Table::new().await);
    general.store.straight_path = false;
    for case in cases() {
        for is_first in [true, false] {
            let (expected, never) = case.play(&general, is_first).await;
            let (told, is_straight) = case.play(&straight, is_first).await;
            assert_eq!(told, expected, "{}", case.what);
            assert_eq!((is_straight, never), (case.is_straight, false), "{}", case.what);
        }
    }
}
