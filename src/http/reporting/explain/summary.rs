//! The cause of a decision as one sentence, for people who read nothing else.

use super::views::either;
use crate::domain::configuration::limit_group::LimitGroup;
use crate::domain::metering::explain::{ExplainedGroup, Mismatch, Outcome};
use crate::domain::metering::reason::Reason;
use crate::domain::time::window::rfc3339;
use crate::domain::values::amount::{Amount, Unit};
use crate::service::metering::decision::{Decision, DeniedBy};
use crate::service::reporting::explain::{Explained, Explanation, Question, Verdict};

/// Why the call would be allowed or denied now.
pub fn summary(question: &Question, explanation: &Explanation) -> String {
    let decision = match &explanation.verdict {
        Verdict::Invalid(fault) => return format!("Invalid: `{}`: {}.", fault.field, fault.message),
        Verdict::Decided(decision) => decision,
    };
    let mut sentence = match decision.reasons.first() {
        None => allowed(explanation) + &overflow(explanation, decision),
        Some(reason) => format!("Denied: {}.", cause(*reason, (question, explanation), decision)),
    };
    let observed: Vec<String> = decision.observed.iter().map(|observed| name(&observed.group)).collect();
    match observed.as_slice() {
        [] => {}
        [one] => sentence.push_str(&format!(" The limit {one} only observes; it would have denied the call.")),
        _ => sentence
            .push_str(&format!(" The limits {} only observe; they would have denied the call.", list(&observed))),
    }
    match explanation.known {
        true => sentence,
        false => format!("{sentence} User `{}` not found.", question.user),
    }
}

fn allowed(explanation: &Explanation) -> String {
    let counting = explanation.groups.iter().filter(|group| group.counter.is_some());
    let names: Vec<String> = counting.map(|group| name(&group.traced.group)).collect();
    let plan = match (&explanation.plan, explanation.is_default_plan) {
        (Some(plan), true) => format!(" on the default plan `{}`", plan.id),
        _ => String::new(),
    };
    match names.as_slice() {
        [] => format!("Allowed{plan}: no limit counts this call."),
        [one] => format!("Allowed{plan}: the limit {one} counts this call."),
        _ => format!("Allowed{plan}: the limits {} count this call.", list(&names)),
    }
}

/// What balances take over of an allowed call.
fn overflow(explanation: &Explanation, decision: &Decision) -> String {
    let covered = decision.overflow.iter().filter_map(|overflow| {
        let of = explanation.groups.iter().find(|group| group.traced.group.id == overflow.from)?;
        let (limit, balance) = (name(&of.traced.group), name(&of.balance.as_ref()?.group));
        let taken = amount(overflow.amount, overflow.unit);
        Some(format!(" The balance {balance} covers {taken} beyond the limit {limit}."))
    });
    covered.collect()
}

fn cause(reason: Reason, (question, explanation): (&Question, &Explanation), decision: &Decision) -> String {
    let of_groups = |words: fn(&Explained) -> Option<String>| {
        let refusing = explanation.groups.iter().filter(|group| !group.traced.group.observes());
        let causes: Vec<String> = refusing.filter_map(words).collect();
        causes.join("; ")
    };
    let event = &question.item.event;
    match reason {
        Reason::UserBlocked => "the user is blocked".to_owned(),
        Reason::NoSubscription => "the user has no subscription, and the app has no default plan".to_owned(),
        Reason::UnmatchedEvent => {
            let plan = explanation.plan.as_ref();
            let plan = plan.map_or_else(|| "the plan".to_owned(), |plan| format!("plan `{}`", plan.id));
            match nearest(explanation) {
                Some(nearest) => format!("no limit of {plan} matches `{event}`; {nearest}"),
                None => format!("no limit of {plan} matches the event `{event}`"),
            }
        }
        Reason::UncoveredEvent => {
            let causes = of_groups(|group| match group.traced.outcome {
                Outcome::Unmatched { covers: true } => Some(uncovered(&group.traced)),
                _ => None,
            });
            format!("no rule matches `{event}`: {causes}")
        }
        Reason::MissingScope => of_groups(|group| match &group.traced.outcome {
            Outcome::MissingScope { missing, refuses: true, .. } => Some(missing_scope(&group.traced.group, missing)),
            _ => None,
        }),
        Reason::CallTooLarge => of_groups(|group| too_large(&group.traced)),
        Reason::LimitReached => over_limit(explanation, decision),
        Reason::ApprovalRequired => format!("{}; more needs approval", over_limit(explanation, decision)),
    }
}

/// The limit whose event matches, and the metadata that keeps it from counting.
fn nearest(explanation: &Explanation) -> Option<String> {
    let of_plan = explanation.groups.iter().map(|group| &group.traced);
    let causes = of_plan.filter_map(|traced| Some((traced, fields_against(traced)?)));
    let (traced, fields) = causes.min_by_key(|(_, fields)| fields.len())?;
    Some(format!("for the limit {}, {}", name(&traced.group), fields.join(", ")))
}

