//! An owner's account as stored by scripts; see `lua/lib/account.lua`.

use crate::domain::time::window::{TimeMs, Window};
use crate::domain::values::amount::Amount;
use crate::domain::values::digits::push_digits;
use crate::domain::values::ids::GroupId;
use crate::store::parts::cut;

/// Field for the owner's state apart from its counters.
pub const ACCOUNT: &str = ".account";
/// Field of a user's subscription.
pub const SUBSCRIPTION: &str = ".plan";
/// Field of a user's custom limits, as JSON.
pub const LIMITS: &str = ".limits";
/// Field of quotas that replace those of groups for this owner.
pub const QUOTAS: &str = ".quotas";
/// Field of a blocked user.
pub const BLOCK: &str = ".block";
/// Field with the time until which an extended reservation may be charged (ms).
pub const EXTENDED: &str = ".extended";

/// The longest lifetime of reservations if `.account` says nothing about it.
const USUAL_TTL_MS: TimeMs = 60_000;

/// `.account`: `v<version> expiry=<ms>[ ttl=<ms>][ forget=<ms|never>][ flags=<letters>]`.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Account {
    /// Version of a user's state; `0` if nothing was ever written.
    pub version: String,
    /// No hold expires earlier; None if there is none.
    pub next_expiry_ms: Option<TimeMs>,
    /// The longest lifetime of any reservation that was not extended.
    pub longest_ttl_ms: TimeMs,
    /// `never`, or milliseconds.
    pub forget_at: Option<String>,
    /// g: grants or blocked amounts exist; w: alerts are watched; l: own quotas exist.
    pub flags: String,
}

impl Account {
    /// None for a text that scripts never write.
    pub fn parse(text: &str) -> Option<Self> {
        let (version, rest) = text.strip_prefix('v')?.split_once(' ')?;
        let mut account = Self { version: version.to_owned(), longest_ttl_ms: USUAL_TTL_MS, ..Self::default() };
        for word in rest.split(' ') {
            let (name, value) = word.split_once('=')?;
            match name {
                "expiry" => account.next_expiry_ms = Some(value.parse().ok()?).filter(|ms| *ms > 0),
                "ttl" => account.longest_ttl_ms = value.parse().ok()?,
                "forget" => account.forget_at = Some(value.to_owned()),
                "flags" => account.flags = value.to_owned(),
                _ => return None,
            }
        }
        (!account.version.is_empty()).then_some(account)
    }
}

/// A counter: `<used>+<held>/<quota|->[+<rolled>] <window>#<sequence number>`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct CounterText<'a> {
    pub used: Amount,
    pub held: Amount,
    /// The quota at the last call in the window; None counts without limit.
    pub quota: Option<Amount>,
    /// What was rolled over into the window, see [`ReadWindow::rolled`].
    pub rolled: Amount,
    pub window: Window,
    /// The window's sequence number among those of its counter.
    pub seq: &'a str,
}

/// A window as scripts store it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(in crate::store) struct ReadWindow {
    pub window: Window,
    /// None counts without limit.
    pub quota: Option<Amount>,
    /// What was rolled over into the window. It counts only together with a quota above 0, as in `window.rolled` of
    /// `lua/lib/window.lua`.
    pub rolled: Amount,
}

impl<'a> CounterText<'a> {
    /// None for a text that scripts never write.
    pub fn parse(text: &'a str) -> Option<Self> {
        let (amounts, rest) = text.split_once('/')?;
        let (used, held) = amounts.split_once('+')?;
        let (window, seq) = rest.split_once('#')?;
        let ReadWindow { window, quota, rolled } = read_window(window)?;
        Some(Self { used: steps(used)?, held: steps(held)?, quota, rolled, window, seq })
    }
}

fn steps(text: &str) -> Option<Amount> {
    Amount::from_steps(text.parse().ok()?).ok()
}

/// The group of an entry of a hold or record: what did not fit into a limit group, `<limit group>><balance>`, is in the
/// balance.
pub(in crate::store) fn entry_group(id: &str) -> Option<GroupId> {
    GroupId::parse(id.split_once('>').map_or(id, |(_, balance)| balance)).ok()
}

