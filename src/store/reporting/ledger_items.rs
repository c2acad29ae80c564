//! The parts of a ledger entry: what it says of each counter, as `lua/lib/ledger.lua` writes them.

use std::sync::Arc;

use crate::domain::configuration::scope::OwnerName;
use crate::domain::metering::rollover::EndingWindow;
use crate::domain::reporting::ledger::{Charge, DenyingCounter, Held, Rolled, RolledFrom};
use crate::domain::time::window::Window;
use crate::domain::values::amount::Amount;
use crate::domain::values::digits::read_number;
use crate::domain::values::ids::GroupId;
use crate::store::metering::account::entry_group;
use crate::store::parts::{Parsed, Parts};

/// None for a part without a value.
pub(super) fn stated(text: Option<&str>) -> Option<&str> {
    text.filter(|text| !matches!(*text, "" | "-"))
}

/// A field that may be absent, but not damaged.
pub(super) fn known<'a, T>(text: Option<&'a str>, read: impl FnOnce(&'a str) -> Option<T>) -> Option<Option<T>> {
    match text {
        None => Some(None),
        Some(text) => read(text).map(Some),
    }
}

/// What the items that were read before name: most items have the groups and sequence numbers of others.
#[derive(Default)]
pub(super) struct Names<'a> {
    groups: Parsed<&'a str, GroupId>,
    window_seqs: Parsed<&'a str, Arc<str>>,
}

fn read_group<'a>(name: &'a str, names: &mut Names<'a>) -> Option<GroupId> {
    names.groups.get(name, |name| GroupId::parse(name).ok())
}

fn steps(text: &str) -> Option<Amount> {
    Amount::from_steps(u64::try_from(read_number(text)?).ok()?).ok()
}

/// `[<limit group>>]<group>:<sequence number>:<change>:<used after it>[:<limit|->[:<window>|:closed|:rolled/…]]`; entries of
/// earlier layouts have no limit.
pub(super) fn read_charge<'a>(owner: &OwnerName, item: &'a str, names: &mut Names<'a>) -> Option<Charge> {
    let mut parts = Parts::of(item, b':');
    let name = parts.next()?;
    let (from, group) = if let Some(group) = read_group(name, names) {
        (None, group)
    } else {
        let (from, balance) = name.split_once('>')?;
        (Some(read_group(from, names)?), read_group(balance, names)?)
    };
    let window_seq = names.window_seqs.get(parts.next()?, |seq| Some(Arc::from(*seq)))?;
    let (change, balance) = (read_number(parts.next()?)?, steps(parts.next()?)?);
    let limit = match parts.next() {
        None | Some("-") => None,
        Some(limit) => Some(steps(limit)?),
    };
    let window_mark = parts.next();
    let closed = window_mark == Some("closed");
    let rolled = window_mark.and_then(|mark| mark.strip_prefix("rolled/"));
    let window = known(window_mark.filter(|_| !closed && rolled.is_none()), Window::parse)?;
    let rolled = known(rolled, read_rolled)?.map(Box::new);
    Some(Charge { owner: owner.clone(), group, from, window_seq, change, balance, limit, window, closed, rolled })
}

/// `<rolled>[/<sequence number|->/<used>/<held>/<blocked>/<rolled into it>/<quota>/<max>]`
fn read_rolled(text: &str) -> Option<Rolled> {
    let (amount, from) = text.split_once('/').map_or((text, None), |(amount, from)| (amount, Some(from)));
    Some(Rolled { amount: steps(amount)?, from: known(from, read_rolled_from)? })
}

fn read_rolled_from(text: &str) -> Option<RolledFrom> {
    let mut parts = text.split('/');
    let window_seq = stated(parts.next()).map(str::to_owned);
    let mut amount = || steps(parts.next()?);
    let (used, held, blocked, rolled) = (amount()?, amount()?, amount()?, amount()?);
    let (quota, max) = (Some(amount()?), amount()?);
    Some(RolledFrom { window_seq, ending: EndingWindow { quota, rolled, used, held, blocked }, max })
}

/// `<group>:<requested>:<counted>:<limit>[:<used>:<window>]`
pub(super) fn read_denying_counter<'a>(
    owner: &OwnerName,
    item: &'a str,
    names: &mut Names<'a>,
) -> Option<DenyingCounter> {
    let mut parts = Parts::of(item, b':');
    Some(DenyingCounter {
        owner: owner.clone(),
        group: read_group(parts.next()?, names)?,
        requested: steps(parts.next()?)?,
        count: steps(parts.next()?)?,
        limit: steps(parts.next()?)?,
        used: match parts.next() {
            None => None,
            Some(used) => Some((steps(used)?, Window::parse(parts.next()?)?)),
        },
        observed: false,
    })
}

/// `<group>:<window_seq>:<amount>`
pub(super) fn read_held(item: &str) -> Option<Held> {
    let mut parts = item.split(':');
    let (group, window_seq) = (entry_group(parts.next()?)?, parts.next()?.to_owned());
    Some(Held { group, window_seq, amount: steps(parts.next()?)? })
}
