//! A small model of one user with a daily quota of images that overflows onto credits, and videos that only credits pay.

pub mod crowd;
pub mod histories;

use std::collections::BTreeMap;

use super::rules::{DAY_MS, Ms};
use super::state::GRACE_MS;

pub const QUOTA: u64 = 4;

/// What becomes of an amount that comes back.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum End {
    Remains,
    Lapses,
    IsVoided,
}

#[derive(Clone, Debug, Hash)]
pub struct Credit {
    pub id: String,
    pub ends_ms: Option<Ms>,
    pub end: End,
    pub amount: u64,
    pub left: u64,
    pub held: u64,
    pub used: u64,
    pub lapsed: u64,
    pub voided: u64,
}

impl Credit {
    pub fn new(id: &str, amount: u64, ends_ms: Option<Ms>) -> Self {
        let (id, end) = (id.to_owned(), End::Remains);
        Self { id, ends_ms, end, amount, left: amount, held: 0, used: 0, lapsed: 0, voided: 0 }
    }

    fn give_back(&mut self, amount: u64) {
        match self.end {
            End::Remains => self.left += amount,
            End::Lapses => self.lapsed += amount,
            End::IsVoided => self.voided += amount,
        }
    }

    pub fn is_listed(&self) -> bool {
        self.left + self.held > 0
    }

    pub fn figures(&self) -> [u64; 6] {
        [self.amount, self.left, self.held, self.used, self.lapsed, self.voided]
    }
}

/// What a reservation holds and was charged in one credit; in the order of use. None: without a credit.
#[derive(Clone, Debug, Hash)]
pub struct Part {
    pub credit: Option<usize>,
    pub holds: u64,
    pub charged: u64,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Status {
    Held,
    Committed,
    Released,
}

#[derive(Clone, Debug, Hash)]
pub struct Reservation {
    pub id: String,
    /// The day in which it holds images; None of a video, which the balance matches itself.
    pub day: Option<Ms>,
    pub expires_ms: Ms,
    pub status: Status,
    /// Its hold has not expired.
    pub live: bool,
    pub drawn: u64,
    pub holds: u64,
    pub charged: u64,
    pub parts: Vec<Part>,
}

impl Reservation {
    fn all_charged(&self) -> u64 {
        self.charged + self.parts.iter().map(|part| part.charged).sum::<u64>()
    }
}

/// What is expected of a call: its status, whether it is allowed, and what it took or charged beyond the quota.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Expected {
    pub status: u16,
    pub allowed: Option<bool>,
    pub overflow: u64,
}

impl Expected {
    pub const fn of(status: u16) -> Self {
        Self { status, allowed: None, overflow: 0 }
    }
}

#[derive(Clone, Debug, Hash)]
pub struct Model {
    pub now_ms: Ms,
    /// By day.
    pub used: BTreeMap<Ms, u64>,
    /// The day of the last call that wrote the images' counter: earlier days are closed.
    pub stored: Ms,
    pub credits: Vec<Credit>,
    pub uncovered: u64,
    pub reservations: Vec<Reservation>,
}

impl Model {
    /// Without credits and reservations.
    pub fn new(now_ms: Ms) -> Self {
        let (credits, reservations, used) = (Vec::new(), Vec::new(), BTreeMap::new());
        Self { now_ms, used, stored: Ms::MIN, credits, uncovered: 0, reservations }
    }

    /// The counters of images and of credits: used, held, remaining and overage.
    pub fn usage(&self) -> [[u64; 4]; 2] {
        let today = self.today();
        let used = self.used_on(today);
        let images = [used, self.held_on(today), self.room_on(today), used.saturating_sub(QUOTA)];
        let sum = |figure: fn(&Credit) -> u64| self.credits.iter().map(figure).sum::<u64>();
        let of_credits = sum(|credit| credit.used) + self.uncovered;
        [images, [of_credits, sum(|credit| credit.held), self.left(), self.uncovered]]
    }

    pub fn today(&self) -> Ms {
        self.now_ms.div_euclid(DAY_MS) * DAY_MS
    }

    pub fn used_on(&self, day: Ms) -> u64 {
        self.used.get(&day).copied().unwrap_or(0)
    }

    pub fn held_on(&self, day: Ms) -> u64 {
        let held = self.reservations.iter().filter(|it| it.live && it.day == Some(day));
        held.map(|it| it.holds).sum()
    }

    pub fn room_on(&self, day: Ms) -> u64 {
        QUOTA.saturating_sub(self.used_on(day) + self.held_on(day))
    }

    pub fn left(&self) -> u64 {
        self.credits.iter().map(|credit| credit.left).sum()
    }

    /// Credits in the order of use.
    pub fn order(&self) -> Vec<usize> {
        let mut order: Vec<usize> = (0..self.credits.len()).collect();
        order.sort_by_key(|place| (self.credits[*place].ends_ms.unwrap_or(Ms::MAX), *place));
        order
    }

