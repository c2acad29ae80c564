//! Checks a run by the users' counters before and after it.

use std::collections::{BTreeMap, BTreeSet};

use rust_decimal::{Decimal, RoundingStrategy};
use serde::Serialize;

use super::exact::Exact;
use super::usage::{Counter, Usage};

/// How many users close to a quota are listed.
const NEAREST: usize = 10;
const TOKENS: &str = "tokens";

/// A user's counter with its quota.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct QuotaUse {
    pub user_id: String,
    pub group_id: String,
    pub unit: String,
    pub used: Exact,
    pub held: Exact,
    /// Quota plus grants.
    pub quota: Exact,
    /// The used share of the quota, rounded down to two decimals; `None` for a quota of 0.
    pub percent: Option<Exact>,
}

impl QuotaUse {
    /// The exact used share of the quota.
    fn share(&self) -> Option<Decimal> {
        self.used.0.checked_div(self.quota.0)
    }
}

/// The counters of one group, summed over all users.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct GroupSum {
    pub group_id: String,
    pub unit: String,
    pub used: Exact,
    pub held: Exact,
}

/// The users' tokens compared with the committed ones.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[serde(untagged)]
pub enum TokenCheck {
    /// The increase of the group's counters, `used_after - used_before`, was compared.
    #[serde(rename_all = "camelCase")]
    Compared { group_id: String, used_before: Exact, used_after: Exact, committed: Exact, equal: bool },
    /// Nothing could be compared, for this reason.
    #[serde(rename_all = "camelCase")]
    NotCompared { not_compared: String },
}

/// The users closest to a quota, each with its closest group.
pub fn nearest_to_quota(usages: &[Usage]) -> Vec<QuotaUse> {
    let mut nearest: Vec<QuotaUse> = usages
        .iter()
        .filter_map(|usage| {
            let own = usage.counters.iter().filter(|it| it.is_per_user());
            own.filter_map(|counter| quota_use(usage, counter))
                .filter(|quota_use| quota_use.percent.is_some())
                .max_by_key(QuotaUse::share)
        })
        .collect();
    nearest.sort_by(|a, b| {
        // Sorts names that end in numbers by the number.
        let by_name = |it: &QuotaUse| (it.user_id.len(), it.user_id.clone());
        b.share().cmp(&a.share()).then_with(|| by_name(a).cmp(&by_name(b)))
    });
    nearest.truncate(NEAREST);
    nearest
}

/// Counters above their quota, except soft ones and those that were above it before the run.
pub fn above_quota(
    before: &[Usage],
    after: &[Usage],
    soft_groups: &BTreeMap<String, BTreeSet<String>>,
) -> Vec<QuotaUse> {
    let id = |usage: &Usage, counter: &Counter| (usage.user_id.clone(), counter.group_id.clone());
    let above_before: BTreeSet<(String, String)> = counters(before)
        .filter(|(_, counter)| counter.is_above_quota())
        .map(|(usage, counter)| id(usage, counter))
        .collect();
    let is_soft = |usage: &Usage, counter: &Counter| {
        let plan_id = usage.plan_id.as_ref();
        plan_id.and_then(|plan_id| soft_groups.get(plan_id)).is_some_and(|groups| groups.contains(&counter.group_id))
    };
    counters(after)
        .filter(|(_, counter)| counter.is_above_quota())
        .filter(|(usage, counter)| !is_soft(usage, counter))
        .filter(|(usage, counter)| !above_before.contains(&id(usage, counter)))
        .filter_map(|(usage, counter)| quota_use(usage, counter))
        .collect()
}

/// The counters of each group summed over all users, except shared counters.
pub fn sums_by_group(usages: &[Usage]) -> Vec<GroupSum> {
    let mut sums: BTreeMap<&str, GroupSum> = BTreeMap::new();
    for (_, counter) in counters(usages).filter(|(_, counter)| counter.is_per_user()) {
        let sum = sums.entry(&counter.group_id).or_insert_with(|| GroupSum {
            group_id: counter.group_id.clone(),
            unit: counter.unit.clone(),
            used: Exact::default(),
            held: Exact::default(),
        });
        sum.used.0 = sum.used.0.saturating_add(counter.used.0);
        sum.held.0 = sum.held.0.saturating_add(counter.held.0);
    }
    sums.into_values().collect()
}

