//! Verifies counters: recomputes `used` and rolled quota from the ledger and `held` from live holds, and reports
//! differences.

use std::collections::{BTreeMap, HashMap};

use super::ledger::{Charge, Rolled};
use crate::domain::configuration::scope::OwnerName;
use crate::domain::values::amount::Amount;
use crate::domain::values::ids::GroupId;

/// One window of one counter: its group and sequence number.
pub type Account = (GroupId, String);

/// The sums of the retained entries for one window of one counter. `I` identifies entries.
#[derive(Clone, Debug, PartialEq, Eq)]
struct Chain<I> {
    /// `used` before the first entry; 0 unless entries were trimmed.
    opening: i64,
    /// Sum of all changes.
    sum: i64,
    /// `used` after the last entry, according to that entry.
    balance: i64,
    last: I,
    /// Pairs of neighbouring entries whose balances are inconsistent.
    gaps: Vec<(I, I)>,
    /// How many unreadable entries come before the last one, in this window or others.
    unreadable: u64,
    /// What was rolled over into the window, recomputed, and the entry about it.
    rolled: Option<(Amount, I)>,
}

/// The sums of the retained entries of a ledger.
#[derive(Clone, Debug)]
pub struct Proof<I> {
    /// Nothing was ever trimmed, so every window begins at 0.
    whole: bool,
    /// Entries may have been trimmed while they were read.
    trimmed: bool,
    /// The number of entries so far whose charges cannot be read.
    unreadable: u64,
    owners: HashMap<OwnerName, BTreeMap<Account, Chain<I>>>,
}

/// A counter as it is stored.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct StoredCounter {
    pub group: GroupId,
    pub window_seq: String,
    pub used: Amount,
    pub held: Amount,
    /// What was rolled over into the window; None if its quota is null or 0, so that it does not count.
    pub rolled: Option<Amount>,
    /// The sum of live holds in this window; None if there are too many to add up in one step.
    pub holds: Option<Amount>,
}

/// An owner's counters as they are stored.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct StoredCounters {
    pub counters: Vec<StoredCounter>,
    /// `used` of closed windows. Of a credit, by `b2`, `b2.credited`, `b2.lapsed` and `b2.voided`, what it has used, its
    /// amount, and what lapsed or was voided.
    pub closed: BTreeMap<Account, Amount>,
    /// Sums that must be equal: what is stored, and what it must be.
    pub sums: Vec<(Account, Amount, Amount)>,
    /// The oldest retained closed window per group.
    pub oldest: BTreeMap<GroupId, u64>,
    /// The owner's state is missing although such owners never expire.
    pub lost: bool,
}

/// The kind of a difference.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Figure {
    /// `used` of the current window.
    Used,
    /// `used` of a closed window.
    Closed,
    /// `held` of the current window.
    Held,
    /// An amount of a credit, or a sum of credits.
    Credits,
    /// What was rolled over into the current window.
    Rolled,
    /// A window of the ledger does not exist in Redis; `stored` is 0.
    Gone,
}

impl Figure {
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Used => "used",
            Self::Closed => "used (closed window)",
            Self::Held => "held",
            Self::Credits => "credits",
            Self::Rolled => "rolled",
            Self::Gone => "gone",
        }
    }
}

/// A counter that differs from the ledger or the holds; amounts in steps of the group's unit.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Drift<I> {
    pub owner: OwnerName,
    pub group: GroupId,
    pub window_seq: String,
    pub figure: Figure,
    pub stored: i64,
    pub proven: i64,
    /// The entries between which the balances are inconsistent, otherwise the last entry; none for `held`.
    pub entries: Vec<I>,
    /// An unreadable entry may explain the difference.
    pub doubtful: bool,
}

impl<I: Clone> Proof<I> {
    pub fn new(whole: bool) -> Self {
        Self { whole, trimmed: false, unreadable: 0, owners: HashMap::new() }
    }

