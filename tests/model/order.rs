//! Searches for a sequential order of concurrent calls in which each answer is correct. This is the algorithm of Wing
//! and Gong with Lowe's memoization of visited states: a call comes after all calls that were answered before it was
//! sent.

use std::collections::HashSet;
use std::hash::{DefaultHasher, Hash, Hasher};

/// A call with the times at which it was sent and answered, by one clock.
#[derive(Clone, Debug)]
pub struct Timed<C> {
    pub sent: u64,
    pub answered: u64,
    pub call: C,
}

/// The search gives up after this many states.
const MOST_STATES: usize = 3_000_000;

/// There is no order: contains the longest prefix that explains its answers, as indices of its calls.
#[derive(Debug, PartialEq, Eq)]
pub struct Unexplained {
    pub longest: Vec<usize>,
}

/// Looks for an order. `step` returns the state after a call, or `None` if its answer is impossible in this state.
///
/// # Errors
/// [`Unexplained`]
pub fn explain<S: Clone + Hash, C>(
    first: &S,
    calls: &[Timed<C>],
    step: impl Fn(&S, &C) -> Option<S>,
) -> Result<S, Unexplained> {
    let mut search = Search {
        calls,
        step,
        seen: HashSet::new(),
        order: Vec::new(),
        done: vec![false; calls.len()],
        longest: Vec::new(),
    };
    match search.go_on(first) {
        Some(last) => Ok(last),
        None => Err(Unexplained { longest: search.longest }),
    }
}

struct Search<'a, C, F> {
    calls: &'a [Timed<C>],
    step: F,
    /// Which calls are done, and the resulting state.
    seen: HashSet<(Vec<bool>, u64)>,
    order: Vec<usize>,
    done: Vec<bool>,
    longest: Vec<usize>,
}

