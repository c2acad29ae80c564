//! Reserves with `fit`: the largest value of one figure that fits, found by trying each value.

use super::admit::{Admission, Asked, Purpose};
use super::call::{Name, Reply};
use super::rules::{Item, Measure, Ms};
use super::state::Model;

/// The figure of an item that may be reduced to `min`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Fit {
    pub item: usize,
    /// `steps`; otherwise the quantity.
    pub is_steps: bool,
    pub min: u64,
}

impl Fit {
    pub fn field(self) -> &'static str {
        if self.is_steps { "steps" } else { "quantity" }
    }

    /// The items with this value of the figure.
    fn with(self, items: &[Item], value: u64) -> Vec<Item> {
        let mut items = items.to_vec();
        let item = &mut items[self.item];
        if self.is_steps {
            item.labels.steps = Some(value);
        } else {
            item.quantity = value;
        }
        items
    }

    fn is_measured_by(self, measure: Measure) -> bool {
        match measure {
            Measure::Quantity => !self.is_steps,
            Measure::Event => false,
            Measure::Sum(sum) => (if self.is_steps { sum.per_step } else { sum.per_quantity }) > 0,
        }
    }
}

impl Model {
    /// What the call asks for with its least value, and the largest value for which there is room if that is allowed.
    /// None if the call is not valid.
    fn fit(&self, asked: Asked<'_>, fit: Fit) -> Option<(Vec<Item>, Option<u64>)> {
        let item = asked.items[fit.item];
        let sent = if fit.is_steps { item.labels.steps } else { Some(item.quantity) };
        if sent.is_some_and(|sent| sent < fit.min) {
            return None;
        }
        let least = fit.with(asked.items, fit.min);
        let admission = self.admission(Asked { items: &least, ..asked }, Purpose::Ask);
        if admission.refusal.is_some() {
            return Some((least, None));
        }
        let counting = self.standing(asked.user).into_iter().filter(|group| {
            let owner = group.owner(asked.user, &self.rules.app, item.labels);
            owner.is_some_and(|owner| admission.matched.iter().any(|it| it.group.id == group.id && it.owner == owner))
        });
        let measures: Vec<Measure> =
            counting.filter_map(|group| Some(group.rule(item.event, item.labels)?.measure)).collect();
        let is_measured = measures.iter().any(|measure| fit.is_measured_by(*measure));
        if !measures.is_empty() && !is_measured {
            return None;
        }
        let wish = match sent {
            None if !is_measured => return None,
            None => item.labels.estimated().max(fit.min),
            Some(sent) => sent,
        };
        let value = (fit.min..=wish).rev().find(|value| {
            let items = fit.with(asked.items, *value);
            self.has_room(&self.admission(Asked { items: &items, ..asked }, Purpose::Ask))
        });
        Some((least, value))
    }

    fn has_room(&self, admission: &Admission) -> bool {
        admission.refusal.is_none() && !admission.matched.iter().any(|matched| self.is_over_limit(matched))
    }

    pub fn reserve_fitted(&mut self, name: Name, asked: Asked<'_>, fit: Fit, ttl_ms: Ms) -> Reply {
        let Some((least, value)) = self.fit(asked, fit) else { return Self::invalid() };
        let least = Asked { items: &least, ..asked };
        let Some(value) = value else { return self.reserve(name, least, ttl_ms) };
        // What would have been denied is the least value.
        let observed = self.observed(&self.admission(least, Purpose::Ask));
        let items = fit.with(asked.items, value);
        let reply = self.reserve(name, Asked { items: &items, ..asked }, ttl_ms);
        Reply { observed, fitted: Some(value), ..reply }
    }

    pub fn can_use_fitted(&self, asked: Asked<'_>, fit: Fit) -> Reply {
        let Some((least, fitted)) = self.fit(asked, fit) else { return Self::invalid() };
        Reply { fitted, ..self.can_use(Asked { items: &least, ..asked }) }
    }

    fn invalid() -> Reply {
        Reply::problem(400, "invalid_request")
    }
}
