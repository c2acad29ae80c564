//! Exact amounts: fixed-point integers in the step of their unit, never floats.

use std::fmt;

use rust_decimal::Decimal;
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use super::digits::push_digits;

/// What a limit group counts in. The unit of a group id never changes.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "lowercase")]
pub enum Unit {
    Count,
    Tokens,
    Seconds,
    Cents,
}

impl Unit {
    /// Decimal places of one step: count and tokens 0, seconds 3, cents 6.
    pub const fn decimals(self) -> u32 {
        match self {
            Self::Count | Self::Tokens => 0,
            Self::Seconds => 3,
            Self::Cents => 6,
        }
    }

    /// The name in the API.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Count => "count",
            Self::Tokens => "tokens",
            Self::Seconds => "seconds",
            Self::Cents => "cents",
        }
    }

    /// The maximum of one counter: 2^53 − 1 count or tokens, 10^12 seconds, 10^9 cents.
    pub const fn most(self) -> Amount {
        match self {
            Self::Count | Self::Tokens => Amount(Amount::MOST),
            Self::Seconds | Self::Cents => Amount(1_000_000_000_000_000),
        }
    }
}

impl fmt::Display for Unit {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str(self.as_str())
    }
}

/// Steps of a unit, 0 to 2^53 − 1: the range in which Lua's numbers are exact integers.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Amount(u64);

/// The fault of amounts that together exceed [`Unit::most`].
pub const SUM_TOO_LARGE: &str =
    "adds up to more than the maximum of 9007199254740991 count or tokens, 1000000000000 seconds, or 1000000000 cents";

/// Why a number is not an amount.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum AmountError {
    #[error("must be a number, or a string with a decimal number")]
    NotANumber,
    #[error("must not be negative")]
    Negative,
    #[error("must have at most {decimals} decimal places")]
    TooFine { decimals: u32 },
    #[error("must be at most 9007199254740991 count or tokens, 1000000000000 seconds, or 1000000000 cents")]
    TooLarge,
}

impl Amount {
    /// 2^53 − 1.
    pub const MOST: u64 = (1 << 53) - 1;
    /// The largest exact amount, whatever the unit.
    pub const LARGEST: Self = Self(Self::MOST);
    pub const ZERO: Self = Self(0);

    /// # Errors
    /// [`AmountError::TooLarge`] above 2^53 − 1.
    pub const fn from_steps(steps: u64) -> Result<Self, AmountError> {
        if steps > Self::MOST { Err(AmountError::TooLarge) } else { Ok(Self(steps)) }
    }

    pub const fn steps(self) -> u64 {
        self.0
    }

    /// One whole unit.
    pub const fn one(unit: Unit) -> Self {
        Self(10_u64.pow(unit.decimals()))
    }

    /// The exact amount.
    ///
    /// # Errors
    /// Negative, finer than the unit's step, or more than one counter can hold.
    pub fn exactly(value: Decimal, unit: Unit) -> Result<Self, AmountError> {
        if value.normalize().scale() > unit.decimals() {
            return Err(AmountError::TooFine { decimals: unit.decimals() });
        }
        Self::rounded_up(value, unit)
    }

    /// The amount, rounded up to the unit's step.
    ///
    /// # Errors
    /// Negative, or more than one counter can hold.
    pub fn rounded_up(value: Decimal, unit: Unit) -> Result<Self, AmountError> {
        if value.is_sign_negative() && !value.is_zero() {
            return Err(AmountError::Negative);
        }
        let steps = value
            .checked_mul(Decimal::from(Self::one(unit).0))
            .and_then(|steps| u64::try_from(steps.ceil()).ok())
            .ok_or(AmountError::TooLarge)?;
        if steps > unit.most().0 { Err(AmountError::TooLarge) } else { Ok(Self(steps)) }
    }

    pub fn to_decimal(self, unit: Unit) -> Decimal {
        Decimal::from_i128_with_scale(i128::from(self.0), unit.decimals()).normalize()
    }

    /// Appends the exact amount in decimal digits, without zeros at the end of a fraction.
    pub fn push_text(self, unit: Unit, text: &mut String) {
        // Most units have no decimals.
        if unit.decimals() == 0 {
            return push_digits(self.0, text);
        }
        let mut one = Self::one(unit).0;
        let mut fraction = self.0 % one;
        push_digits(self.0 / one, text);
        if fraction == 0 {
            return;
        }
        while fraction.is_multiple_of(10) {
            (fraction, one) = (fraction / 10, one / 10);
        }
        text.push('.');
        // A one in front keeps the zeros after the point.
        text.push_str(&itoa::Buffer::new().format(one + fraction)[1..]);
    }

    pub const fn saturating_sub(self, other: Self) -> Self {
        Self(self.0.saturating_sub(other.0))
    }

    /// None above 2^53 − 1.
    pub fn checked_add(self, other: Self) -> Option<Self> {
        Some(Self(self.0 + other.0)).filter(|sum| sum.0 <= Self::MOST)
    }

    /// At most 2^53 − 1.
    pub fn saturating_add(self, other: Self) -> Self {
        Self((self.0 + other.0).min(Self::MOST))
    }
}