    /// Adds an entry in the order of the ledger. `trimmed` means that entries before it may be missing, so the sums of
    /// its windows start again.
    pub fn add(&mut self, id: &I, charges: &[Charge], trimmed: bool) {
        self.trimmed |= trimmed;
        for charge in charges {
            let rolled = charge.rolled.as_ref().map(|rolled| (self.leftover(charge, rolled), id.clone()));
            let balance = steps(charge.balance);
            let before = balance - charge.change;
            let accounts = self.owners.entry(charge.owner.clone()).or_default();
            let account = (charge.group.clone(), charge.window_seq.to_string());
            let opening = if self.whole && self.unreadable == 0 { 0 } else { before };
            let unreadable = self.unreadable;
            let (last, gaps) = (id.clone(), Vec::new());
            let fresh = Chain { opening, sum: 0, balance: opening, last, gaps, unreadable, rolled: None };
            let chain = accounts.entry(account).or_insert_with(|| fresh.clone());
            let missing = trimmed || chain.unreadable < unreadable;
            if missing && chain.balance != before {
                *chain = Chain { opening: before, rolled: chain.rolled.take(), ..fresh };
            } else if chain.balance != before {
                chain.gaps.push((chain.last.clone(), id.clone()));
            }
            chain.sum += charge.change;
            chain.balance = balance;
            chain.last = id.clone();
            chain.unreadable = unreadable;
            chain.rolled = rolled.or(chain.rolled.take());
        }
    }

    /// What was rolled over into a window, according to the entries about the window before.
    fn leftover(&self, charge: &Charge, rolled: &Rolled) -> Amount {
        let Some(from) = &rolled.from else { return rolled.amount };
        let Some(window_seq) = &from.window_seq else { return from.ending.leaves(from.max) };
        let account = (charge.group.clone(), window_seq.clone());
        let chain = self.owners.get(&charge.owner).and_then(|accounts| accounts.get(&account));
        let mut ending = from.ending;
        match chain {
            Some(chain) => {
                let used = u64::try_from(chain.opening + chain.sum).unwrap_or_default();
                ending.used = Amount::from_steps(used).unwrap_or(Amount::LARGEST);
                ending.rolled = chain.rolled.as_ref().map_or(ending.rolled, |(amount, _)| *amount);
            }
            None if self.is_complete() => ending.used = Amount::ZERO,
            None => {}
        }
        ending.leaves(from.max)
    }

    /// No entry is missing or unreadable.
    fn is_complete(&self) -> bool {
        self.whole && !self.trimmed && self.unreadable == 0
    }

    /// Adds an entry whose charges cannot be read; it may have changed any window.
    pub fn add_unreadable(&mut self) {
        self.unreadable += 1;
    }

    pub fn owners(&self) -> impl Iterator<Item = &OwnerName> {
        self.owners.keys()
    }

    pub fn knows(&self, owner: &OwnerName) -> bool {
        self.owners.contains_key(owner)
    }

    /// The number of windows in the entries.
    pub fn accounts(&self) -> usize {
        self.owners.values().map(BTreeMap::len).sum()
    }

    /// All differences of an owner's stored counters.
    pub fn compare(&self, owner: &OwnerName, stored: &StoredCounters) -> Vec<Drift<I>> {
        let nothing = BTreeMap::new();
        let chains = self.owners.get(owner).unwrap_or(&nothing);
        let mut drifts = Vec::new();
        let mut report = |(group, window_seq): (&GroupId, &str), figure, stored: i64, proven: i64, entries: Vec<I>| {
            let figure = if is_credit(window_seq) && figure != Figure::Gone { Figure::Credits } else { figure };
            if stored != proven || figure == Figure::Gone {
                let (owner, group, window_seq) = (owner.clone(), group.clone(), window_seq.to_owned());
                let doubtful = match (figure, chains.get(&(group.clone(), window_seq.clone()))) {
                    (Figure::Held | Figure::Gone, _) => false,
                    (_, Some(chain)) => chain.unreadable < self.unreadable,
                    (_, None) => self.unreadable > 0,
                };
                drifts.push(Drift { owner, group, window_seq, figure, stored, proven, entries, doubtful });
            }
        };
        for counter in &stored.counters {
            let name = (&counter.group, counter.window_seq.as_str());
            if let Some((proven, entries)) = self.proven(chains, &counter.group, &counter.window_seq) {
                report(name, Figure::Used, steps(counter.used), proven, entries);
            }
            if let Some(holds) = counter.holds {
                report(name, Figure::Held, steps(counter.held), steps(holds), Vec::new());
            }
            let rolled = self.proven_rolled(chains, &counter.group, &counter.window_seq);
            if let (Some(stored), Some((proven, entries))) = (counter.rolled, rolled) {
                report(name, Figure::Rolled, steps(stored), steps(proven), entries);
            }
        }
        for ((group, window_seq), used) in &stored.closed {
            if let Some((proven, entries)) = self.proven(chains, group, window_seq) {
                report((group, window_seq), Figure::Closed, steps(*used), proven, entries);
            }
        }
        for ((group, window_seq), sum, parts) in &stored.sums {
            report((group, window_seq), Figure::Credits, steps(*sum), steps(*parts), Vec::new());
        }
        for ((group, window_seq), chain) in chains {
            let proven = chain.opening + chain.sum;
            if proven != 0 && stored.misses(group, window_seq) {
                report((group, window_seq), Figure::Gone, 0, proven, vec![chain.last.clone()]);
            }
        }
        drifts
    }

