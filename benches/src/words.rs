//! Values and ratios as they are printed for people.

use crate::comparison::Comparison;
use crate::workload::Unit;

/// A ratio with two digits that matter at least.
pub(crate) fn ratio(ratio: f64) -> String {
    if ratio >= 10.0 {
        format!("{ratio:.0}")
    } else if ratio >= 0.1 {
        format!("{ratio:.2}")
    } else {
        format!("{ratio:.4}")
    }
}

/// The median of the ratios, and the least to the most.
pub(crate) fn spread(comparison: &Comparison) -> String {
    format!(
        "**{}** {}–{}",
        ratio(comparison.ratio),
        ratio(comparison.least),
        ratio(comparison.most)
    )
}

/// Three digits that matter, and no more decimals than those.
pub(crate) fn rounded(value: f64) -> String {
    if value >= 100.0 {
        format!("{value:.0}")
    } else {
        format!("{value:.1}")
    }
}

/// Bytes of a mebibyte.
const MIB: f64 = 1_048_576.0;

/// A value with its unit; long times and much memory in a larger one.
pub(crate) fn value(value: f64, unit: Unit) -> String {
    let (value, unit) = match unit {
        Unit::Nanos if value >= 1e6 => (value / 1e6, "ms"),
        Unit::Nanos if value >= 1e3 => (value / 1e3, "µs"),
        Unit::Bytes if value >= MIB => (value / MIB, "MiB"),
        _ => (value, unit.label()),
    };
    let digits = rounded(value);
    format!("{} {unit}", digits.strip_suffix(".0").unwrap_or(&digits))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn small_ratio_is_not_rounded_to_nothing() {
        assert_eq!([0.0064, 0.98, 24.4].map(ratio), ["0.0064", "0.98", "24"]);
    }

    #[test]
    fn value_is_told_in_the_unit_that_fits() {
        let nanos = [12.4, 56_273.0, 1_875_385.0].map(|nanos| value(nanos, Unit::Nanos));
        assert_eq!(nanos, ["12.4 ns", "56.3 µs", "1.9 ms"]);
        let bytes = [500.0, 8_953_856.0].map(|bytes| value(bytes, Unit::Bytes));
        assert_eq!(bytes, ["500 bytes", "8.5 MiB"]);
    }
}
