//! Formats the report as tables.

use std::fmt;

use comfy_table::presets::UTF8_FULL_CONDENSED;
use comfy_table::{CellAlignment, Table};

use crate::service::simulation::report::{Agreement, Changed, Example, Report};

impl fmt::Display for Report {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let span = self.since.as_ref().zip(self.until.as_ref());
        let span = span.map_or("nothing recorded".to_owned(), |(since, until)| format!("{since} to {until}"));
        writeln!(f, "{} on {}: {} entries, {span}\n", self.draft, self.source, self.entries)?;
        writeln!(f, "{}\n", self.sides())?;
        self.changed(f, "Would have been denied", &self.newly_denied)?;
        self.changed(f, "Would have been allowed", &self.newly_allowed)?;
        if self.observed.calls > 0 {
            self.changed(f, "Observed: a hard limit would have denied", &self.observed)?;
        }
        if !self.groups.is_empty() {
            writeln!(f, "Use by group\n{}\n", self.group_sums())?;
        }
        if !self.most_affected.is_empty() {
            writeln!(f, "Most affected\n{}\n", self.users())?;
        }
        for note in self.notes() {
            writeln!(f, "{note}")?;
        }
        Ok(())
    }
}

impl Report {
    /// What the draft is compared with.
    fn before(&self) -> &'static str {
        if self.present.is_some() { "present rules" } else { "recorded" }
    }

    fn sides(&self) -> Table {
        let mut table = table(&["", self.before(), "draft"], &[1, 2]);
        let (was, is) = (self.present.as_ref().unwrap_or(&self.recorded), &self.under_draft);
        table.add_row(["calls".to_owned(), self.calls.to_string(), self.calls.to_string()]);
        table.add_row(["allowed".to_owned(), was.allowed.to_string(), is.allowed.to_string()]);
        table.add_row(["denied".to_owned(), was.denied.to_string(), is.denied.to_string()]);
        if let (Some(was), Some(is)) = (was.cents, is.cents) {
            table.add_row(["cents".to_owned(), was.0.to_string(), is.0.to_string()]);
        }
        table
    }

    fn changed(&self, f: &mut fmt::Formatter<'_>, title: &str, changed: &Changed) -> fmt::Result {
        if changed.calls == 0 {
            return writeln!(f, "{title}: none\n");
        }
        let counts = |counts: &std::collections::BTreeMap<String, u64>| {
            counts.iter().map(|(name, count)| format!("{name} {count}")).collect::<Vec<_>>().join(", ")
        };
        let plural = |count: u64| if count == 1 { "" } else { "s" };
        let (calls, users) = (changed.calls, changed.users);
        writeln!(f, "{title}: {calls} call{} of {users} user{}", plural(calls), plural(users))?;
        writeln!(f, "  for {}", counts(&changed.by_reason))?;
        if !changed.by_group.is_empty() {
            writeln!(f, "  by {}", counts(&changed.by_group))?;
        }
        let mut table = table(&["first calls", "user", "event", "why"], &[]);
        for example in &changed.examples {
            let event = example.event.clone().unwrap_or_default();
            table.add_row([example.at.clone(), example.user_id.clone(), event, why(example)]);
        }
        writeln!(f, "{table}\n")
    }

    fn group_sums(&self) -> Table {
        let mut table = table(&["group", "unit", self.before(), "draft"], &[2, 3]);
        for sum in &self.groups {
            let (before, draft) = (sum.present.unwrap_or(sum.recorded).0.to_string(), sum.draft.0.to_string());
            table.add_row([sum.group_id.clone(), sum.unit.to_string(), before, draft]);
        }
        table
    }

    fn users(&self) -> Table {
        let before = format!("cents {}", self.before());
        let mut table = table(&["user", "newly denied", "newly allowed", &before, "cents draft"], &[1, 2, 3, 4]);
        for user in &self.most_affected {
            table.add_row([
                user.user_id.clone(),
                user.newly_denied.to_string(),
                user.newly_allowed.to_string(),
                user.cents_present.0.to_string(),
                user.cents_draft.0.to_string(),
            ]);
        }
        table
    }

    fn notes(&self) -> Vec<String> {
        let mut notes = Vec::new();
        if let Some(Agreement { calls, agree, .. }) = self.present_rules.filter(|it| it.calls > 0) {
            let percent = agree as f64 * 100.0 / calls as f64;
            notes.push(format!(
                "Accuracy of the replay: {percent:.1} % ({agree} of {calls} calls decided as recorded)."
            ));
        }
        if !self.whole {
            notes.push(
                "Older entries are missing: counters begin with the amounts before the first stored entry.".into(),
            );
        }
        if self.unmeasured > 0 {
            let unmeasured = self.unmeasured;
            notes.push(format!(
                "{unmeasured} commits have no value for a field that the draft measures; the held amounts were charged."
            ));
        }
        if self.unread_owners > 0 {
            let unread = self.unread_owners;
            notes.push(format!(
                "Owners whose own limits were not read, since there are too many: {unread}. The quotas of the limit \
                 groups apply to them."
            ));
        }
        notes.push(format!("Replayed in {:.1} s.", self.seconds));
        notes
    }
}

fn why(example: &Example) -> String {
    let groups = example
        .groups
        .iter()
        .map(|lack| format!("{}: {} + {} of {}", lack.group_id, lack.count.0, lack.requested.0, lack.limit.0));
    let groups = groups.collect::<Vec<_>>().join("; ");
    if groups.is_empty() { example.reason.clone() } else { groups }
}

fn table(header: &[&str], right: &[usize]) -> Table {
    let mut table = Table::new();
    table.load_style(UTF8_FULL_CONDENSED).set_header(header.to_vec());
    for column in right {
        if let Some(column) = table.column_mut(*column) {
            column.set_cell_alignment(CellAlignment::Right);
        }
    }
    table
}