    /// What was rolled over into a window according to the entries. None if the entry about it may be missing.
    fn proven_rolled(
        &self,
        chains: &BTreeMap<Account, Chain<I>>,
        group: &GroupId,
        window_seq: &str,
    ) -> Option<(Amount, Vec<I>)> {
        let chain = chains.get(&(group.clone(), window_seq.to_owned()));
        match chain.and_then(|chain| chain.rolled.clone()) {
            Some((amount, entry)) => Some((amount, vec![entry])),
            None => self.is_complete().then(|| (Amount::ZERO, Vec::new())),
        }
    }

    /// `used` according to the entries, and the entries to inspect if it differs. None if no retained entry is about
    /// the window but earlier ones may have been.
    fn proven(&self, chains: &BTreeMap<Account, Chain<I>>, group: &GroupId, window_seq: &str) -> Option<(i64, Vec<I>)> {
        match chains.get(&(group.clone(), window_seq.to_owned())) {
            None if window_seq.starts_with('c') => None,
            None => self.whole.then(|| (0, Vec::new())),
            Some(chain) => {
                let gaps = chain.gaps.iter().flat_map(|(one, other)| [one.clone(), other.clone()]);
                let gaps: Vec<I> = gaps.collect();
                Some((chain.opening + chain.sum, if gaps.is_empty() { vec![chain.last.clone()] } else { gaps }))
            }
        }
    }
}

impl StoredCounters {
    /// Whether a window of the ledger should exist but does not.
    fn misses(&self, group: &GroupId, window_seq: &str) -> bool {
        let current = self.counters.iter().find(|counter| counter.group == *group);
        let is_closed = self.closed.contains_key(&(group.clone(), window_seq.to_owned()));
        let Some(current) = current else { return self.lost && !is_closed };
        let kept = current.window_seq == window_seq || is_closed;
        let (Some(number), Some(newest)) = (number(window_seq), number(&current.window_seq)) else { return false };
        let oldest = self.oldest.get(group).copied().unwrap_or(newest);
        !kept && number < newest && number >= oldest
    }
}

/// Of a balance, `b` and the number of the credit take the place of a window.
fn is_credit(window_seq: &str) -> bool {
    window_seq.starts_with('b')
}

fn number(window_seq: &str) -> Option<u64> {
    window_seq.trim_start_matches('c').parse().ok()
}