/// A window in the form of scripts: `<quota|->[!<percent>…] <kind>/<start>/<end>`. `alerts`: percentages of the quota.
pub(in crate::store) fn window_text(window: &Window, quota: Option<Amount>, alerts: &[u64]) -> String {
    let mut text = String::new();
    push_limit(quota, alerts, &mut text);
    window.push_text(&mut text);
    text
}

/// Appends what stands before the window in [`window_text`].
pub(in crate::store) fn push_limit(quota: Option<Amount>, alerts: &[u64], text: &mut String) {
    match quota {
        Some(quota) => push_digits(quota.steps(), text),
        None => text.push('-'),
    }
    for percent in alerts {
        text.push('!');
        push_digits(*percent, text);
    }
    text.push(' ');
}

/// Parses what [`window_text`] wrote, with what scripts add: `<quota|->[+<rolled>][!<percent>…] <kind>/<start>/<end>`.
pub(in crate::store) fn read_window(text: &str) -> Option<ReadWindow> {
    let (limit, window) = text.split_once(' ')?;
    let (quota, rolled) = read_limit(limit)?;
    Some(ReadWindow { window: Window::parse(window)?, quota, rolled })
}

/// Parses the first part of a window's text: the quota, and what was rolled over.
pub(in crate::store) fn read_limit(text: &str) -> Option<(Option<Amount>, Amount)> {
    let limit = cut(text, b'!').map_or(text, |(limit, _alerts)| limit);
    let (quota, rolled) = match cut(limit, b'+') {
        Some((quota, rolled)) => (quota, steps(rolled)?),
        None => (limit, Amount::ZERO),
    };
    let quota = if quota == "-" { None } else { Some(steps(quota)?) };
    let counts = quota.is_some_and(|quota| quota > Amount::ZERO);
    Some((quota, if counts { rolled } else { Amount::ZERO }))
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn an_account_is_read_as_scripts_write_it() {
        let account = Account::parse("v7 expiry=0").unwrap();
        assert_eq!((account.version.as_str(), account.next_expiry_ms, account.longest_ttl_ms), ("7", None, 60_000));
        let account = Account::parse("v0 expiry=5 ttl=1 forget=never flags=gw").unwrap();
        assert_eq!(
            (account.next_expiry_ms, account.longest_ttl_ms, account.forget_at.as_deref(), account.flags.as_str()),
            (Some(5), 1, Some("never"), "gw")
        );
        for damaged in ["", "v1", "expiry=0 ttl=0", "v1 expiry=x ttl=0", "v1 other=2", "v expiry=0"] {
            assert_eq!(Account::parse(damaged), None, "{damaged}");
        }
    }

    #[test]
    fn a_counter_is_read_as_scripts_write_it() {
        let counter = CounterText::parse("3+1/20 monthly/20261101/20261201#2").unwrap();
        assert_eq!((counter.used.steps(), counter.held.steps(), counter.seq), (3, 1, "2"));
        assert_eq!(counter.quota.map(Amount::steps), Some(20));
        assert_eq!(counter.window.to_text(), "monthly/20261101/20261201");
        assert_eq!(CounterText::parse("3+1/20!50!80 monthly/20261101/20261201#2").unwrap().quota, counter.quota);
        assert_eq!(CounterText::parse("3+1/- concurrent/20270101/99991231T235959#c1").unwrap().quota, None);
        let rolled = CounterText::parse("3+1/20+8!50 monthly/20261101/20261201#2").unwrap();
        assert_eq!((rolled.quota, rolled.rolled.steps()), (counter.quota, 8));
        for stopped in ["3+1/0+8 monthly/20261101/20261201#2", "3+1/-+8 monthly/20261101/20261201#2"] {
            assert_eq!(CounterText::parse(stopped).unwrap().rolled, Amount::ZERO, "{stopped}");
        }
        for damaged in ["", "3", "3+1/20", "3+1/20 monthly/20261101/20261201", "x+1/- daily/20261101/20261102#1"] {
            assert_eq!(CounterText::parse(damaged), None, "{damaged}");
        }
    }

    proptest! {
        #[test]
        fn no_text_panics(text in "\\PC{0,60}", counter in "[0-9+/# a-z-]{0,60}") {
            let _ = (Account::parse(&text), CounterText::parse(&text), CounterText::parse(&counter), read_window(&text));
        }
    }
}