impl<C, F> Search<'_, C, F> {
    fn go_on<S: Clone + Hash>(&mut self, state: &S) -> Option<S>
    where
        F: Fn(&S, &C) -> Option<S>,
    {
        if self.order.len() > self.longest.len() {
            self.longest.clone_from(&self.order);
        }
        let open = || (0..self.calls.len()).filter(|place| !self.done[*place]);
        // Calls that were sent later than this must wait.
        let Some(first_answer) = open().map(|place| self.calls[place].answered).min() else {
            return Some(state.clone());
        };
        let mut next: Vec<usize> = open().filter(|place| self.calls[*place].sent <= first_answer).collect();
        next.sort_by_key(|place| self.calls[*place].answered);
        for place in next {
            let Some(after) = (self.step)(state, &self.calls[place].call) else { continue };
            self.done[place] = true;
            let mut hasher = DefaultHasher::new();
            after.hash(&mut hasher);
            if self.seen.insert((self.done.clone(), hasher.finish())) {
                assert!(self.seen.len() < MOST_STATES, "the calls overlap too much to find an order");
                self.order.push(place);
                if let Some(last) = self.go_on(&after) {
                    return Some(last);
                }
                self.order.pop();
            }
            self.done[place] = false;
        }
        None
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::call::{Call, Reply};
    use crate::model::rules::{Item, Labels};
    use crate::model::settle::Actual;
    use crate::model::setup::{rules, start_ms};
    use crate::model::state::Model;

    /// A counter with a limit of 3: `Take` returns whether the amount fits, `Look` the amount used.
    #[derive(Clone, Copy, Debug)]
    enum Toy {
        Take(u64, bool),
        Look(u64),
    }

    fn toy(taken: &u64, call: &Toy) -> Option<u64> {
        match *call {
            Toy::Take(amount, allowed) => {
                let fits = taken + amount <= 3;
                (fits == allowed).then_some(if fits { taken + amount } else { *taken })
            }
            Toy::Look(seen) => (seen == *taken).then_some(*taken),
        }
    }

    fn at(sent: u64, answered: u64, call: Toy) -> Timed<Toy> {
        Timed { sent, answered, call }
    }

    #[test]
    fn an_order_is_found_if_and_only_if_there_is_one() {
        let (take, look) = (Toy::Take, Toy::Look);
        for (calls, explained) in [
            (vec![], Some(0)),
            // One after the other.
            (vec![at(0, 1, take(2, true)), at(2, 3, look(2))], Some(2)),
            (vec![at(0, 1, take(2, true)), at(2, 3, look(0))], None),
            (vec![at(0, 1, look(2)), at(2, 3, take(2, true))], None),
            // Concurrent: either order is possible.
            (vec![at(0, 3, take(2, true)), at(1, 2, look(0))], Some(2)),
            (vec![at(0, 3, take(2, true)), at(1, 2, look(2))], Some(2)),
            (vec![at(0, 3, take(2, true)), at(1, 2, look(1))], None),
            // Two callers that both got the last unit.
            (vec![at(0, 3, take(2, true)), at(1, 4, take(2, true))], None),
            (vec![at(0, 3, take(2, true)), at(1, 4, take(2, false))], Some(2)),
            // Both were refused, although one of them fits.
            (vec![at(0, 3, take(2, false)), at(1, 4, take(2, false))], None),
            // The refusal requires the call that was sent first and answered last.
            (vec![at(0, 9, take(3, true)), at(1, 2, take(1, false)), at(3, 4, look(3))], Some(3)),
            // What one call saw, a later call must see too.
            (vec![at(0, 9, take(1, true)), at(1, 2, look(1)), at(3, 4, look(0))], None),
            (vec![at(0, 9, take(1, true)), at(1, 4, look(1)), at(2, 5, look(0))], Some(1)),
        ] {
            let found = explain(&0, &calls, toy);
            assert_eq!(found.ok(), explained, "{calls:?}");
        }
    }

    #[test]
    fn the_longest_explained_prefix_is_returned() {
        let calls = [at(0, 1, Toy::Take(2, true)), at(2, 3, Toy::Look(2)), at(4, 5, Toy::Look(3))];
        assert_eq!(explain(&0, &calls, toy), Err(Unexplained { longest: vec![0, 1] }));
    }

    /// A whole history of the model's own answers, with each answer falsified in turn.
    #[test]
    fn one_wrong_answer_among_the_models_is_found() {
        let user = || "u0".to_owned();
        let labels = Labels::default();
        let item = |quantity| Item { event: "job.run", labels, quantity };
        let reserve = |quantity| Call::Reserve { user: user(), items: vec![item(quantity)], fit: None, ttl_ms: 60_000 };
        let subscribe = |plan| Call::Subscribe {
            user: user(),
            plan,
            started_ms: None,
            cycle_ms: None,
            ends_ms: None,
            limits: None,
            reset: false,
        };
        let commit =
            |of, quantity| Call::Commit { of, figures: vec![Actual::of(quantity)], is_final: true, reject_late: false };
        let calls = [
            subscribe("free"),
            reserve(5),
            reserve(3),
            reserve(1),
            commit(1, Some(4)),
            Call::Release { of: 2 },
            subscribe("pro"),
            Call::Track { user: user(), item: item(2), enforce: true },
            Call::Usage { user: user(), labels },
        ];
        let first = Model::new(start_ms(), rules("app", false, false));
        let mut model = first.clone();
        let reply: Vec<Reply> = calls.iter().enumerate().map(|(name, call)| model.apply(name, false, call)).collect();
        let step = |model: &Model, (name, call, reply): &(usize, Call, Reply)| {
            let mut model = model.clone();
            (model.apply(*name, false, call) == *reply).then_some(model)
        };
        let history = |wrong: Option<usize>| {
            let calls = calls.iter().zip(&reply).enumerate().map(|(name, (call, reply))| {
                let mut reply = reply.clone();
                if wrong == Some(name) {
                    reply.allowed = reply.allowed.map(|allowed| !allowed);
                    reply.word.push('!');
                }
                let at = 2 * name as u64;
                Timed { sent: at, answered: at + 1, call: (name, call.clone(), reply) }
            });
            calls.collect::<Vec<_>>()
        };
        assert!(explain(&first, &history(None), step).is_ok());
        for wrong in 0..calls.len() {
            let longest = (0..wrong).collect();
            assert_eq!(explain(&first, &history(Some(wrong)), step), Err(Unexplained { longest }));
        }
    }
}
