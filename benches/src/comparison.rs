//! How one peer compares with us in one metric, over all rounds.
//!
//! A ratio is taken within a round, between runs next to each other in time: never between the medians of two sides.

use crate::measure::median;
use crate::workload::{Metric, Workload};

/// One peer against us in one metric.
#[derive(Clone, Debug)]
pub(crate) struct Comparison {
    pub(crate) workload: Workload,
    pub(crate) metric: Metric,
    pub(crate) peer: &'static str,
    pub(crate) ours: f64,
    pub(crate) theirs: f64,
    /// The median of the ratios within a round, the least and the most.
    pub(crate) ratio: f64,
    pub(crate) least: f64,
    pub(crate) most: f64,
}

impl Comparison {
    /// Compares the values of the rounds, pair by pair.
    pub(crate) fn new(
        workload: &Workload,
        metric: Metric,
        peer: &'static str,
        ours: &[f64],
        theirs: &[f64],
    ) -> Self {
        let mut ratios: Vec<f64> = ours
            .iter()
            .zip(theirs)
            .map(|(&ours, &theirs)| metric.unit.ratio(ours, theirs))
            .collect();
        let ratio = median(&mut ratios);
        Self {
            workload: *workload,
            metric,
            peer,
            ours: median(&mut ours.to_vec()),
            theirs: median(&mut theirs.to_vec()),
            ratio,
            least: ratios[0],
            most: ratios[ratios.len() - 1],
        }
    }

    /// Whether ours is behind by more than the run's own noise: the ratios of the rounds lie further from 1 than half of what
    /// lies between the least and the most of them.
    pub(crate) fn is_behind(&self) -> bool {
        self.ratio + (self.most - self.least) / 2.0 < 1.0
    }

    /// The name of the workload and its metric.
    pub(crate) fn name(&self) -> String {
        format!("{}{}", self.workload.name, self.metric.suffix)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::workload::Unit;

    const NANOS: Metric = Metric {
        suffix: "",
        unit: Unit::Nanos,
    };

    const WORKLOAD: Workload = Workload {
        name: "three",
        what: "",
        metrics: &[NANOS],
        count: 3,
        test_count: 3,
        warm: true,
        expected: |n| n,
        sides: &[],
    };

    #[test]
    fn ratio_is_taken_within_a_round_and_not_between_medians() {
        let comparison = Comparison::new(
            &WORKLOAD,
            NANOS,
            "peer",
            &[1.0, 10.0, 100.0],
            &[2.0, 40.0, 50.0],
        );
        assert_eq!(
            [
                comparison.ours,
                comparison.theirs,
                comparison.ratio,
                comparison.least,
                comparison.most
            ]
            .map(f64::to_bits),
            [10.0_f64, 40.0, 2.0, 0.5, 4.0].map(f64::to_bits)
        );
    }
}
