//! The two plots, as SVG written by hand: a picture of rectangles, circles and words needs no library.

use std::fmt::Write as _;

use crate::comparison::Comparison;
use crate::measure::as_f64;
use crate::scaling::Curve;

const COLOURS: [&str; 19] = [
    "#1f77b4", "#ff7f0e", "#2ca02c", "#d62728", "#9467bd", "#8c564b", "#e377c2", "#7f7f7f",
    "#bcbd22", "#17becf", "#444444", "#1b5e20", "#b71c1c", "#0d2b66", "#f2b705", "#00a884",
    "#8a4fff", "#ff9eb5", "#5a7d2a",
];

/// The height of a row, and the space around the picture.
const ROW: f64 = 18.0;
const LEFT: f64 = 190.0;
const TOP: f64 = 88.0;
const WIDTH: f64 = 900.0;

/// Opens a picture of that size.
fn open(height: f64, title: &str) -> String {
    format!(
        "<svg xmlns=\"http://www.w3.org/2000/svg\" viewBox=\"0 0 {WIDTH} {height}\" font-family=\"sans-serif\" font-size=\"11\">\n\
         <rect width=\"100%\" height=\"100%\" fill=\"white\"/>\n<text x=\"10\" y=\"20\" font-size=\"14\">{title}</text>\n"
    )
}

fn text(svg: &mut String, x: f64, y: f64, anchor: &str, words: &str) {
    let _ = writeln!(
        svg,
        "<text x=\"{x:.1}\" y=\"{y:.1}\" text-anchor=\"{anchor}\">{words}</text>"
    );
}

fn line(svg: &mut String, from: (f64, f64), to: (f64, f64), colour: &str) {
    let _ = writeln!(
        svg,
        "<line x1=\"{:.1}\" y1=\"{:.1}\" x2=\"{:.1}\" y2=\"{:.1}\" stroke=\"{colour}\"/>",
        from.0, from.1, to.0, to.1
    );
}

fn dot(svg: &mut String, x: f64, y: f64, colour: &str, title: &str) {
    let _ = writeln!(
        svg,
        "<circle cx=\"{x:.1}\" cy=\"{y:.1}\" r=\"4\" fill=\"{colour}\" fill-opacity=\"0.8\"><title>{title}</title></circle>"
    );
}

/// What stands in a list, each once, in the order of its first appearance.
fn each_once<'a, T: PartialEq + 'a>(values: impl Iterator<Item = T>) -> Vec<T> {
    let mut seen = Vec::new();
    for value in values {
        if !seen.contains(&value) {
            seen.push(value);
        }
    }
    seen
}

/// A row for each workload, a dot for each peer: how many times better ours is, from 0.01 to 1000, by tens.
pub(crate) fn ratios(comparisons: &[Comparison]) -> String {
    let rows = each_once(comparisons.iter().map(Comparison::name));
    let peers = each_once(comparisons.iter().map(|comparison| comparison.peer));
    let height = TOP + ROW * as_f64(rows.len() as u64) + 20.0;
    let mut svg = open(
        height,
        "How many times better yieldpoint is (right of 1: yieldpoint is better)",
    );
    let x =
        |ratio: f64| LEFT + (ratio.clamp(0.01, 1000.0).log10() + 2.0) / 5.0 * (WIDTH - LEFT - 20.0);
    for tens in -2..=3 {
        let ratio = 10_f64.powi(tens);
        line(
            &mut svg,
            (x(ratio), TOP - 4.0),
            (x(ratio), height - 18.0),
            if tens == 0 { "#000" } else { "#ddd" },
        );
        text(
            &mut svg,
            x(ratio),
            height - 6.0,
            "middle",
            &ratio.to_string(),
        );
    }
    assert!(peers.len() <= COLOURS.len(), "a colour for each peer");
    for (place, peer) in peers.iter().enumerate() {
        let left = 14.0 + 145.0 * as_f64(place as u64 % 6);
        let y = 36.0 + 16.0 * as_f64(place as u64 / 6);
        dot(&mut svg, left, y, COLOURS[place % COLOURS.len()], peer);
        text(&mut svg, left + 7.0, y + 4.0, "start", peer);
    }
    for (place, row) in rows.iter().enumerate() {
        let y = TOP + ROW * (as_f64(place as u64) + 0.5);
        text(&mut svg, LEFT - 8.0, y + 4.0, "end", row);
        for comparison in comparisons
            .iter()
            .filter(|comparison| comparison.name() == *row)
        {
            let peer = peers
                .iter()
                .position(|&peer| peer == comparison.peer)
                .unwrap_or_default();
            let title = format!("{row} {}: {:.2}", comparison.peer, comparison.ratio);
            dot(
                &mut svg,
                x(comparison.ratio),
                y,
                COLOURS[peer % COLOURS.len()],
                &title,
            );
        }
    }
    svg.push_str("</svg>\n");
    svg
}

