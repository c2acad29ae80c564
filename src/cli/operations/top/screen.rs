//! What `top` shows.

use std::fmt;

use serde_json::{Value, json};

use super::metrics::CallRate;
use super::tally::{Count, Tally};
use crate::cli::remote::table::{harmless, text_table};

/// One screen.
pub struct Screen {
    pub address: String,
    /// How much time it covers.
    pub seconds: f64,
    /// Lines of each list.
    pub rows: usize,
    pub tally: Tally,
    /// Of the node; or why they are not known.
    pub calls: Result<Vec<CallRate>, String>,
    /// Why no events come.
    pub lost: Option<String>,
}

impl Screen {
    fn per_second(&self, count: u64) -> f64 {
        if self.seconds > 0.0 { count as f64 / self.seconds } else { 0.0 }
    }

    fn busiest(&self, heading: &str, counts: Vec<(&str, Count)>) -> String {
        let row = |(name, count): (&str, Count)| {
            let rate = |count: u64| format!("{:.1}", self.per_second(count));
            vec![harmless(name), rate(count.charged), rate(count.denied)]
        };
        match counts.is_empty() {
            true => String::new(),
            false => format!(
                "\n{}",
                text_table(&[heading, "charged/s", "denied/s"], counts.into_iter().map(row).collect(), &[1, 2])
            ),
        }
    }

    fn calls(&self) -> String {
        let calls = match &self.calls {
            Ok(calls) => calls,
            Err(why) => return format!("\nLatency is not known: {why}\n"),
        };
        let ms = |ms: Option<f64>| ms.map_or_else(|| "-".to_owned(), |ms| format!("{ms:.1}"));
        let row = |rate: &CallRate| {
            vec![
                rate.call.clone(),
                format!("{:.1}", rate.per_second),
                format!("{:.1}", rate.failed_per_second),
                ms(rate.p50_ms),
                ms(rate.p99_ms),
            ]
        };
        let rows: Vec<Vec<String>> = calls.iter().take(self.rows).map(row).collect();
        match rows.is_empty() {
            true => String::new(),
            false => format!(
                "\n{}",
                text_table(&["call on this node", "per s", "5xx/s", "p50 ms", "p99 ms"], rows, &[1, 2, 3, 4])
            ),
        }
    }

    /// The same for programs.
    pub fn json(&self) -> Value {
        let named = |counts: Vec<(&str, Count)>, name: &str| -> Vec<Value> {
            let one = |(id, count): (&str, Count)| json!({name: id, "charged": count.charged, "denied": count.denied});
            counts.into_iter().map(one).collect()
        };
        let call = |rate: &CallRate| {
            json!({"call": rate.call, "perSecond": rate.per_second, "failedPerSecond": rate.failed_per_second,
                "p50Ms": rate.p50_ms, "p99Ms": rate.p99_ms})
        };
        let calls = self.calls.as_ref().ok().map(|calls| calls.iter().map(call).collect::<Vec<_>>());
        json!({
            "seconds": self.seconds, "charged": self.tally.all.charged, "denied": self.tally.all.denied,
            "released": self.tally.released, "expired": self.tally.expired, "observed": self.tally.observed, "denialsByReason": self.tally.reasons,
            "groups": named(self.tally.busiest_groups(self.rows), "groupId"),
            "users": named(self.tally.busiest_users(self.rows), "userId"), "calls": calls,
        })
    }
}

impl fmt::Display for Screen {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Count { charged, denied } = self.tally.all;
        writeln!(f, "{}, the last {:.0} s\n", self.address, self.seconds)?;
        if let Some(why) = &self.lost {
            writeln!(f, "Reconnecting: {why}")?;
        }
        let share = if charged + denied > 0 { denied as f64 * 100.0 / (charged + denied) as f64 } else { 0.0 };
        writeln!(f, "charged   {:>10.1}/s", self.per_second(charged))?;
        write!(f, "denied    {:>10.1}/s   {share:.1} %", self.per_second(denied))?;
        for (reason, count) in &self.tally.reasons {
            write!(f, "   {} {:.1}/s", harmless(reason), self.per_second(*count))?;
        }
        writeln!(f, "\nreleased  {:>10.1}/s", self.per_second(self.tally.released))?;
        writeln!(f, "expired   {:>10.1}/s", self.per_second(self.tally.expired))?;
        if self.tally.observed > 0 {
            writeln!(f, "observed  {:>10.1}/s", self.per_second(self.tally.observed))?;
        }
        f.write_str(&self.busiest("limit", self.tally.busiest_groups(self.rows)))?;
        f.write_str(&self.busiest("user", self.tally.busiest_users(self.rows)))?;
        f.write_str(&self.calls())
    }
}