/// Reads a JSON number's text or a decimal string: `4`, `0.25`, `1e3`.
///
/// # Errors
/// Not a number, negative, more than 12 decimal places, or beyond 28 significant digits.
pub fn parse_decimal(text: &str) -> Result<Decimal, AmountError> {
    let bytes = text.as_bytes();
    let plain = !bytes.is_empty()
        && bytes.len() <= 64
        && bytes.iter().all(|byte| byte.is_ascii_digit() || b"+-.eE".contains(byte))
        && bytes.iter().any(u8::is_ascii_digit);
    if !plain {
        return Err(AmountError::NotANumber);
    }
    // Some languages write a zero as -0.
    if let Some(rest) = text.strip_prefix('-') {
        let mantissa = rest.split(['e', 'E']).next().unwrap_or_default();
        return if mantissa.bytes().all(|byte| b"0.".contains(&byte)) {
            parse_decimal(rest)
        } else {
            Err(AmountError::Negative)
        };
    }
    let value = if bytes.iter().any(|byte| matches!(byte, b'e' | b'E')) {
        let (mantissa, exponent) = text.split_once(['e', 'E']).ok_or(AmountError::NotANumber)?;
        let mantissa = Decimal::from_str_exact(mantissa).map_err(number_error)?;
        let exponent: i32 = exponent.parse().map_err(|_| AmountError::NotANumber)?;
        scale_by_ten(mantissa, exponent)?
    } else {
        Decimal::from_str_exact(text).map_err(number_error)?
    };
    let value = value.normalize();
    if value.scale() > 12 { Err(AmountError::TooFine { decimals: 12 }) } else { Ok(value) }
}

fn number_error(error: rust_decimal::Error) -> AmountError {
    match error {
        rust_decimal::Error::ExceedsMaximumPossibleValue => AmountError::TooLarge,
        rust_decimal::Error::Underflow | rust_decimal::Error::ScaleExceedsMaximumPrecision(_) => {
            AmountError::TooFine { decimals: 12 }
        }
        _ => AmountError::NotANumber,
    }
}

fn scale_by_ten(mantissa: Decimal, exponent: i32) -> Result<Decimal, AmountError> {
    if mantissa.is_zero() {
        return Ok(Decimal::ZERO);
    }
    if exponent > 28 {
        return Err(AmountError::TooLarge);
    }
    if exponent < -28 {
        return Err(AmountError::TooFine { decimals: 12 });
    }
    let mut value = mantissa;
    if exponent < 0 {
        let scale = value.scale() + exponent.unsigned_abs();
        value.set_scale(scale).map_err(|_| AmountError::TooFine { decimals: 12 })?;
        return Ok(value);
    }
    for _ in 0..exponent {
        value = value.checked_mul(Decimal::TEN).ok_or(AmountError::TooLarge)?;
    }
    Ok(value)
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn exactly(text: &str, unit: Unit) -> Result<u64, AmountError> {
        parse_decimal(text).and_then(|value| Amount::exactly(value, unit)).map(Amount::steps)
    }

    #[test]
    fn numbers_become_steps() {
        for (text, unit, expected) in [
            ("4", Unit::Count, Ok(4)),
            ("4.000", Unit::Count, Ok(4)),
            ("1e3", Unit::Tokens, Ok(1000)),
            ("12.5e-1", Unit::Seconds, Ok(1250)),
            ("0.000001", Unit::Cents, Ok(1)),
            ("0", Unit::Count, Ok(0)),
            ("0e400", Unit::Count, Ok(0)),
            ("9007199254740991", Unit::Tokens, Ok(Amount::MOST)),
            ("9007199254740992", Unit::Tokens, Err(AmountError::TooLarge)),
            ("1e400", Unit::Count, Err(AmountError::TooLarge)),
            ("1e99999999999", Unit::Count, Err(AmountError::NotANumber)),
            ("1000000000.000001", Unit::Cents, Err(AmountError::TooLarge)),
            ("0.5", Unit::Tokens, Err(AmountError::TooFine { decimals: 0 })),
            ("0.0001", Unit::Seconds, Err(AmountError::TooFine { decimals: 3 })),
            ("1e-400", Unit::Cents, Err(AmountError::TooFine { decimals: 12 })),
            ("-1", Unit::Count, Err(AmountError::Negative)),
            ("-0.1e3", Unit::Count, Err(AmountError::Negative)),
            ("--0", Unit::Count, Err(AmountError::Negative)),
            ("-0", Unit::Count, Ok(0)),
            ("-0.0E2", Unit::Count, Ok(0)),
            ("NaN", Unit::Count, Err(AmountError::NotANumber)),
            ("", Unit::Count, Err(AmountError::NotANumber)),
            (".", Unit::Count, Err(AmountError::NotANumber)),
            ("1_000", Unit::Count, Err(AmountError::NotANumber)),
            ("0x10", Unit::Count, Err(AmountError::NotANumber)),
        ] {
            assert_eq!(exactly(text, unit), expected, "{text} {unit}");
        }
    }

    proptest! {
        #[test]
        fn an_amount_is_written_as_its_decimal(steps in 0..=Amount::MOST, zeros in 0..16_u32) {
            let amount = Amount(steps - steps % 10_u64.pow(zeros));
            for unit in [Unit::Count, Unit::Tokens, Unit::Seconds, Unit::Cents] {
                let mut text = String::from("x");
                amount.push_text(unit, &mut text);
                prop_assert_eq!(text, format!("x{}", amount.to_decimal(unit)));
            }
        }
    }

    #[test]
    fn rounding_goes_up_to_the_step() {
        let value = parse_decimal("0.0000011").unwrap();
        assert_eq!(Amount::rounded_up(value, Unit::Cents).unwrap().steps(), 2);
    }

    proptest! {
        #[test]
        fn amounts_survive_the_way_out_and_in(steps in 0..=1_000_000_000_000_000_u64) {
            for unit in [Unit::Count, Unit::Tokens, Unit::Seconds, Unit::Cents] {
                let amount = Amount::from_steps(steps).unwrap();
                prop_assert_eq!(exactly(&amount.to_decimal(unit).to_string(), unit), Ok(steps));
            }
        }

        #[test]
        fn no_text_panics(text in "\\PC{0,80}") {
            let _ = parse_decimal(&text);
        }
    }
}