/// The heights of labels of two lines that stand as near to these as they can without covering one another, in the same order.
fn apart(heights: &[f64]) -> Vec<f64> {
    const LABEL: f64 = 28.0;
    let mut order: Vec<usize> = (0..heights.len()).collect();
    order.sort_by(|&a, &b| heights[a].total_cmp(&heights[b]));
    let mut placed = heights.to_vec();
    // Down from above, then half of what the last was moved by is shared by all.
    for pair in order.windows(2) {
        placed[pair[1]] = placed[pair[1]].max(placed[pair[0]] + LABEL);
    }
    if let Some(&last) = order.last() {
        let moved = (placed[last] - heights[last]) / 2.0;
        for height in &mut placed {
            *height -= moved;
        }
    }
    placed
}

/// A line for each curve: nanoseconds an operation over how many there are at once.
pub(crate) fn scaling(curves: &[Curve]) -> String {
    const HEIGHT: f64 = 420.0;
    let points = || curves.iter().flat_map(|curve| &curve.points);
    let top = points()
        .map(|point| point.1)
        .fold(10.0, f64::max)
        .log10()
        .ceil();
    let mut svg = open(
        HEIGHT,
        "Nanoseconds an operation, with as many at once: flat means that cost grows linearly",
    );
    let x = |size: f64| LEFT + (size.log10() - 3.0) / 3.0 * (WIDTH - LEFT - 190.0);
    let y = |nanos: f64| HEIGHT - 40.0 - nanos.max(1.0).log10() / top * (HEIGHT - 40.0 - TOP);
    let mut decade = 0.0;
    while decade <= top {
        let nanos = 10_f64.powf(decade);
        line(&mut svg, (x(1e3), y(nanos)), (x(1e6), y(nanos)), "#ddd");
        text(
            &mut svg,
            LEFT - 8.0,
            y(nanos) + 4.0,
            "end",
            &format!("{nanos:.0} ns"),
        );
        decade += 1.0;
    }
    for (size, words) in [(1e3, "1k"), (1e4, "10k"), (1e5, "100k"), (1e6, "1M")] {
        text(&mut svg, x(size), HEIGHT - 20.0, "middle", words);
    }
    let ends: Vec<f64> = curves
        .iter()
        .map(|curve| y(curve.points.last().map_or(1.0, |point| point.1)))
        .collect();
    let labels = apart(&ends);
    for (place, curve) in curves.iter().enumerate() {
        let colour = COLOURS[place % COLOURS.len()];
        let label = (x(1e6) + 24.0, labels[place]);
        line(
            &mut svg,
            (x(1e6) + 5.0, ends[place]),
            (label.0 - 4.0, label.1),
            colour,
        );
        for pair in curve.points.windows(2) {
            line(
                &mut svg,
                (x(pair[0].0), y(pair[0].1)),
                (x(pair[1].0), y(pair[1].1)),
                colour,
            );
        }
        for point in &curve.points {
            dot(
                &mut svg,
                x(point.0),
                y(point.1),
                colour,
                &format!("{} {}: {:.1} ns", curve.name, point.0, point.1),
            );
        }
        text(&mut svg, label.0, label.1 - 2.0, "start", curve.name);
        text(&mut svg, label.0, label.1 + 10.0, "start", curve.what);
    }
    svg.push_str("</svg>\n");
    svg
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::workload::{How, Metric, Unit, Workload};

    #[test]
    fn better_is_right_of_one_and_worse_is_left() {
        let workload = Workload {
            name: "w",
            what: "",
            metrics: &[],
            count: 1,
            test_count: 1,
            how: How::Cold(1),
            expected: |n| n,
            sides: &[],
        };
        let metric = Metric {
            suffix: "",
            unit: Unit::Nanos,
        };
        let at = |theirs| {
            let svg = ratios(&[Comparison::new(
                &workload,
                metric,
                "p",
                &[[10.0]],
                &[[theirs]],
            )]);
            let dot = svg
                .lines()
                .rfind(|line| line.starts_with("<circle"))
                .expect("a dot")
                .to_owned();
            dot.split('"')
                .nth(1)
                .and_then(|x| x.parse::<f64>().ok())
                .expect("a place")
        };
        assert!(at(1.0) < at(10.0) && at(10.0) < at(100.0));
        assert_eq!(at(10.0).to_bits(), 466.0_f64.to_bits());
    }

    #[test]
    fn labels_of_curves_that_end_together_stand_apart_in_their_order() {
        assert_eq!(apart(&[100.0, 98.0, 300.0]), [126.0, 98.0, 300.0]);
        assert_eq!(apart(&[100.0, 100.0]), [86.0, 114.0]);
        assert!(apart(&[]).is_empty());
    }

    #[test]
    fn flat_curve_is_drawn_flat() {
        let svg = scaling(&[Curve {
            name: "c",
            what: "",
            points: vec![(1e3, 20.0), (1e6, 20.0)],
        }]);
        let line = svg
            .lines()
            .rfind(|line| line.starts_with("<line"))
            .expect("a line");
        let numbers: Vec<&str> = line.split('"').skip(1).step_by(2).collect();
        assert_eq!(numbers[1], numbers[3], "{line}");
    }
}
