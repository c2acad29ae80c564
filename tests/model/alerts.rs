//! Alerts of the model: which percentages of a limit are reported. Each one is reported once per window and limit, in
//! ascending order only.

use super::rules::Group;
use super::state::{Change, CounterName, Model};

/// The alert state of a counter, according to the last call that requested capacity or tracked.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Watch {
    quota: u64,
    percents: &'static [u64],
    window_seq: u64,
    limit: u64,
    /// The highest reported percentage.
    reply: u64,
}

fn is_passed(percent: u64, limit: u64, used: u64) -> bool {
    used >= (percent * limit).div_ceil(100)
}

impl Watch {
    /// The state for the current window and limit. A percentage passed under another limit is not reported under this
    /// one.
    fn brought_up(mut self, window_seq: u64, extra: u64, used: u64) -> Self {
        let limit = self.quota + extra;
        if self.window_seq != window_seq {
            self.reply = 0;
        } else if self.limit != limit {
            let passed = self.percents.iter().filter(|percent| limit > 0 && is_passed(**percent, limit, used));
            self.reply = passed.max().copied().unwrap_or(0);
        }
        (self.window_seq, self.limit) = (window_seq, limit);
        self
    }
}

impl Model {
    /// What is added to the quota of the present window.
    fn extra(&self, name: &CounterName, window_seq: u64) -> u64 {
        let rolled = self.accounts[&(name.clone(), window_seq)].rolled();
        self.granted(name, (window_seq, Change::Same)) + rolled
    }

    /// Updates the state with the group's current alerts, before a call counts.
    pub fn watch(&mut self, group: &Group, name: &CounterName, window_seq: u64) {
        let Some(quota) = group.quota.filter(|_| !group.alerts.is_empty()) else {
            // The group has no alerts any more. What was reported is kept, in case they are added again.
            self.counter(name).watch.iter_mut().for_each(|watch| watch.percents = &[]);
            return;
        };
        let (extra, used) = (self.extra(name, window_seq), self.used(name, window_seq));
        let counter = self.counter(name);
        let new = Watch { quota, percents: group.alerts, window_seq: 0, limit: 0, reply: 0 };
        let known = counter.watch.take().map_or(new, |known| Watch { quota, percents: group.alerts, ..known });
        counter.watch = Some(known.brought_up(window_seq, extra, used));
    }

    /// The alerts that a counter passes with what was used since `before`.
    pub fn passed_since(&mut self, name: &CounterName, window_seq: u64, before: u64) -> Vec<(String, u64)> {
        let (extra, used) = (self.extra(name, window_seq), self.used(name, window_seq));
        let counter = self.counter(name);
        let Some(watch) = counter.watch.take_if(|watch| used > before && !watch.percents.is_empty()) else {
            return Vec::new();
        };
        let mut watch = watch.brought_up(window_seq, extra, before);
        let passed = watch
            .percents
            .iter()
            .filter(|percent| watch.limit > 0 && **percent > watch.reply && is_passed(**percent, watch.limit, used));
        let passed: Vec<u64> = passed.copied().collect();
        watch.reply = passed.last().copied().unwrap_or(watch.reply);
        counter.watch = Some(watch);
        passed.into_iter().map(|percent| (name.1.to_owned(), percent)).collect()
    }
}
