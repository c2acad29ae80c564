//! `quotagate top`: what happens now. Charges and denials come from the stream of events, so they are those of all nodes;
//! latency comes from the metrics of the node that is asked.

mod follow;
mod metrics;
mod screen;
mod tally;

use std::collections::VecDeque;
use std::io::IsTerminal;
use std::time::{Duration, Instant};

use tokio::time::MissedTickBehavior;

use crate::cli::print;
use crate::cli::remote::table::print_json;
use crate::cli::remote::{Api, RemoteError, RemoteMode};
use follow::Follow;
use metrics::{CallRate, Metrics};
use screen::Screen;
use tally::Tally;

/// How many intervals a screen shows.
const SHOWN: usize = 5;

/// Show live rates, denials, latency, and the busiest limits and users
///
/// Charges and denials are those of one app and mode on all nodes. Latency is that of the node at --url, for all
/// apps. On a terminal the screen is updated until Ctrl-C; elsewhere one interval is printed, as with --once.
#[derive(Clone, Debug, clap::Args)]
pub struct TopArgs {
    /// Seconds between two screens
    #[arg(long, value_name = "SECONDS", default_value_t = 2, value_parser = clap::value_parser!(u64).range(1..=60))]
    interval: u64,
    /// Lines of each list
    #[arg(long, value_name = "N", default_value_t = 5, value_parser = clap::value_parser!(u16).range(1..=100))]
    rows: u16,
    /// Print one interval, and end
    #[arg(long)]
    once: bool,
    /// Print one interval as JSON, and end
    #[arg(long)]
    json: bool,
    #[command(flatten)]
    remote: RemoteMode,
}

/// # Errors
/// [`RemoteError`]
pub async fn run(args: TopArgs) -> Result<(), RemoteError> {
    let api = args.remote.client()?;
    let once = args.once || args.json || !std::io::stdout().is_terminal();
    let mut watched = Watched::start(&api).await?;
    let mut turns = tokio::time::interval(Duration::from_secs(args.interval));
    turns.set_missed_tick_behavior(MissedTickBehavior::Delay);
    // The first one is at once.
    turns.tick().await;
    loop {
        watched.until(turns.tick()).await;
        if once && let Some(why) = watched.lost {
            return Err(why);
        }
        watched.look_at_metrics().await;
        let screen = watched.screen(usize::from(args.rows));
        if args.json {
            return print_json(&screen.json());
        }
        if once {
            print::out(screen.to_string());
            return Ok(());
        }
        print::out(redrawn(&format!("{screen}\nCtrl-C ends it.\n")));
        watched.next_turn().await;
    }
}

/// Written over the screen before it; what was longer is cleared.
fn redrawn(text: &str) -> String {
    format!("\x1b[H{}\x1b[J", text.replace('\n', "\x1b[K\n"))
}

/// What was seen in the last intervals.
struct Watched<'a> {
    api: &'a Api,
    /// None: the connection was lost.
    follow: Option<Follow>,
    lost: Option<RemoteError>,
    /// Oldest first; the last one is under way.
    tallies: VecDeque<(Instant, Tally)>,
    /// Oldest first, one more than there are tallies that are over.
    metrics: VecDeque<Result<Metrics, RemoteError>>,
}

impl<'a> Watched<'a> {
    async fn start(api: &'a Api) -> Result<Self, RemoteError> {
        let follow = Some(Follow::start(api).await?);
        let metrics = VecDeque::from([Metrics::read(api).await]);
        Ok(Self { api, follow, lost: None, tallies: VecDeque::from([(Instant::now(), Tally::default())]), metrics })
    }

    /// Counts events until then.
    async fn until<T>(&mut self, end: impl Future<Output = T>) {
        let mut end = std::pin::pin!(end);
        while let Some(follow) = &mut self.follow {
            let event = tokio::select! {
                biased;
                _ = &mut end => return,
                event = follow.next() => event,
            };
            match (event, self.tallies.back_mut()) {
                (Ok(event), Some((_, tally))) => tally.add(&event),
                (Ok(_), None) => {}
                (Err(error), _) => {
                    self.lost = Some(error);
                    self.follow = None;
                }
            }
        }
        end.await;
    }

    async fn look_at_metrics(&mut self) {
        self.metrics.push_back(Metrics::read(self.api).await);
        if self.metrics.len() > SHOWN + 1 {
            self.metrics.pop_front();
        }
    }

    /// Begins another interval, with a new connection if the last one was lost.
    async fn next_turn(&mut self) {
        if self.follow.is_none() {
            match Follow::start(self.api).await {
                Ok(follow) => (self.follow, self.lost) = (Some(follow), None),
                Err(error) => self.lost = Some(error),
            }
        }
        self.tallies.push_back((Instant::now(), Tally::default()));
        if self.tallies.len() > SHOWN {
            self.tallies.pop_front();
        }
    }

    fn screen(&self, rows: usize) -> Screen {
        let seconds = self.tallies.front().map_or(0.0, |(begun, _)| begun.elapsed().as_secs_f64());
        let mut sum = Tally::default();
        self.tallies.iter().for_each(|(_, tally)| sum.merge(tally));
        let calls: Result<Vec<CallRate>, String> = match (self.metrics.front(), self.metrics.back()) {
            (Some(Ok(before)), Some(Ok(after))) => Ok(after.since(before, seconds)),
            (_, Some(Err(error))) => Err(error.to_string()),
            _ => Err("the metrics were read only once".to_owned()),
        };
        let lost = self.lost.as_ref().map(ToString::to_string);
        Screen { address: self.api.address().to_string(), seconds, rows, tally: sum, calls, lost }
    }
}