    /// Takes an amount in the order of use: what each credit gives, and what is missing.
    fn take(&mut self, mut amount: u64) -> (Vec<(usize, u64)>, u64) {
        let mut taken = Vec::new();
        for place in self.order() {
            let part = amount.min(self.credits[place].left);
            if part > 0 {
                self.credits[place].left -= part;
                taken.push((place, part));
                amount -= part;
            }
        }
        (taken, amount)
    }

    /// Moves the clock: holds and credits that have expired end.
    pub fn advance(&mut self, now_ms: Ms) {
        self.now_ms = now_ms;
        for place in 0..self.reservations.len() {
            let it = &mut self.reservations[place];
            if it.live && it.expires_ms <= now_ms {
                it.live = false;
                for Part { credit, holds, .. } in it.parts.clone() {
                    self.return_to(credit, holds);
                }
            }
        }
        for credit in self.credits.iter_mut().filter(|credit| credit.ends_ms.is_some_and(|end| end <= now_ms)) {
            if credit.end == End::Remains {
                credit.end = End::Lapses;
                credit.lapsed += std::mem::take(&mut credit.left);
            }
        }
    }

    fn return_to(&mut self, credit: Option<usize>, amount: u64) {
        if let Some(place) = credit {
            self.credits[place].held -= amount;
            self.credits[place].give_back(amount);
        }
    }

    /// What a call takes beyond the quota; None if it is denied.
    fn split(&self, is_image: bool, quantity: u64) -> Option<u64> {
        let over = if is_image { quantity.saturating_sub(self.room_on(self.today())) } else { quantity };
        (over <= self.left()).then_some(over)
    }

    pub fn reserve(&mut self, is_image: bool, quantity: u64, ttl_ms: Ms) -> Expected {
        let Some(over) = self.split(is_image, quantity) else {
            return Expected { allowed: Some(false), ..Expected::of(200) };
        };
        let (taken, _) = self.take(over);
        let mut parts = Vec::new();
        for (place, holds) in taken {
            self.credits[place].held += holds;
            parts.push(Part { credit: Some(place), holds, charged: 0 });
        }
        let day = is_image.then(|| self.today());
        self.stored = day.unwrap_or(self.stored);
        self.reservations.push(Reservation {
            id: String::new(),
            day,
            expires_ms: self.now_ms + ttl_ms,
            status: Status::Held,
            live: true,
            drawn: 0,
            holds: if is_image { quantity - over } else { 0 },
            charged: 0,
            parts,
        });
        Expected { status: 200, allowed: Some(true), overflow: if is_image { over } else { 0 } }
    }

    fn is_gone(&self, it: &Reservation) -> bool {
        self.now_ms >= it.expires_ms + GRACE_MS
    }

    pub fn commit(&mut self, of: usize, figure: Option<u64>, is_final: bool) -> Expected {
        let mut it = self.reservations[of].clone();
        match it.status {
            _ if self.is_gone(&it) => return Expected::of(410),
            Status::Committed if is_final => return Expected { overflow: overflow(&it), ..Expected::of(200) },
            Status::Committed | Status::Released => return Expected::of(409),
            Status::Held => {}
        }
        let held = it.holds + it.parts.iter().map(|part| part.holds).sum::<u64>();
        let total = match figure {
            Some(figure) => Some(it.drawn + figure),
            // Without figures, only what was held in credits says that there is a balance.
            None if it.live || (it.day.is_some() && it.parts.is_empty()) => None,
            None => Some(it.all_charged() + held),
        };
        it.drawn += figure.filter(|_| !is_final).unwrap_or(0);
        let mut open = total.map(|total| total.saturating_sub(it.all_charged()));
        let mut share = |most: u64, holds: u64| match &mut open {
            None => holds,
            Some(open) => {
                let share = most.min(*open);
                *open -= share;
                share
            }
        };
        if let Some(day) = it.day {
            let own = if it.live { it.holds } else { 0 };
            let closed = day != self.stored;
            let most = if closed { it.holds } else { self.room_on(day) + own };
            let charged = share(most, it.holds);
            it.holds -= if is_final { it.holds } else { charged.min(it.holds) };
            it.charged += charged;
            *self.used.entry(day).or_default() += charged;
        }
        let shares: Vec<u64> = it.parts.iter().map(|part| share(part.holds, part.holds)).collect();
        let mut rest = open.unwrap_or(0);
        for (part, charged) in it.parts.iter_mut().zip(shares) {
            let freed = if is_final { part.holds } else { charged.min(part.holds) };
            if let Some(place) = part.credit {
                let credit = &mut self.credits[place];
                let spent = match it.live {
                    true => {
                        credit.held -= freed;
                        credit.give_back(freed - charged);
                        charged
                    }
                    false => {
                        let spent = charged.min(credit.left);
                        credit.left -= spent;
                        spent
                    }
                };
                credit.used += spent;
                part.charged += spent;
                rest += charged - spent;
            }
            part.holds -= freed;
        }
        let (taken, missing) = self.take(rest);
        for (place, amount) in taken {
            self.credits[place].used += amount;
            charge(&mut it.parts, Some(place), amount);
        }
        if let Some(day) = it.day {
            it.charged += missing;
            *self.used.entry(day).or_default() += missing;
        } else if missing > 0 {
            self.uncovered += missing;
            charge(&mut it.parts, None, missing);
        }
        if is_final {
            (it.status, it.live) = (Status::Committed, false);
        }
        let expected = Expected { overflow: overflow(&it), ..Expected::of(200) };
        self.reservations[of] = it;
        expected
    }

