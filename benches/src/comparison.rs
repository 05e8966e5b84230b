//! How one peer compares with us in one metric, over all rounds.
//!
//! A ratio is taken within a round, between runs next to each other in time: never between the medians of two sides. Where a
//! round has many turns, it is the median of the ratios of its turns.

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
    /// The median of the ratios of the rounds, the least and the most.
    pub(crate) ratio: f64,
    pub(crate) least: f64,
    pub(crate) most: f64,
}

impl Comparison {
    /// Compares the values of the rounds, each with those of its turns, pair by pair.
    pub(crate) fn new(
        workload: &Workload,
        metric: Metric,
        peer: &'static str,
        ours: &[impl AsRef<[f64]>],
        theirs: &[impl AsRef<[f64]>],
    ) -> Self {
        let of_round = |ours: &[f64], theirs: &[f64]| {
            let turns = ours.iter().zip(theirs);
            let ratio = |(&ours, &theirs): (&f64, &f64)| metric.unit.ratio(ours, theirs);
            median(&mut turns.map(ratio).collect::<Vec<_>>())
        };
        let mut ratios: Vec<f64> = ours
            .iter()
            .zip(theirs)
            .map(|(ours, theirs)| of_round(ours.as_ref(), theirs.as_ref()))
            .collect();
        let ratio = median(&mut ratios);
        Self {
            workload: *workload,
            metric,
            peer,
            ours: median_of_all(ours),
            theirs: median_of_all(theirs),
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

/// The median over all turns of all rounds.
fn median_of_all(rounds: &[impl AsRef<[f64]>]) -> f64 {
    let mut values: Vec<f64> = rounds
        .iter()
        .flat_map(|round| round.as_ref().iter().copied())
        .collect();
    median(&mut values)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::workload::{How, Unit};

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
        how: How::Warm(1),
        expected: |n| n,
        sides: &[],
    };

    #[test]
    fn ratio_is_taken_within_a_round_and_not_between_medians() {
        let comparison = Comparison::new(
            &WORKLOAD,
            NANOS,
            "peer",
            &[[1.0], [10.0], [100.0]],
            &[[2.0], [40.0], [50.0]],
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

    #[test]
    fn ratio_of_a_round_is_the_median_of_its_turns_so_that_a_turn_gone_wrong_counts_little() {
        let comparison = Comparison::new(
            &WORKLOAD,
            NANOS,
            "peer",
            &[vec![1.0, 1.0, 100.0], vec![1.0, 1.0, 1.0]],
            &[vec![2.0, 2.0, 2.0], vec![4.0, 4.0, 400.0]],
        );
        assert_eq!(
            [comparison.ratio, comparison.least, comparison.most].map(f64::to_bits),
            [3.0_f64, 2.0, 4.0].map(f64::to_bits)
        );
    }
}
