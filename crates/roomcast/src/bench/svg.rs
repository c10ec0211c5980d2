//! A small chart as SVG: panels side by side with a logarithmic x and one y from 0, readable on white and on black.

use std::fmt::Write as _;

use super::report::figure;

/// A chart.
#[derive(Clone, Debug)]
pub(crate) struct Chart {
    /// Above everything.
    pub(crate) title: String,
    /// The unit of all y axes.
    pub(crate) y: &'static str,
    /// Side by side.
    pub(crate) panels: Vec<Panel>,
}

/// A part of a chart with axes of its own.
#[derive(Clone, Debug)]
pub(crate) struct Panel {
    /// Above it.
    pub(crate) title: String,
    /// What its x is.
    pub(crate) x: &'static str,
    /// What it shows: at most two lines are told apart.
    pub(crate) lines: Vec<Line>,
}

/// A line of a panel.
#[derive(Clone, Debug)]
pub(crate) struct Line {
    /// What it is.
    pub(crate) name: &'static str,
    /// x and y, by rising x, which is above 0.
    pub(crate) points: Vec<(f64, f64)>,
}

const WIDTH: f64 = 420.0;
const HEIGHT: f64 = 320.0;
const LEFT: f64 = 44.0;
const RIGHT: f64 = 20.0;
const TOP: f64 = 96.0;
const BOTTOM: f64 = 48.0;

impl Chart {
    /// The chart's file.
    pub(crate) fn svg(&self) -> String {
        let width = WIDTH * self.panels.len() as f64;
        let mut out = format!(
            "<svg xmlns=\"http://www.w3.org/2000/svg\" viewBox=\"0 0 {width} {HEIGHT}\" role=\"img\" \
             aria-label=\"{title}\">\n<title>{title}</title>\n{STYLE}\
             <rect class=\"ground\" width=\"{width}\" height=\"{HEIGHT}\" rx=\"8\"/>\n\
             <text class=\"title\" x=\"{LEFT}\" y=\"30\">{title}</text>\n",
            title = escape(&self.title),
        );
        self.legend(&mut out);
        let points = self
            .panels
            .iter()
            .flat_map(|panel| &panel.lines)
            .flat_map(|line| &line.points);
        let top = ceiling(points.map(|&(_, y)| y).fold(0.0, f64::max));
        for (number, panel) in self.panels.iter().enumerate() {
            let _ = writeln!(
                out,
                "<g transform=\"translate({} 0)\">",
                WIDTH * number as f64
            );
            panel.draw(&mut out, self.y, top);
            out.push_str("</g>\n");
        }
        out.push_str("</svg>\n");
        out
    }

    fn legend(&self, out: &mut String) {
        let mut x = LEFT;
        for (number, line) in self
            .panels
            .first()
            .map_or(&[][..], |panel| &panel.lines)
            .iter()
            .enumerate()
        {
            let _ = writeln!(
                out,
                "<circle class=\"mark{number}\" cx=\"{}\" cy=\"48\" r=\"4\"/><text x=\"{}\" y=\"52\">{}</text>",
                x + 4.0,
                x + 14.0,
                escape(line.name),
            );
            x += 34.0 + 6.6 * line.name.len() as f64;
        }
    }
}