/// What the metadata lacks for the rule that comes nearest; None if no rule is of this event.
fn fields_against(traced: &ExplainedGroup) -> Option<Vec<String>> {
    let rules = traced.tried.iter().filter(|rule| !rule.mismatches.is_empty());
    let of_event = rules.filter(|rule| !rule.mismatches.contains(&Mismatch::Event));
    let nearest = of_event.min_by_key(|rule| rule.mismatches.len())?;
    let words = |mismatch: &Mismatch| match mismatch {
        Mismatch::Event => String::new(),
        Mismatch::Missing { field, wanted } => format!("metadata `{field}` is missing (accepted: {})", either(wanted)),
        Mismatch::Value { field, found, wanted } => {
            format!("metadata `{field}` is `{found}` (accepted: {})", either(wanted))
        }
    };
    Some(nearest.mismatches.iter().map(words).collect())
}

fn uncovered(traced: &ExplainedGroup) -> String {
    match fields_against(traced) {
        Some(fields) => format!("{}; the limit {} has no rule for it", fields.join(", "), name(&traced.group)),
        None => format!("the limit {} covers this event, but has no rule for it", name(&traced.group)),
    }
}

fn missing_scope(group: &LimitGroup, missing: &[String]) -> String {
    let words: Vec<String> = missing
        .iter()
        .map(|name| match name.strip_prefix("metadata.") {
            Some(field) => format!("metadata `{field}`"),
            None => format!("the {name}"),
        })
        .collect();
    let (is, them) = if words.len() == 1 { ("is", "it") } else { ("are", "them") };
    format!("{} {is} missing; the limit {} needs {them}", list(&words), name(group))
}

fn too_large(traced: &ExplainedGroup) -> Option<String> {
    let counts = traced.counts().filter(|counts| counts.too_large)?;
    let (unit, most) = (traced.group.unit, traced.group.max_per_call?);
    let (wanted, most) = (amount(counts.amount, unit), amount(most, unit));
    Some(format!("the call needs {wanted}, and the limit {} allows at most {most} per call", name(&traced.group)))
}

/// The limits without room, each with its figures.
fn over_limit(explanation: &Explanation, decision: &Decision) -> String {
    let causes: Vec<String> = decision.denied_by.iter().map(|denied| without_room(explanation, denied)).collect();
    causes.join("; ")
}

fn without_room(explanation: &Explanation, denied: &DeniedBy) -> String {
    let (group, unit) = (&denied.group, denied.group.unit);
    let known = explanation.groups.iter().find(|explained| explained.traced.group.id == group.id);
    if denied.scope_full {
        return format!("the limit {} has reached the maximum number of scope values", name(group));
    }
    let wanted = amount(denied.requested, unit);
    if group.is_balance() {
        let remaining = amount(denied.remaining.unwrap_or_default(), unit);
        return format!("the call needs {wanted}, and the balance {} has {remaining} left", name(group));
    }
    let Some((counter, limit)) = known.and_then(|known| Some((known.counter.as_ref()?, known.limit?))) else {
        let opens = denied.resets_at_ms.map_or_else(String::new, |at| format!("; it begins {}", rfc3339(at)));
        return format!("the period of the limit {} is not running{opens}", name(group));
    };
    let remaining = amount(counter.remaining().unwrap_or_default(), unit);
    let figures = match group.is_concurrent() {
        true => format!("{} of {} in flight", plain(counter.held, unit), amount(limit, unit)),
        false if counter.held > Amount::ZERO => {
            format!(
                "{} used + {} held of {}",
                plain(counter.used, unit),
                plain(counter.held, unit),
                amount(limit, unit)
            )
        }
        false => format!("{} of {} used", plain(counter.used, unit), amount(limit, unit)),
    };
    let figures = match counter.rolled {
        Amount::ZERO => figures,
        rolled => format!("{figures}, with {} rolled over", plain(rolled, unit)),
    };
    let resets = |it: &str| match (group.is_concurrent(), denied.resets_at_ms) {
        (false, Some(at)) => format!("; {it} resets {}", rfc3339(at)),
        _ => String::new(),
    };
    let limit = format!("the limit {} has {remaining} left ({figures})", name(group));
    match known.and_then(|known| known.balance.as_ref()) {
        None => format!("the call needs {wanted}, and {limit}{}", resets("it")),
        Some(balance) => {
            let (balance, remaining) = (name(&balance.group), amount(balance.remaining().unwrap_or_default(), unit));
            format!(
                "the call needs {wanted}, {limit}, and the balance {balance} has {remaining}{}",
                resets("the limit")
            )
        }
    }
}

fn name(group: &LimitGroup) -> String {
    let label: &str = if group.label.is_empty() { group.id.as_str() } else { &group.label };
    format!("\"{label}\"")
}

fn plain(amount: Amount, unit: Unit) -> String {
    amount.to_decimal(unit).normalize().to_string()
}

fn amount(amount: Amount, unit: Unit) -> String {
    match unit {
        Unit::Count => plain(amount, unit),
        Unit::Tokens | Unit::Seconds | Unit::Cents => format!("{} {unit}", plain(amount, unit)),
    }
}

/// `a, b and c`
fn list(words: &[String]) -> String {
    match words.split_last() {
        Some((last, others)) if !others.is_empty() => format!("{} and {last}", others.join(", ")),
        Some((last, _)) => last.clone(),
        None => String::new(),
    }
}
