//! The fitted value is the largest that fits, whatever the weights and amounts are.

use rand::rngs::StdRng;
use rand::{RngExt, SeedableRng};
use serde_json::{Value, json};

use crate::support::World;
use crate::support::seeds::seed;

/// A group that counts one event by two weights: `event` and `tokens`.
struct Weighed {
    unit: &'static str,
    decimals: u32,
    /// Digits and decimal places.
    event: (u64, u32),
    tokens: (u64, u32),
    /// In steps of the unit.
    quota: u64,
    wish: u64,
    min: u64,
}

impl Weighed {
    fn random(random: &mut StdRng) -> Self {
        let (unit, decimals, most) =
            [("count", 0, 1_u64 << 53), ("seconds", 3, 1_000_000_000_000_000), ("cents", 6, 1_000_000_000_000_000)]
                [random.random_range(0..3)];
        let below = |random: &mut StdRng, most: u64| {
            let bits = random.random_range(0..=most.ilog2());
            random.random_range(0..most >> bits)
        };
        let wish = 1 + below(random, 1_000_000_000_000);
        Self {
            unit,
            decimals,
            event: (below(random, 1_000_000), random.random_range(0..=12)),
            tokens: (1 + below(random, 10_000_000_000_000), random.random_range(0..=12)),
            quota: below(random, most - 1),
            wish,
            min: 1 + below(random, wish),
        }
    }

    fn text((digits, places): (u64, u32)) -> String {
        let digits = format!("{digits:0>width$}", width = places as usize + 1);
        let (whole, fraction) = digits.split_at(digits.len() - places as usize);
        format!("{whole}.{fraction}0")
    }

    fn group(&self, place: usize) -> Value {
        json!({"id": format!("g{place}"), "unit": self.unit, "quota": Self::text((self.quota, self.decimals)).trim_end_matches('0').trim_end_matches('.'),
            "measure": {"per": {"event": Self::text(self.event), "tokens": Self::text(self.tokens)}},
            "matches": [{"event": format!("e{place}")}]})
    }

    /// The largest whole number whose amount, rounded up to a step, is at most the quota: computed with integers, in
    /// parts of 10^-12 of a step.
    fn expected(&self) -> Option<u64> {
        let scale = |(digits, places): (u64, u32)| i128::from(digits) * 10_i128.pow(12 - places + self.decimals);
        let room = i128::from(self.quota) * 10_i128.pow(12) - scale(self.event);
        let fits = room.div_euclid(scale(self.tokens)).min(i128::from(self.wish));
        u64::try_from(fits).ok().filter(|fits| self.quota > 0 && *fits >= self.min)
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_fitted_value_is_exact_for_weights_and_quotas_of_any_size() {
    let world = World::frozen().await;
    let seed = seed("FIT_SEED");
    let mut random = StdRng::seed_from_u64(seed);
    let (mut fitted, mut denied, mut whole) = (0, 0, 0);
    for round in 0..4 {
        let cases: Vec<Weighed> = (0..60).map(|_| Weighed::random(&mut random)).collect();
        let groups: Vec<Value> = cases.iter().enumerate().map(|(place, case)| case.group(place)).collect();
        let (plan, user) = (format!("p{round}"), format!("u{round}"));
        let groups: Vec<Value> = groups
            .into_iter()
            .map(|mut group| {
                group["id"] = json!(format!("r{round}{}", group["id"].as_str().unwrap()));
                group
            })
            .collect();
        world.admin.plan(&plan, json!({"periodType": "daily", "groups": groups})).await;
        world.app.subscribe(&user, &plan).await;
        for (place, case) in cases.iter().enumerate() {
            let body = json!({"userId": user, "event": format!("e{place}"), "metadata": {"tokens": case.wish.to_string()},
                "fit": {"field": "tokens", "min": case.min}});
            let case_text = format!("FIT_SEED={seed}, {} for {body}", case.group(place));
            let asked = world.app.post("can-use", body.clone()).await;
            let answer = world.app.post("reserve", body).await;
            // The minimum alone may be more than a counter can hold.
            if answer.status == 400 {
                assert_eq!((case.expected(), answer.bad_field()), (None, "metadata.tokens".to_owned()), "{case_text}");
                denied += 1;
                continue;
            }
            let (asked, answer) = (asked.expect(200), answer.expect(200));
            let value = answer["fitted"]["tokens"].as_u64();
            assert_eq!((value, asked["fitted"]["tokens"].as_u64()), (case.expected(), case.expected()), "{case_text}");
            match value {
                None => denied += 1,
                Some(value) => {
                    fitted += usize::from(value < case.wish);
                    whole += usize::from(value == case.wish);
                    // The held amount is the amount of that value.
                    let id = answer["reservationId"].as_str().unwrap();
                    let held = world.app.stands(&user, &format!("r{round}g{place}")).await.1;
                    let figures = json!({"reservationId": id, "metadata": {"tokens": value.to_string()}});
                    world.app.post("commit", figures).await.expect(200);
                    assert_eq!(world.app.stands(&user, &format!("r{round}g{place}")).await, (held, 0.0), "{case_text}");
                }
            }
        }
    }
    assert!(fitted > 20 && denied > 20 && whole > 20, "{fitted} fitted, {denied} denied, {whole} whole");
}
