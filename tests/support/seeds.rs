//! Seeds of random tests. They are fixed, so that each run of `make test` does the same, unless `NEW_SEEDS` requests
//! new ones.

use rand::SeedableRng;
use rand::rngs::StdRng;

/// The seed of every test that is given no other.
const FIXED: u64 = 18;

/// The random choices of a fault test.
pub fn choices() -> StdRng {
    StdRng::seed_from_u64(seed("FAULT_SEED"))
}

/// The seed of a test: the value of the environment variable; otherwise, with `NEW_SEEDS` set (`make soak`), a new
/// one; otherwise a fixed one. It is printed, and so shown when the test fails; the same value in the variable repeats
/// the test.
pub fn seed(variable: &str) -> u64 {
    let given = std::env::var(variable).ok();
    let given = given.map(|text| text.parse().unwrap_or_else(|_| panic!("{variable} must be a number")));
    let new = || std::env::var_os("NEW_SEEDS").map(|_| rand::random_range(0..1_000_000_000_000));
    let seed = given.or_else(new).unwrap_or(FIXED);
    println!("{variable}={seed}");
    seed
}