    pub fn release(&mut self, of: usize) -> Expected {
        let it = self.reservations[of].clone();
        match it.status {
            _ if self.is_gone(&it) => return Expected::of(410),
            Status::Released => return Expected { overflow: overflow(&it), ..Expected::of(200) },
            Status::Committed => return Expected::of(409),
            Status::Held if !it.live => return Expected::of(410),
            Status::Held => {}
        }
        for Part { credit, holds, .. } in it.parts.clone() {
            self.return_to(credit, holds);
        }
        let expected = Expected { overflow: overflow(&it), ..Expected::of(200) };
        (self.reservations[of].status, self.reservations[of].live) = (Status::Released, false);
        expected
    }

    pub fn refund(&mut self, of: usize, quantity: u64) -> Expected {
        let mut it = self.reservations[of].clone();
        match it.status {
            _ if self.is_gone(&it) => return Expected::of(410),
            Status::Held => return Expected::of(409),
            Status::Committed | Status::Released => {}
        }
        let mut amount = quantity;
        for part in it.parts.iter_mut().rev() {
            let given = amount.min(part.charged);
            part.charged -= given;
            amount -= given;
            // At most what was used: a refund without a reservation may have given it back before.
            match part.credit {
                Some(place) => {
                    let credit = &mut self.credits[place];
                    let returned = given.min(credit.used);
                    credit.used -= returned;
                    credit.give_back(returned);
                }
                None => self.uncovered = self.uncovered.saturating_sub(given),
            }
        }
        if let Some(day) = it.day {
            let given = amount.min(it.charged);
            it.charged -= given;
            let used = self.used.entry(day).or_default();
            *used = used.saturating_sub(given);
        }
        self.reservations[of] = it;
        Expected::of(200)
    }

    pub fn track(&mut self, is_image: bool, quantity: u64, enforce: bool) -> Expected {
        let over = match self.split(is_image, quantity) {
            None if enforce => return Expected::of(429),
            Some(over) => over,
            None => self.left(),
        };
        let (taken, _) = self.take(over);
        for (place, amount) in taken {
            self.credits[place].used += amount;
        }
        match is_image {
            true => {
                self.stored = self.today();
                *self.used.entry(self.stored).or_default() += quantity - over;
            }
            false => self.uncovered += quantity - over,
        }
        Expected { overflow: if is_image { over } else { 0 }, ..Expected::of(200) }
    }

    /// A refund without a reservation.
    pub fn give_back(&mut self, is_image: bool, quantity: u64) -> Expected {
        if is_image {
            self.stored = self.today();
            let used = self.used.entry(self.stored).or_default();
            *used = used.saturating_sub(quantity);
            return Expected::of(200);
        }
        let part = quantity.min(self.uncovered);
        self.uncovered -= part;
        let mut amount = quantity - part;
        // Those that are left, the last first; then the used up ones, the newest first.
        let (mut order, mut used_up): (Vec<usize>, Vec<usize>) =
            self.order().into_iter().rev().partition(|place| self.credits[*place].is_listed());
        used_up.sort_unstable_by(|one, other| other.cmp(one));
        order.append(&mut used_up);
        for place in order {
            let credit = &mut self.credits[place];
            if credit.end == End::Remains {
                let part = amount.min(credit.used);
                credit.used -= part;
                credit.left += part;
                amount -= part;
            }
        }
        Expected::of(200)
    }

    pub fn void(&mut self, of: usize, amount: Option<u64>) -> Expected {
        let credit = &mut self.credits[of];
        match amount {
            Some(amount) if amount > credit.left => return Expected::of(400),
            Some(amount) => {
                credit.left -= amount;
                credit.voided += amount;
            }
            None => {
                credit.voided += std::mem::take(&mut credit.left);
                if credit.end == End::Remains {
                    credit.end = End::IsVoided;
                }
            }
        }
        Expected::of(200)
    }
}

fn charge(parts: &mut Vec<Part>, credit: Option<usize>, amount: u64) {
    match parts.iter_mut().find(|part| part.credit == credit) {
        Some(part) => part.charged += amount,
        None => parts.push(Part { credit, holds: 0, charged: amount }),
    }
}

/// What a reservation was charged in credits beyond a quota.
fn overflow(it: &Reservation) -> u64 {
    if it.day.is_some() { it.parts.iter().map(|part| part.charged).sum() } else { 0 }
}