fn steps(amount: Amount) -> i64 {
    i64::try_from(amount.steps()).unwrap_or(i64::MAX)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::domain::metering::rollover::EndingWindow;
    use crate::domain::reporting::ledger::RolledFrom;
    use crate::domain::values::ids::UserId;

    fn owner() -> OwnerName {
        OwnerName::of_user(&UserId::parse("u").unwrap())
    }

    fn group() -> GroupId {
        GroupId::parse("g").unwrap()
    }

    fn amount(steps: u64) -> Amount {
        Amount::from_steps(steps).unwrap()
    }

    fn charge(window_seq: &str, change: i64, balance: u64) -> Charge {
        Charge {
            owner: owner(),
            group: group(),
            from: None,
            window_seq: window_seq.into(),
            change,
            balance: amount(balance),
            limit: None,
            window: None,
            closed: false,
            rolled: None,
        }
    }

    fn stored_counters(window_seq: &str, used: u64, held: u64, holds: u64) -> StoredCounters {
        let (used, held, holds) = (amount(used), amount(held), Some(amount(holds)));
        let (window_seq, rolled) = (window_seq.to_owned(), Some(Amount::ZERO));
        let counter = StoredCounter { group: group(), window_seq, used, held, rolled, holds };
        StoredCounters { counters: vec![counter], ..StoredCounters::default() }
    }

    fn figures(drifts: &[Drift<u64>]) -> Vec<(Figure, i64, i64, Vec<u64>)> {
        drifts.iter().map(|drift| (drift.figure, drift.stored, drift.proven, drift.entries.clone())).collect()
    }

    /// Name, whether the ledger is complete, changes and balances, the stored counter, the differences.
    type Case = (&'static str, bool, &'static [(i64, u64)], StoredCounters, &'static [FoundDrift]);
    type FoundDrift = (Figure, i64, i64, &'static [u64]);

    #[test]
    fn differences_are_reported_with_their_entries() {
        let table: [Case; 9] = [
            ("agree", true, &[(3, 3), (2, 5)], stored_counters("1", 5, 0, 0), &[]),
            (
                "one too many at the end",
                true,
                &[(3, 3), (2, 5)],
                stored_counters("1", 6, 0, 0),
                &[(Figure::Used, 6, 5, &[1])],
            ),
            (
                "one too many in the middle",
                true,
                &[(3, 3), (2, 6)],
                stored_counters("1", 6, 0, 0),
                &[(Figure::Used, 6, 5, &[0, 1])],
            ),
            (
                "before the first entry",
                true,
                &[(3, 4)],
                stored_counters("1", 4, 0, 0),
                &[(Figure::Used, 4, 3, &[0, 0])],
            ),
            ("the same with a trimmed ledger", false, &[(3, 4)], stored_counters("1", 4, 0, 0), &[]),
            ("no entry at all", true, &[], stored_counters("1", 1, 0, 0), &[(Figure::Used, 1, 0, &[])]),
            ("no entry retained", false, &[], stored_counters("1", 1, 0, 0), &[]),
            ("held without a hold", true, &[], stored_counters("1", 0, 2, 1), &[(Figure::Held, 2, 1, &[])]),
            ("put right afterwards", true, &[(3, 3), (2, 6), (1, 6)], stored_counters("1", 6, 0, 0), &[]),
        ];
        for (what, whole, entries, stored, expected) in table {
            let mut proof = Proof::new(whole);
            for (id, (change, balance)) in (0u64..).zip(entries) {
                proof.add(&id, &[charge("1", *change, *balance)], false);
            }
            let expected: Vec<_> = expected
                .iter()
                .map(|(figure, stored, proven, ids)| (*figure, *stored, *proven, ids.to_vec()))
                .collect();
            assert_eq!(figures(&proof.compare(&owner(), &stored)), expected, "{what}");
        }
    }

    #[test]
    fn a_closed_window_is_verified_and_a_lost_one_is_reported() {
        let mut proof = Proof::new(true);
        for (id, window_seq) in [(0u64, "1"), (1, "2"), (2, "3"), (3, "4")] {
            proof.add(&id, &[charge(window_seq, 7, 7)], false);
        }
        let closed = |entries: &[(&str, u64)]| {
            entries.iter().map(|(window_seq, used)| ((group(), (*window_seq).to_owned()), amount(*used))).collect()
        };
        let mut stored = stored_counters("4", 7, 0, 0);
        stored.oldest.insert(group(), 2);
        stored.closed = closed(&[("2", 7), ("3", 7)]);
        assert_eq!(figures(&proof.compare(&owner(), &stored)), [], "the first one is older than the retained entries");
        stored.closed = closed(&[("3", 8)]);
        let expected = [(Figure::Closed, 8, 7, vec![2]), (Figure::Gone, 0, 7, vec![1])];
        assert_eq!(figures(&proof.compare(&owner(), &stored)), expected);
        let gone = StoredCounters { lost: true, ..StoredCounters::default() };
        assert_eq!(proof.compare(&owner(), &gone).len(), 4);
        assert_eq!(proof.compare(&owner(), &StoredCounters::default()), [], "an owner that may be forgotten was");
    }

    #[test]
    fn a_difference_after_an_unreadable_entry_is_doubtful_until_the_next_balance() {
        let mut proof = Proof::new(true);
        proof.add(&0, &[charge("1", 3, 3)], false);
        proof.add_unreadable();
        let doubts = |proof: &Proof<u64>, used| -> Vec<_> {
            let drifts = proof.compare(&owner(), &stored_counters("1", used, 0, 0));
            drifts.iter().map(|drift| (drift.proven, drift.doubtful)).collect()
        };
        assert_eq!(doubts(&proof, 3), [], "it was of another");
        assert_eq!(doubts(&proof, 5), [(3, true)]);
        proof.add(&2, &[charge("1", 1, 6)], false);
        assert_eq!(doubts(&proof, 6), []);
        assert_eq!(doubts(&proof, 7), [(6, false)]);
        proof.add(&3, &[charge("2", 1, 5)], false);
        assert_eq!(
            proof.compare(&owner(), &stored_counters("2", 5, 0, 0)),
            [],
            "its first entry may be the unreadable one"
        );
        let mut nothing = Proof::new(true);
        nothing.add_unreadable();
        assert_eq!(doubts(&nothing, 1), [(0, true)]);
    }

    #[test]
    fn rolled_quota_is_recomputed_from_what_the_ledger_proves_of_the_window_before() {
        let begins = |window_seq: &str, used: u64, rolled: u64, amount_rolled: u64| {
            let ending = EndingWindow {
                quota: Some(amount(20)),
                rolled: amount(rolled),
                used: amount(used),
                ..EndingWindow::default()
            };
            let before = (window_seq.parse::<u64>().unwrap() - 1).to_string();
            let from = RolledFrom { window_seq: Some(before), ending, max: amount(10) };
            let rolled = Rolled { amount: amount(amount_rolled), from: Some(from) };
            Charge { rolled: Some(Box::new(rolled)), ..charge(window_seq, 0, 0) }
        };
        let drifts = |entries: &[Charge], whole: bool, rolled: u64| {
            let mut proof = Proof::new(whole);
            for (id, charge) in (0u64..).zip(entries) {
                proof.add(&id, std::slice::from_ref(charge), false);
            }
            let mut stored = stored_counters("3", 0, 0, 0);
            stored.counters[0].rolled = Some(amount(rolled));
            figures(&proof.compare(&owner(), &stored))
        };
        // Of the first window 14 is used, so 6 is left; of the second 11, of which 6 was rolled quota.
        let sound = [charge("1", 14, 14), begins("2", 14, 0, 6), charge("2", 11, 11), begins("3", 11, 6, 10)];
        assert_eq!(drifts(&sound, true, 10), []);
        assert_eq!(drifts(&sound, true, 12), [(Figure::Rolled, 12, 10, vec![3])]);
        assert_eq!(drifts(&sound[1..], false, 10), [], "the oldest entries were trimmed");
        // An entry that claims less use than the ledger proves.
        let forged = [charge("2", 15, 15), begins("3", 11, 0, 9)];
        assert_eq!(drifts(&forged, true, 9), [(Figure::Rolled, 9, 5, vec![1])]);
        assert_eq!(drifts(&[charge("3", 1, 1), charge("3", -1, 0)], true, 4), [(Figure::Rolled, 4, 0, vec![])]);
        assert_eq!(drifts(&[charge("3", 1, 1), charge("3", -1, 0)], false, 4), []);
        let kept = Rolled { amount: amount(4), from: None };
        assert_eq!(drifts(&[Charge { rolled: Some(Box::new(kept)), ..charge("3", 0, 0) }], true, 4), []);
    }

    #[test]
    fn entries_trimmed_while_reading_restart_a_window() {
        let mut proof = Proof::new(true);
        proof.add(&0, &[charge("1", 3, 3)], false);
        proof.add(&9, &[charge("1", 1, 8)], true);
        assert_eq!(proof.compare(&owner(), &stored_counters("1", 8, 0, 0)), []);
    }
}
