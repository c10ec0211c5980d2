//! The Prometheus text format, version 0.0.4.

use std::fmt::{Display, Write};

use roomcast_core::Histogram;

/// What a family's numbers mean.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Type {
    Counter,
    Gauge,
    Histogram,
}

impl Type {
    pub(super) fn as_str(self) -> &'static str {
        match self {
            Type::Counter => "counter",
            Type::Gauge => "gauge",
            Type::Histogram => "histogram",
        }
    }
}

/// Labels of a sample. Their values are names in the program or numbers, so nothing needs an escape.
pub(super) type Labels<'a> = &'a [(&'a str, &'a dyn Display)];

/// The text, as it grows. Writing to a `String` cannot fail.
#[derive(Debug, Default)]
pub(super) struct Exposition {
    out: String,
    name: &'static str,
}

impl Exposition {
    /// Begins a family; the samples that follow are its.
    pub(super) fn family(&mut self, name: &'static str, kind: Type, help: &str) {
        self.name = name;
        let _ = writeln!(
            self.out,
            "# HELP {name} {help}\n# TYPE {name} {}",
            kind.as_str()
        );
    }

    pub(super) fn sample(&mut self, labels: Labels<'_>, value: impl Display) {
        self.line("", labels, value);
    }

    /// A histogram of microseconds, shown in seconds with a bucket for each power of two.
    pub(super) fn histogram<'h>(
        &mut self,
        histograms: impl Iterator<Item = &'h Histogram> + Clone,
    ) {
        let mut below = 0;
        let bounds = Histogram::default();
        for (index, (bound, _)) in bounds.buckets().enumerate() {
            let here = histograms
                .clone()
                .filter_map(|histogram| histogram.buckets().nth(index));
            below += here.map(|(_, count)| count).sum::<u64>();
            // There are two buckets a doubling.
            if index % 2 == 1 && bound <= LAST_BOUND {
                self.line("_bucket", &[("le", &seconds(bound))], below);
            }
        }
        self.line("_bucket", &[("le", &"+Inf")], below);
        self.line("_sum", &[], seconds(histograms.map(Histogram::sum).sum()));
        self.line("_count", &[], below);
    }

    pub(super) fn finish(self) -> String {
        self.out
    }

    fn line(&mut self, suffix: &str, labels: Labels<'_>, value: impl Display) {
        let _ = write!(self.out, "{}{suffix}", self.name);
        for (index, (label, value)) in labels.iter().enumerate() {
            let before = if index == 0 { '{' } else { ',' };
            let _ = write!(self.out, "{before}{label}=\"{value}\"");
        }
        let end = if labels.is_empty() { "" } else { "}" };
        let _ = writeln!(self.out, "{end} {value}");
    }
}

/// The last bucket below infinity: 67 s.
const LAST_BOUND: u64 = 1 << 26;

pub(super) fn seconds(micros: u64) -> f64 {
    micros as f64 / 1e6
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_family_is_its_header_and_its_samples() {
        let mut out = Exposition::default();
        out.family("roomcast_x_total", Type::Counter, "All x.");
        out.sample(&[("format", &"json"), ("shard", &3)], 7);
        out.sample(&[], 1.5);
        assert_eq!(
            out.finish(),
            "# HELP roomcast_x_total All x.\n# TYPE roomcast_x_total counter\n\
             roomcast_x_total{format=\"json\",shard=\"3\"} 7\nroomcast_x_total 1.5\n"
        );
    }

    #[test]
    fn a_histogram_counts_what_is_below_each_bound() {
        let mut histograms = [Histogram::default(), Histogram::default()];
        histograms[0].record(3);
        histograms[1].record(1_000_000);
        let mut out = Exposition::default();
        out.family("x_seconds", Type::Histogram, "x");
        out.histogram(histograms.iter());
        let text = out.finish();
        for line in [
            "x_seconds_bucket{le=\"0.000002\"} 0",
            "x_seconds_bucket{le=\"0.000004\"} 1",
            "x_seconds_bucket{le=\"0.524288\"} 1",
            "x_seconds_bucket{le=\"1.048576\"} 2",
            "x_seconds_bucket{le=\"+Inf\"} 2",
            "x_seconds_sum 1.000003",
            "x_seconds_count 2",
        ] {
            assert!(text.lines().any(|other| other == line), "{line}\n{text}");
        }
    }
}
