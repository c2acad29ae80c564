//! Formats a run's report for people.

use std::fmt;

use comfy_table::presets::UTF8_FULL_CONDENSED;
use comfy_table::{CellAlignment, Table};

use super::drive::NO_ROOM;
use super::exact::Exact;
use super::report::{Percentiles, Report};
use super::verdict::{GroupSum, QuotaUse, TokenCheck};

/// The report as tables and a line per check.
impl fmt::Display for Report {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { trace, model, users, user_prefix, .. } = self;
        let last_user = users.saturating_sub(1);
        write!(f, "{trace} as {user_prefix}0 to {user_prefix}{last_user}")?;
        if let Some(plan_id) = &self.plan_id {
            write!(f, " on plan {plan_id}")?;
        }
        writeln!(f, ", model {model}\n\n{}\n", figures(self))?;
        if !self.groups.is_empty() {
            writeln!(f, "Over all users\n{}\n", group_sums(&self.groups))?;
        }
        if !self.nearest_to_quota.is_empty() {
            let nearest = nearest(&self.nearest_to_quota);
            writeln!(f, "Closest to their quota\n{nearest}\n")?;
        }
        for line in checks(self) {
            writeln!(f, "{line}")?;
        }
        Ok(())
    }
}

fn figures(report: &Report) -> Table {
    let mut table = Table::new();
    table.load_style(UTF8_FULL_CONDENSED);
    let mut row = |name: &str, figure: String| {
        table.add_row([name.to_owned(), figure]);
    };
    let whole = |count: u64| Exact::from(count).to_string();
    row("calls", whole(report.calls));
    row("allowed", whole(report.allowed));
    if report.unmetered > 0 {
        row("  not metered", whole(report.unmetered));
    }
    row("denied", whole(report.denied));
    for (group_id, denials) in &report.denied_by_group {
        row(&format!("  by {group_id}"), whole(*denials));
    }
    for (reason, denials) in &report.denied_by_reason {
        if reason == NO_ROOM {
            // The groups above show this already, in more detail.
            continue;
        }
        row(&format!("  {reason}"), whole(*denials));
    }
    row("context tokens committed", whole(report.context_tokens));
    row("generated tokens committed", whole(report.generated_tokens));
    row("cents by the price table", report.cents.to_string());
    row("seconds", format!("{:.2}", report.seconds));
    row("calls/s", format!("{:.0}", report.calls_per_second));
    for (name, percentiles) in [("reserve", report.reserve_ms), ("commit", report.commit_ms)] {
        if let Some(Percentiles { p50, p99 }) = percentiles {
            row(&format!("{name} p50 / p99 ms"), format!("{p50:.2} / {p99:.2}"));
        }
    }
    row("repeated attempts", whole(report.retries));
    align_right(&mut table, &[1]);
    table
}

fn group_sums(groups: &[GroupSum]) -> Table {
    let mut table = Table::new();
    table.load_style(UTF8_FULL_CONDENSED).set_header(["group", "unit", "used", "held"]);
    for sum in groups {
        table.add_row([sum.group_id.clone(), sum.unit.clone(), sum.used.to_string(), sum.held.to_string()]);
    }
    align_right(&mut table, &[2, 3]);
    table
}

fn nearest(quota_uses: &[QuotaUse]) -> Table {
    let mut table = Table::new();
    table.load_style(UTF8_FULL_CONDENSED).set_header(["user", "group", "used / quota", "percent"]);
    for quota_use in quota_uses {
        let percent = quota_use.percent.unwrap_or_default();
        table.add_row([
            quota_use.user_id.clone(),
            quota_use.group_id.clone(),
            format!("{} / {}", quota_use.used, quota_use.quota),
            format!("{:.2}", percent.0),
        ]);
    }
    align_right(&mut table, &[2, 3]);
    table
}

fn align_right(table: &mut Table, columns: &[usize]) {
    for column in columns {
        if let Some(column) = table.column_mut(*column) {
            column.set_cell_alignment(CellAlignment::Right);
        }
    }
}

/// One line per check with its result.
fn checks(report: &Report) -> Vec<String> {
    let quotas = match report.above_quota.len() {
        0 => "ok: no user is above a quota".to_owned(),
        counters => format!("WRONG: {counters} counters are above their quota"),
    };
    let denials = match report.undue_denials {
        0 => "ok: every denial was justified".to_owned(),
        denials => format!("WRONG: {denials} calls were denied although the limit had room"),
    };
    vec![quotas, denials, token_check(&report.token_check)]
}

fn token_check(check: &TokenCheck) -> String {
    match check {
        TokenCheck::NotCompared { not_compared } => {
            format!("tokens were not compared: {not_compared}")
        }
        TokenCheck::Compared { group_id, used_before, used_after, committed, equal } => {
            let (verdict, relation) = match equal {
                true => ("ok", "exactly what was committed"),
                false => ("WRONG", "not what was committed"),
            };
            let rose = Exact(used_after.0 - used_before.0);
            if used_before.0.is_zero() {
                format!("{verdict}: {group_id} over all users is {rose}, {relation} ({committed})")
            } else {
                format!(
                    "{verdict}: {group_id} over all users rose by {rose}, {relation} ({committed}); \
                     the users did not start at zero but at {used_before}"
                )
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::super::report::tests::sound;
    use super::*;

    #[test]
    fn the_tables_show_every_figure() {
        let text = sound().to_string();
        for expected in [
            "trace.csv as replay_0 to replay_9 on plan demo, model chat-large",
            "│ calls                      ┆         300 │",
            "│   by cents                 ┆          47 │",
            "│ context tokens committed   ┆  22,361,870 │",
            "│ cents by the price table   ┆  9,679.1325 │",
            "│ reserve p50 / p99 ms       ┆ 1.25 / 4.50 │",
            "│ tokens ┆ tokens ┆ 26,450,535 ┆    0 │",
            "│ replay_3 ┆ tokens ┆ 28,512 / 30,000 ┆   95.04 │",
            "ok: no user is above a quota\n",
            "ok: every denial was justified\n",
            "ok: tokens over all users is 26,450,535, exactly what was committed (26,450,535)\n",
        ] {
            assert!(text.contains(expected), "{expected:?} is not in\n{text}");
        }
        assert!(!text.contains("not metered") && !text.contains("limit_reached"));
    }

    #[test]
    fn problems_are_highlighted() {
        let mut report = sound();
        report.above_quota = report.nearest_to_quota.clone();
        report.undue_denials = 3;
        report.token_check = TokenCheck::Compared {
            group_id: "tokens".into(),
            used_before: Exact::from(7),
            used_after: Exact::from(10),
            committed: Exact::from(4),
            equal: false,
        };
        let text = report.to_string();
        for expected in [
            "WRONG: 1 counters are above their quota\n",
            "WRONG: 3 calls were denied although the limit had room\n",
            "WRONG: tokens over all users rose by 3, not what was committed (4); \
             the users did not start at zero but at 7\n",
        ] {
            assert!(text.contains(expected), "{expected:?} is not in\n{text}");
        }
    }
}
