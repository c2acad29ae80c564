//! The proposal that a node sends to a script: see `lua/lib/proposal.lua` and `lua/lib/program.lua`.

use std::ops::Range;
use std::sync::Arc;

use sha2::{Digest, Sha256};

use super::account::push_limit;
use super::admission::{ApprovalRequest, Facts, OwnedBalance, OwnedGroup, Owner, UserExpiry};
use crate::domain::time::window::{Window, WindowKind};
use crate::domain::values::amount::Amount;
use crate::domain::values::digits::{base64_text, push_digits, push_signed};
use crate::store::client::library::Function;
use crate::store::error::StoreError;
use crate::store::keys::Bucket;
use crate::store::reply::Fields;
use crate::store::{Arguments, Store};

/// How often one call defines its program before it fails, since someone may flush the library in between.
const MOST_DEFINES: usize = 16;

/// Owners and groups with their windows and amounts, and the facts that they are based on.
#[derive(Clone, Copy, Debug)]
pub(in crate::store) struct Proposal<'a> {
    pub bucket: &'a Bucket,
    /// The fingerprint of the operation.
    pub fingerprint: &'a str,
    pub facts: Facts<'a>,
    /// The denial that the node found in the facts, or empty.
    pub precheck_denial: &'a str,
    pub owners: &'a [Owner],
    pub approval_request: Option<&'a ApprovalRequest>,
    /// The reason for which groups that only observe would have denied the call under these facts, or empty.
    pub observed: &'a str,
    /// How far the amounts may grow (`lua/lib/fit.lua`), or empty.
    pub fit: &'a str,
}

impl Store {
    /// Calls a function with a proposal. `first` are the keys before the owners' accounts; `own` adds the arguments of
    /// the call itself.
    ///
    /// # Errors
    /// [`StoreError`]
    pub(in crate::store) async fn propose(
        &self,
        function: &'static Function,
        proposal: &Proposal<'_>,
        first: &[String],
        own: impl FnOnce(&mut Arguments),
    ) -> Result<Fields, StoreError> {
        let program = self.program(proposal);
        let name = self.program_name(&program);
        let mut keys = Vec::with_capacity(first.len() + proposal.owners.len());
        keys.extend_from_slice(first);
        keys.extend(proposal.owners.iter().map(|owner| owner.keys.account.clone()));
        let facts = &proposal.facts;
        let mut arguments = Arguments::default();
        arguments.text(&name).text(proposal.fingerprint).text(facts.version).text(proposal.frame());
        own(&mut arguments);
        proposal.write_owners(&mut arguments);
        proposal.write_tail(&mut arguments);
        for _ in 0..MOST_DEFINES {
            let fields = self.call(function, &keys, &arguments).await?;
            if !fields.begins_with("unknown") {
                return Ok(fields);
            }
            Box::pin(self.define(&keys, &name, &program)).await?;
        }
        self.call(function, &keys, &arguments).await
    }

    async fn define(&self, keys: &[String], name: &str, program: &str) -> Result<(), StoreError> {
        metrics::counter!("quotagate_retries_total", "cause" => "program_unknown").increment(1);
        let mut arguments = Arguments::default();
        arguments.text(name).text(program);
        let keys = keys.get(..1).unwrap_or_default();
        self.call(&self.library.define, keys, &arguments).await?.only_status("defined")
    }

    /// The part that all calls with one plan version and one set of matched groups have in common.
    fn program(&self, proposal: &Proposal<'_>) -> String {
        let facts = &proposal.facts;
        let flag = |flag: bool| if flag { "1" } else { "0" };
        let groups = proposal.owners.iter().map(|owner| owner.groups.len()).sum::<usize>();
        let mut text = String::with_capacity(64 + 48 * groups);
        text.push_str(proposal.bucket.prefix());
        text.extend([" ", flag(facts.sandbox), " "]);
        push_digits(facts.revision, &mut text);
        text.extend([" ", flag(facts.reports_expiry), " "]);
        push_digits(self.ledger_entries, &mut text);
        text.extend([" ", flag(self.straight_path)]);
        for owner in proposal.owners {
            text.push_str(if owner.renew.is_none() { "\nuser" } else { "\nother" });
            owner.groups.iter().for_each(|group| write_group(group, &mut text));
        }
        text
    }

    /// The name of a program: 72 bits of its text's SHA-256, since each record contains it. Only nodes write programs.
    fn program_name(&self, text: &str) -> Arc<str> {
        if let Some(known) = self.programs.get(text) {
            return known;
        }
        let name: Arc<str> = base64_text(&Sha256::digest(text)[..9]).into();
        self.programs.insert(text.to_owned(), Arc::clone(&name));
        name
    }
}