/// Compares the tokens that the run added to the users' counters with the committed ones, in the named group or the
/// only one that counts tokens.
pub fn check_tokens(before: &[Usage], after: &[Usage], named_group: Option<&str>, committed: u64) -> TokenCheck {
    let (sums_before, sums_after) = (sums_by_group(before), sums_by_group(after));
    let group = match choose_group(&sums_after, named_group) {
        Ok(group) => group,
        Err(not_compared) => return TokenCheck::NotCompared { not_compared },
    };
    let group_id = &group.group_id;
    if windows(before, group_id) != windows(after, group_id) {
        return TokenCheck::NotCompared { not_compared: format!("a window of {group_id} turned during the run") };
    }
    let used_before = sums_before.iter().find(|sum| sum.group_id == *group_id).map_or(Exact::default(), |sum| sum.used);
    TokenCheck::Compared {
        group_id: group_id.clone(),
        used_before,
        used_after: group.used,
        committed: committed.into(),
        equal: group.used.0 - used_before.0 == Decimal::from(committed),
    }
}

fn choose_group<'a>(sums: &'a [GroupSum], named_group: Option<&str>) -> Result<&'a GroupSum, String> {
    if let Some(name) = named_group {
        return sums
            .iter()
            .find(|sum| sum.group_id == name)
            .ok_or_else(|| format!("the users have no group {name} of their own"));
    }
    let in_tokens: Vec<&GroupSum> = sums.iter().filter(|sum| sum.unit == TOKENS).collect();
    match in_tokens.as_slice() {
        [group] => Ok(group),
        [] => Err("the users have no group that counts tokens".to_owned()),
        several => {
            let names: Vec<&str> = several.iter().map(|sum| sum.group_id.as_str()).collect();
            Err(format!("several groups count tokens ({}), choose one with --tokens-group", names.join(", ")))
        }
    }
}

/// The starts of the users' windows of a group.
fn windows<'a>(usages: &'a [Usage], group_id: &str) -> BTreeMap<&'a str, Option<&'a str>> {
    counters(usages)
        .filter(|(_, counter)| counter.group_id == group_id)
        .map(|(usage, counter)| {
            let period = counter.period.as_ref();
            let start = period.and_then(|period| period.start.as_deref());
            (usage.user_id.as_str(), start)
        })
        .collect()
}

fn counters(usages: &[Usage]) -> impl Iterator<Item = (&Usage, &Counter)> {
    usages.iter().flat_map(|usage| usage.counters.iter().map(move |counter| (usage, counter)))
}

/// `None` without a quota.
fn quota_use(usage: &Usage, counter: &Counter) -> Option<QuotaUse> {
    let quota = counter.limit()?;
    let percent = counter.used.0.checked_div(quota).map(|share| {
        // Rounded down, so that 100 means that nothing is left.
        (share * Decimal::ONE_HUNDRED).round_dp_with_strategy(2, RoundingStrategy::ToZero)
    });
    Some(QuotaUse {
        user_id: usage.user_id.clone(),
        group_id: counter.group_id.clone(),
        unit: counter.unit.clone(),
        used: counter.used,
        held: counter.held,
        quota: Exact(quota),
        percent: percent.map(Exact),
    })
}

#[cfg(test)]
mod tests {
    use serde_json::{Value, json};

    use super::*;

    fn counter(group: &str, quota: Value, used: u64, held: u64) -> Value {
        json!({
            "groupId": group, "label": group, "unit": group, "quota": quota, "granted": 0,
            "count": used + held, "used": used, "held": held, "blocked": 0, "remaining": 0,
            "overage": 0, "percentUsed": null, "resetsAt": null, "scope": {"user": "u"},
            "period": {"start": "2026-01-01T00:00:00Z", "end": "2026-02-01T00:00:00Z"},
        })
    }

    fn usage(user: &str, counters: Vec<Value>) -> Usage {
        let counters = Value::Array(counters);
        serde_json::from_value(json!({"userId": user, "planId": "p", "period": null, "counters": counters})).unwrap()
    }

    fn no_soft() -> BTreeMap<String, BTreeSet<String>> {
        BTreeMap::new()
    }

