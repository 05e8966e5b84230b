//! What the command line of the bench asks for.

use crate::scaling;
use crate::workload::Workload;

/// How many rounds are measured unless `--rounds` says otherwise.
const ROUNDS: u32 = 3;

/// What the command line asks for.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Options {
    /// Run everything once, with tiny counts.
    pub(crate) test: bool,
    /// Measured rounds.
    pub(crate) rounds: u32,
    /// The workloads to run; all of them when empty.
    pub(crate) names: Vec<String>,
}

impl Options {
    /// Reads the arguments; what it does not know is an error, so that a misspelt workload is never "all passed".
    pub(crate) fn parse(
        args: impl Iterator<Item = String>,
        known: &[Workload],
    ) -> Result<Self, String> {
        let mut options = Self {
            test: false,
            rounds: ROUNDS,
            names: Vec::new(),
        };
        let mut args = args;
        while let Some(arg) = args.next() {
            match arg.as_str() {
                // Cargo adds it to the arguments of every bench.
                "--bench" => {}
                "--test" => options.test = true,
                "--rounds" => {
                    let rounds = args.next().and_then(|rounds| rounds.parse().ok());
                    options.rounds = rounds
                        .filter(|&rounds| rounds > 0)
                        .ok_or("--rounds takes a number above 0")?;
                }
                name if name == scaling::NAME
                    || known.iter().any(|workload| workload.is_chosen_by(name)) =>
                {
                    options.names.push(arg);
                }
                _ => {
                    let names: Vec<_> = known.iter().map(|workload| workload.name).collect();
                    return Err(format!(
                        "unknown argument `{arg}`; give --test, --rounds N, {}, or workloads out of: {}",
                        scaling::NAME,
                        names.join(" ")
                    ));
                }
            }
        }
        Ok(options)
    }

    /// Whether this run includes the workload.
    pub(crate) fn wants(&self, workload: &Workload) -> bool {
        self.names.is_empty() || self.names.iter().any(|name| workload.is_chosen_by(name))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::workload::How;

    const WORKLOAD: Workload = Workload {
        name: "three_c1",
        what: "",
        metrics: &[],
        count: 3,
        test_count: 3,
        how: How::Warm(1),
        expected: |n| n,
        sides: &[],
    };

    fn parse(args: &[&str]) -> Result<Options, String> {
        Options::parse(args.iter().map(ToString::to_string), &[WORKLOAD])
    }

    #[test]
    fn misspelt_workload_is_refused() {
        assert!(
            parse(&["--bench", "thre"])
                .unwrap_err()
                .contains("out of: three_c1")
        );
        assert!(parse(&["--rounds", "0"]).is_err());
        let wanted = Options {
            test: true,
            rounds: 2,
            names: vec!["three".into(), "three_c1".into()],
        };
        assert_eq!(
            parse(&["--bench", "--test", "--rounds", "2", "three", "three_c1"]),
            Ok(wanted)
        );
    }
}
