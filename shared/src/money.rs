//! Money: a whole number of a currency's minor unit, never a float.

use std::{fmt, str::FromStr};

use garde::Validate;
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

/// The most that a price or a total may be, in minor units: exact in every JSON parser, whatever its number type.
pub const MAX_AMOUNT: u64 = (1 << 53) - 1;

/// An amount of money.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, Validate, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct Money {
    /// In the currency's minor unit: 1999 is 19.99 EUR.
    #[garde(range(max = MAX_AMOUNT))]
    #[schema(maximum = 9_007_199_254_740_991_u64)]
    pub amount: u64,
    #[garde(skip)]
    pub currency: Currency,
}

impl Money {
    /// The price of `quantity` pieces; `None` above [`MAX_AMOUNT`].
    #[must_use]
    pub fn times(self, quantity: u32) -> Option<Self> {
        self.amount.checked_mul(quantity.into()).and_then(|amount| self.with(amount))
    }

    /// The sum; `None` for different currencies or above [`MAX_AMOUNT`].
    #[must_use]
    pub fn plus(self, other: Self) -> Option<Self> {
        if self.currency != other.currency {
            return None;
        }
        self.amount.checked_add(other.amount).and_then(|amount| self.with(amount))
    }

    fn with(self, amount: u64) -> Option<Self> {
        (amount <= MAX_AMOUNT).then_some(Self { amount, ..self })
    }
}

impl fmt::Display for Money {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let digits = self.currency.minor_digits();
        let unit = 10_u64.pow(digits);
        write!(f, "{}", self.amount / unit)?;
        if digits > 0 {
            write!(f, ".{:0width$}", self.amount % unit, width = digits as usize)?;
        }
        write!(f, " {}", self.currency)
    }
}

macro_rules! currencies {
    ($($name:ident = $digits:literal,)+) => {
        /// A currency that Souk sells in (ISO 4217).
        #[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize, ToSchema)]
        pub enum Currency { $($name,)+ }

        impl Currency {
            pub const ALL: &[Self] = &[$(Self::$name,)+];

            #[must_use]
            pub const fn as_str(self) -> &'static str {
                match self { $(Self::$name => stringify!($name),)+ }
            }

            /// How many digits the minor unit has: 2 for cents.
            #[must_use]
            pub const fn minor_digits(self) -> u32 {
                match self { $(Self::$name => $digits,)+ }
            }
        }
    };
}

currencies! {
    CHF = 2,
    EUR = 2,
    GBP = 2,
    INR = 2,
    JPY = 0,
    USD = 2,
}

impl fmt::Display for Currency {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

impl FromStr for Currency {
    type Err = UnknownCurrency;

    fn from_str(text: &str) -> Result<Self, UnknownCurrency> {
        Self::ALL.iter().copied().find(|currency| currency.as_str() == text).ok_or(UnknownCurrency)
    }
}

/// The text is not a currency that Souk sells in.
#[derive(Debug, thiserror::Error)]
#[error("not a currency that Souk sells in")]
pub struct UnknownCurrency;

#[cfg(test)]
mod tests {
    use super::*;

    fn euros(amount: u64) -> Money {
        Money { amount, currency: Currency::EUR }
    }

    #[test]
    fn sums_and_products_never_wrap() {
        assert_eq!(euros(1999).times(3), Some(euros(5997)));
        assert_eq!(euros(MAX_AMOUNT).times(2), None);
        assert_eq!(euros(u64::MAX / 2).times(u32::MAX), None);
        assert_eq!(euros(MAX_AMOUNT).plus(euros(1)), None);
        assert_eq!(euros(1).plus(Money { amount: 1, currency: Currency::USD }), None);
    }

    #[test]
    fn money_reads_as_people_write_it() {
        assert_eq!(euros(5).to_string(), "0.05 EUR");
        assert_eq!(Money { amount: 1200, currency: Currency::JPY }.to_string(), "1200 JPY");
    }
}