    #[test]
    fn the_nearest_come_first_and_groups_without_a_real_quota_are_left_out() {
        let usages: Vec<Usage> = (0..12)
            .map(|n| {
                let counters = vec![
                    counter("tokens", json!(300), 100 + n, 0),
                    counter("requests", json!(300), 99, 0),
                    counter("count", json!(null), 1_000, 0),
                    counter("cents", json!(0), 1, 0),
                ];
                usage(&format!("u{n}"), counters)
            })
            .collect();
        let nearest = nearest_to_quota(&usages);
        assert_eq!(nearest.len(), 10);
        assert_eq!(nearest[0].user_id, "u11");
        assert_eq!(nearest[9].user_id, "u2");
        assert!(nearest.iter().all(|it| it.group_id == "tokens"));
        assert_eq!(nearest[9].percent, Exact::parse("34"));
        assert_eq!(nearest[8].percent, Exact::parse("34.33"));
    }

    #[test]
    fn ties_stand_in_the_order_of_the_users_numbers() {
        let usages: Vec<Usage> =
            [10, 9].map(|n| usage(&format!("u{n}"), vec![counter("tokens", json!(4), 4, 0)])).into();
        assert_eq!(nearest_to_quota(&usages)[0].user_id, "u9");
    }

    #[test]
    fn a_counter_is_above_its_quota_with_what_it_holds_and_at_quota_zero() {
        let at = |used, held| vec![usage("u", vec![counter("tokens", json!(10), used, held)])];
        assert!(above_quota(&[], &at(10, 0), &no_soft()).is_empty());
        assert_eq!(above_quota(&[], &at(10, 1), &no_soft()).len(), 1);
        let zero = [usage("u", vec![counter("tokens", json!(0), 1, 0)])];
        assert_eq!(above_quota(&[], &zero, &no_soft())[0].percent, None);
    }

    #[test]
    fn grants_raise_the_quota() {
        let mut granted = counter("tokens", json!(10), 12, 0);
        granted["granted"] = json!(2);
        assert!(above_quota(&[], &[usage("u", vec![granted])], &no_soft()).is_empty());
    }

    #[test]
    fn soft_groups_and_what_was_above_before_are_not_held_against_the_run() {
        let over = [usage("u", vec![counter("tokens", json!(10), 11, 0)])];
        assert!(above_quota(&over, &over, &no_soft()).is_empty());
        let soft = BTreeMap::from([("p".to_owned(), BTreeSet::from(["tokens".to_owned()]))]);
        assert!(above_quota(&[], &over, &soft).is_empty());
    }

    fn totals(used: [u64; 2]) -> Vec<Usage> {
        let user = |n: usize| {
            let tokens = counter("tokens", json!(1_000), used[n], 0);
            usage(&format!("u{n}"), vec![tokens, counter("count", json!(9), 1, 0)])
        };
        vec![user(0), user(1)]
    }

    #[test]
    fn tokens_are_compared_by_what_the_run_added() {
        let check = |committed| check_tokens(&totals([5, 0]), &totals([100, 20]), None, committed);
        let compared = |committed: u64, equal| TokenCheck::Compared {
            group_id: "tokens".to_owned(),
            used_before: Exact::from(5),
            used_after: Exact::from(120),
            committed: Exact::from(committed),
            equal,
        };
        assert_eq!(check(115), compared(115, true));
        assert_eq!(check(116), compared(116, false));
    }

    fn why_not(before: &[Usage], after: &[Usage], group: Option<&str>) -> String {
        match check_tokens(before, after, group, 0) {
            TokenCheck::NotCompared { not_compared } => not_compared,
            compared => panic!("{compared:?}"),
        }
    }

    #[test]
    fn what_cannot_be_compared_says_why() {
        let same = totals([1, 2]);
        assert_eq!(why_not(&same, &same, Some("x")), "the users have no group x of their own");
        assert_eq!(why_not(&[], &[], None), "the users have no group that counts tokens");

        let mut two = totals([1, 2]);
        two[0].counters[1].unit = TOKENS.to_owned();
        assert_eq!(
            why_not(&two, &two, None),
            "several groups count tokens (count, tokens), choose one with --tokens-group"
        );

        let mut turned = totals([1, 2]);
        turned[1].counters[0].period = None;
        assert_eq!(why_not(&same, &turned, None), "a window of tokens turned during the run");
    }

    #[test]
    fn counters_that_users_share_are_not_summed() {
        let mut shared = counter("tokens", json!(10), 4, 0);
        shared["scope"] = json!({"app": "default"});
        let usages = [usage("u", vec![shared, counter("count", json!(9), 1, 2)])];
        let sums = sums_by_group(&usages);
        assert_eq!(sums.len(), 1);
        assert_eq!((sums[0].used, sums[0].held), (Exact::from(1), Exact::from(2)));
    }
}
