//! The figures, as tables for people and as JSON for programs.

use std::fmt::Write as _;

use serde_json::{Value, json};

/// All that was measured.
#[derive(Debug, Default)]
pub(crate) struct Report {
    /// In the order in which it was measured.
    pub(crate) sections: Vec<Section>,
}

/// What one benchmark measured.
#[derive(Debug, Default)]
pub(crate) struct Section {
    /// Short, for programs.
    pub(crate) name: &'static str,
    /// What was measured, for people.
    pub(crate) title: String,
    /// Headings of the table.
    pub(crate) columns: Vec<&'static str>,
    /// The table.
    pub(crate) rows: Vec<Vec<String>>,
    /// Figures with a bound.
    pub(crate) goals: Vec<Goal>,
    /// What else there is to say.
    pub(crate) notes: Vec<String>,
    /// The figures for programs.
    pub(crate) data: Vec<Value>,
}

/// A figure with a bound.
#[derive(Debug)]
pub(crate) struct Goal {
    /// What it is.
    pub(crate) what: String,
    /// The figure.
    pub(crate) value: f64,
    /// The bound.
    pub(crate) bound: Bound,
    /// Their unit.
    pub(crate) unit: &'static str,
}

/// What a figure is held against.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Bound {
    /// The figure should not be above.
    AtMost(f64),
    /// The figure should not be below.
    AtLeast(f64),
}

impl Goal {
    /// Whether the figure keeps its bound.
    pub(crate) fn is_met(&self) -> bool {
        match self.bound {
            Bound::AtMost(bound) => self.value <= bound,
            Bound::AtLeast(bound) => self.value >= bound,
        }
    }

    fn describe(&self) -> String {
        let (word, bound) = match self.bound {
            Bound::AtMost(bound) => ("at most", bound),
            Bound::AtLeast(bound) => ("at least", bound),
        };
        let verdict = if self.is_met() { "met" } else { "MISSED" };
        let unit = if self.unit.is_empty() {
            String::new()
        } else {
            format!(" {}", self.unit)
        };
        format!(
            "{}: {}{unit}, wanted {word} {}{unit}: {verdict}",
            self.what,
            figure(self.value),
            figure(bound)
        )
    }
}

impl Section {
    /// The section as Markdown, which a terminal shows well too.
    pub(crate) fn text(&self) -> String {
        let mut out = format!("### {}\n\n", self.title);
        let width = |column: usize| {
            let cells = self
                .rows
                .iter()
                .filter_map(|row| row.get(column))
                .map(|c| c.chars().count());
            cells
                .chain([self.columns[column].chars().count()])
                .max()
                .unwrap_or(0)
        };
        let widths: Vec<usize> = (0..self.columns.len()).map(width).collect();
        let line = |out: &mut String, cells: &mut dyn Iterator<Item = &str>| {
            for ((column, cell), width) in cells.enumerate().zip(&widths) {
                // Names to the left, figures to the right.
                let _ = match column {
                    0 => write!(out, "| {cell:<width$} "),
                    _ => write!(out, "| {cell:>width$} "),
                };
            }
            out.push_str("|\n");
        };
        line(&mut out, &mut self.columns.iter().copied());
        for (column, width) in widths.iter().enumerate() {
            let colon = if column == 0 { "-" } else { ":" };
            let _ = write!(out, "|{}{colon}", "-".repeat(width + 1));
        }
        out.push_str("|\n");
        for row in &self.rows {
            line(&mut out, &mut row.iter().map(String::as_str));
        }
        out.push('\n');
        for goal in &self.goals {
            let _ = writeln!(out, "- {}", goal.describe());
        }
        for note in &self.notes {
            let _ = writeln!(out, "- {note}");
        }
        out
    }
}

impl Report {
    /// Everything, for programs.
    pub(crate) fn json(&self, machine: &str) -> Value {
        let sections = self.sections.iter().map(|section| {
            let goals = section.goals.iter().map(|goal| {
                let (word, bound) = match goal.bound {
                    Bound::AtMost(bound) => ("at_most", bound),
                    Bound::AtLeast(bound) => ("at_least", bound),
                };
                json!({
                    "what": goal.what, "value": goal.value, word: bound, "unit": goal.unit, "met": goal.is_met(),
                })
            });
            json!({
                "name": section.name,
                "title": section.title,
                "figures": section.data,
                "goals": goals.collect::<Vec<_>>(),
                "notes": section.notes,
            })
        });
        json!({
            "roomcast": env!("CARGO_PKG_VERSION"),
            "machine": machine,
            "benchmarks": sections.collect::<Vec<_>>(),
        })
    }
}

/// A number with three digits that count, and a space between thousands.
pub(crate) fn figure(value: f64) -> String {
    if !value.is_finite() {
        return "-".to_owned();
    }
    // Sums of nothing are -0.
    let value = value + 0.0;
    let digits = match value.abs() {
        size if size >= 100.0 => 0,
        size if size >= 10.0 => 1,
        0.0 => 0,
        _ => 2,
    };
    let text = format!("{value:.digits$}");
    let whole = text
        .split('.')
        .next()
        .unwrap_or_default()
        .trim_start_matches('-')
        .len();
    let start = text.len() - text.trim_start_matches('-').len();
    let mut out = String::new();
    for (index, c) in text.chars().enumerate() {
        let place = index.wrapping_sub(start);
        if index > start && place < whole && (whole - place).is_multiple_of(3) {
            out.push(' ');
        }
        out.push(c);
    }
    out
}

/// The same, or a dash where there is none.
pub(crate) fn maybe(value: Option<f64>) -> String {
    value.map_or_else(|| "-".to_owned(), figure)
}

/// The middle value; 0 of none.
pub(crate) fn median(mut values: Vec<f64>) -> f64 {
    values.sort_by(f64::total_cmp);
    match values.len() {
        0 => 0.0,
        len if len % 2 == 1 => values[len / 2],
        len => f64::midpoint(values[len / 2 - 1], values[len / 2]),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn figures_are_short_and_grouped() {
        assert_eq!(figure(0.123), "0.12");
        assert_eq!(figure(12.34), "12.3");
        assert_eq!(figure(123.4), "123");
        assert_eq!(figure(1234.0), "1 234");
        assert_eq!(figure(9_490_000.0), "9 490 000");
        assert_eq!(figure(-0.0), "0");
        assert_eq!(figure(-1234.0), "-1 234");
        assert_eq!(figure(f64::NAN), "-");
    }

    #[test]
    fn tables_line_up() {
        let section = Section {
            title: "T".to_owned(),
            columns: vec!["what", "n"],
            rows: vec![vec!["a".to_owned(), "1 000".to_owned()]],
            ..Section::default()
        };
        assert_eq!(
            section.text(),
            "### T\n\n| what |     n |\n|------|------:|\n| a    | 1 000 |\n\n"
        );
    }

    #[test]
    fn the_median_is_the_middle() {
        assert_eq!(median(vec![3.0, 1.0, 2.0]), 2.0);
        assert_eq!(median(vec![4.0, 1.0]), 2.5);
    }
}
