//! Time an operation at 1k, 10k, 100k and 1M coroutines, timers and keys: cost must grow linearly, so these lines are flat
//! but for what the caches cost.

use crate::measure::{Measured, as_f64, median};
use crate::ours;
use crate::process::{COLD, run};
use crate::progress::show;
use crate::workload::{How, Metric, OURS, Side, Unit, Workload};

/// What chooses it on the command line.
pub(crate) const NAME: &str = "scaling";

/// How many coroutines, timers and keys there are.
const SIZES: [u64; 4] = [1_000, 10_000, 100_000, 1_000_000];

/// What grows: as many coroutines as operations, each giving way once after it was spawned, say.
pub(crate) const CURVES: &[Workload] = &[
    curve(
        "coroutines",
        "spawn, give way once, join",
        |n| n,
        &[Side {
            name: OURS,
            run: |n| ours::yield_all(n, n),
        }],
    ),
    curve(
        "timers",
        "arm, fire",
        |n| n,
        &[Side {
            name: OURS,
            run: ours::timer_fire,
        }],
    ),
    curve(
        "keys",
        "make pending, resolve, wait",
        |n| n * (n - 1) / 2,
        &[Side {
            name: OURS,
            run: ours::key_wait_all,
        }],
    ),
    curve(
        "ordered_keys",
        "send, handle",
        |n| n,
        &[Side {
            name: OURS,
            run: ours::ordered_all,
        }],
    ),
];

const fn curve(
    name: &'static str,
    what: &'static str,
    expected: fn(u64) -> u64,
    sides: &'static [Side],
) -> Workload {
    Workload {
        name,
        what,
        metrics: &[Metric {
            suffix: "",
            unit: Unit::Nanos,
        }],
        count: 0,
        test_count: 1_000,
        how: How::Warm(1),
        expected,
        sides,
    }
}

/// Nanoseconds an operation at each size.
#[derive(Clone, Debug)]
pub(crate) struct Curve {
    pub(crate) name: &'static str,
    pub(crate) what: &'static str,
    pub(crate) points: Vec<(f64, f64)>,
}

/// Measures all curves; with no rounds, checks the smallest size only.
pub(crate) fn measure(rounds: u32) -> Vec<Curve> {
    let sizes = if rounds == 0 { &SIZES[..1] } else { &SIZES };
    let point = |workload: &Workload, size: u64| {
        let mut nanos: Vec<f64> = (0..rounds.max(1))
            .map(|round| {
                show(
                    NAME,
                    &format!("{} {size} round {}", workload.name, round + 1),
                );
                let Measured { values, .. } =
                    run(workload, &workload.sides[0], size, COLD).expect("ours does not fail");
                values[0]
            })
            .collect();
        (as_f64(size), median(&mut nanos))
    };
    let curves = CURVES.iter().map(|workload| Curve {
        name: workload.name,
        what: workload.what,
        points: sizes.iter().map(|&size| point(workload, size)).collect(),
    });
    let curves: Vec<_> = curves.collect();
    show(NAME, "\n");
    for curve in &curves {
        for (size, nanos) in &curve.points {
            println!("SCALING {} {size} ours={nanos:.1} unit=ns", curve.name);
        }
    }
    curves
}