fn write_group(group: &OwnedGroup, text: &mut String) {
    let watch = group.watch.as_ref();
    let (balance, overflow): (Option<&OwnedBalance>, _) = match &group.balance {
        Some(balance) if balance.id == group.id => (Some(balance), None),
        other => (None, other.as_ref()),
    };
    let flags = [
        (group.window.kind == WindowKind::Concurrent, 'c'),
        (watch.is_some_and(|watch| watch.approval), 'a'),
        (watch.is_some_and(|watch| watch.reports_limit), 'l'),
        (group.observes, 'o'),
        (group.is_hard, 'h'),
        (balance.is_some(), 'b'),
    ];
    text.extend([" ", group.id.as_str()]);
    if let Some(OwnedBalance { id, alerts_below }) = overflow {
        text.extend([">", id.as_str(), ":"]);
        push_thresholds(alerts_below, text);
    }
    text.push(' ');
    push_digits(group.limit.steps(), text);
    text.push(' ');
    match group.quota {
        Some(quota) => push_digits(quota.steps(), text),
        None => text.push('-'),
    }
    text.push_str(" -");
    text.extend(flags.iter().filter(|(is_set, _)| *is_set).map(|(_, letter)| letter));
    if let Some(most) = group.rollover {
        text.push('r');
        push_digits(most.steps(), text);
    }
    if let Some(OwnedBalance { alerts_below, .. }) = balance {
        text.push(' ');
        push_thresholds(alerts_below, text);
        text.push(';');
        return;
    }
    let alerts = watch.map_or(&[][..], |watch| &watch.alerts);
    for (place, percent) in alerts.iter().enumerate() {
        text.push(if place == 0 { ' ' } else { ',' });
        push_digits(*percent, text);
    }
    text.push_str(if alerts.is_empty() { " -;" } else { ";" });
}

/// The amounts, separated by commas, or `-`.
fn push_thresholds(amounts: &[Amount], text: &mut String) {
    for (place, amount) in amounts.iter().enumerate() {
        text.push_str(if place == 0 { "" } else { "," });
        push_digits(amount.steps(), text);
    }
    if amounts.is_empty() {
        text.push('-');
    }
}

impl Proposal<'_> {
    fn write_owners(&self, arguments: &mut Arguments) {
        for owner in self.owners {
            if let Some(renew) = &owner.renew {
                match renew.at_ms {
                    Some(at_ms) => arguments.int(format_args!("{at_ms} {}", renew.most)),
                    None => arguments.int(format_args!("never {}", renew.most)),
                };
            }
            for group in &owner.groups {
                arguments.digits(group.amount.steps());
            }
        }
    }

    /// The windows and how long they are valid.
    fn frame(&self) -> String {
        let validity = self.facts.validity;
        let groups = self.owners.iter().flat_map(|owner| &owner.groups);
        let mut text = String::with_capacity(48 + 48 * groups.clone().count());
        push_signed(validity.from_ms, &mut text);
        text.push(' ');
        push_signed(validity.until_ms, &mut text);
        let mut last: Option<(Window, Range<usize>)> = None;
        for group in groups {
            text.push(';');
            let watch = group.watch.as_ref().filter(|_| group.quota.is_some());
            let alerts = watch.map_or(&[][..], |watch| &watch.alerts);
            push_limit(group.quota, alerts, &mut text);
            // Groups of a plan mostly have the same window as the one before.
            let begin = text.len();
            match &last {
                Some((window, place)) if *window == group.window => text.extend_from_within(place.clone()),
                _ => {
                    group.window.push_text(&mut text);
                    last = Some((group.window, begin..text.len()));
                }
            }
        }
        text
    }

    /// Arguments that most calls do not need.
    fn write_tail(&self, arguments: &mut Arguments) {
        let has_denial = !self.precheck_denial.is_empty() || !self.observed.is_empty();
        let is_fitted = !self.fit.is_empty();
        if !has_denial && !is_fitted && self.facts.forget.is_none() && self.approval_request.is_none() {
            return;
        }
        arguments.text(self.precheck_denial);
        match self.facts.forget {
            None => arguments.text("-").text(""),
            Some(UserExpiry { user, at_ms: None }) => arguments.text("never").text(user.as_str()),
            Some(UserExpiry { user, at_ms: Some(at_ms) }) => arguments.signed(at_ms).text(user.as_str()),
        };
        match self.approval_request {
            None => arguments.text("-").text(""),
            Some(request) => arguments.text(&request.id).text(&request.about),
        };
        if is_fitted {
            arguments.text(self.observed).text(self.fit);
        } else if !self.observed.is_empty() {
            arguments.text(self.observed);
        }
    }
}