impl Panel {
    fn draw(&self, out: &mut String, unit: &str, top: f64) {
        let xs = || {
            self.lines
                .iter()
                .flat_map(|line| &line.points)
                .map(|&(x, _)| x.max(1e-9).log10())
        };
        let (low, high) = (
            xs().fold(f64::INFINITY, f64::min),
            xs().fold(f64::NEG_INFINITY, f64::max),
        );
        let span = if high > low { high - low } else { 1.0 };
        let at_x = |x: f64| LEFT + (x.log10() - low) / span * (WIDTH - LEFT - RIGHT);
        let at_y = |y: f64| TOP + (1.0 - y / top) * (HEIGHT - TOP - BOTTOM);
        let _ = writeln!(
            out,
            "<text class=\"panel\" x=\"{LEFT}\" y=\"{}\">{}</text>",
            TOP - 18.0,
            escape(&self.title)
        );
        for step in 0..=4 {
            let y = top * f64::from(step) / 4.0;
            let _ = writeln!(
                out,
                "<line class=\"grid\" x1=\"{LEFT}\" x2=\"{}\" y1=\"{at:.1}\" y2=\"{at:.1}\"/>\
                 <text class=\"tick\" text-anchor=\"end\" x=\"{}\" y=\"{:.1}\">{}</text>",
                WIDTH - RIGHT,
                LEFT - 6.0,
                at_y(y) + 4.0,
                tick(y),
                at = at_y(y),
            );
        }
        let _ = writeln!(
            out,
            "<text class=\"tick\" text-anchor=\"end\" x=\"{}\" y=\"{:.1}\">{unit}</text>",
            LEFT - 6.0,
            TOP - 10.0,
        );
        if low.is_finite() {
            for power in low.ceil() as i32..=high.floor() as i32 {
                let x = 10f64.powi(power);
                let _ = writeln!(
                    out,
                    "<text class=\"tick\" text-anchor=\"middle\" x=\"{:.1}\" y=\"{}\">{}</text>",
                    at_x(x),
                    HEIGHT - BOTTOM + 18.0,
                    figure(x).trim_end_matches(".00").trim_end_matches(".0"),
                );
            }
        }
        let _ = writeln!(
            out,
            "<text class=\"tick\" text-anchor=\"middle\" x=\"{}\" y=\"{}\">{} (logarithmic)</text>",
            f64::midpoint(LEFT, WIDTH - RIGHT),
            HEIGHT - BOTTOM + 36.0,
            escape(self.x),
        );
        // The first line is what the chart is about: it lies on top.
        for (number, line) in self.lines.iter().enumerate().rev() {
            let points: Vec<String> = line
                .points
                .iter()
                .map(|&(x, y)| format!("{:.1},{:.1}", at_x(x), at_y(y)))
                .collect();
            let _ = writeln!(
                out,
                "<polyline class=\"line{number}\" points=\"{}\"/>",
                points.join(" ")
            );
            for &(x, y) in &line.points {
                let _ = writeln!(
                    out,
                    "<circle class=\"mark{number}\" cx=\"{:.1}\" cy=\"{:.1}\" r=\"3.5\"><title>{}: {} {unit} at {}</title></circle>",
                    at_x(x),
                    at_y(y),
                    escape(line.name),
                    figure(y),
                    figure(x),
                );
            }
        }
    }
}

/// Colours that hold against white and against black; the ground is the page's own.
const STYLE: &str = "<style>\n\
    text { font: 12px system-ui, sans-serif; fill: #3d4450 }\n\
    .title { font-size: 17px; font-weight: 600; fill: #14181f }\n\
    .panel { font-weight: 600 }\n\
    .tick { font-size: 11px; fill: #667080 }\n\
    .ground { fill: #fff }\n\
    .grid { stroke: #d9dee5; stroke-width: 1 }\n\
    polyline { fill: none; stroke-width: 2; stroke-linejoin: round }\n\
    .line0 { stroke: #1466d8 } .mark0 { fill: #1466d8 }\n\
    .line1 { stroke: #9a6412; stroke-dasharray: 5 4 } .mark1 { fill: #9a6412 }\n\
    @media (prefers-color-scheme: dark) {\n\
    text { fill: #c3cad5 } .title { fill: #f1f4f8 } .tick { fill: #94a0b0 }\n\
    .ground { fill: #10141a } .grid { stroke: #2a313c }\n\
    .line0 { stroke: #6aa9ff } .mark0 { fill: #6aa9ff }\n\
    .line1 { stroke: #e0a64b } .mark1 { fill: #e0a64b }\n\
    }\n</style>\n";

/// The next round number that four steps lead to.
fn ceiling(value: f64) -> f64 {
    let size = 10f64.powf(value.max(1e-9).log10().floor());
    let steps = [1.0, 1.2, 1.6, 2.0, 3.0, 4.0, 6.0, 8.0, 10.0];
    steps
        .iter()
        .map(|step| step * size)
        .find(|&round| round >= value)
        .unwrap_or(10.0 * size)
}

fn tick(value: f64) -> String {
    let text = format!("{value:.2}");
    text.trim_end_matches('0').trim_end_matches('.').to_owned()
}

fn escape(text: &str) -> String {
    text.replace('&', "&amp;")
        .replace('<', "&lt;")
        .replace('"', "&quot;")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_chart_has_its_lines_within_its_frame() {
        let line = Line {
            name: "a < b",
            points: vec![(10.0, 6.9), (10_000.0, 7.4)],
        };
        let panel = Panel {
            title: "t".to_owned(),
            x: "members",
            lines: vec![line],
        };
        let svg = Chart {
            title: "Cost".to_owned(),
            y: "µs",
            panels: vec![panel],
        }
        .svg();
        assert!(svg.contains("points=\"44.0,"));
        assert!(svg.contains(" 400.0,"));
        assert!(svg.contains("a &lt; b"));
        assert!(!svg.contains("NaN") && !svg.contains("inf"));
        assert_eq!(ceiling(7.4), 8.0);
        assert_eq!(tick(1.5), "1.5");
    }

    #[test]
    fn a_chart_of_nothing_is_still_a_chart() {
        let panel = Panel {
            title: String::new(),
            x: "rooms",
            lines: Vec::new(),
        };
        let svg = Chart {
            title: String::new(),
            y: "µs",
            panels: vec![panel],
        }
        .svg();
        assert!(!svg.contains("NaN") && !svg.contains("inf"));
    }
}
