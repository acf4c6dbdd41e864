//! The chart of one training: its loss by step and, below, its metric if there is one.

use plotters::prelude::*;

use crate::DrawingError;
use crate::panel::{self, Panel};

/// Pixels across.
const WIDTH: u32 = 720;
/// Pixels down of one panel, and of the line above them.
const PANEL: u32 = 260;
const TITLE: u32 = 36;
/// Longest name that is drawn, in characters.
const LONGEST: usize = 80;

/// A row of a training's log. It may have been written by anybody: what cannot be drawn is left out.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Step {
    /// 1-based, ascending.
    pub step: i32,
    /// What training makes small.
    pub loss: Option<f64>,
    /// Name and value of what was measured beside it.
    pub metric: Option<(String, f64)>,
}

/// The chart as an SVG document. Without steps it says so.
pub fn training(title: &str, steps: &[Step]) -> Result<String, DrawingError> {
    let losses = Panel {
        name: "loss",
        points: steps.iter().filter_map(|step| Some((step.step, step.loss?))).collect(),
        color: RGBColor(0x1f, 0x5f, 0xa8),
    };
    // One name is on an axis: that of the first step that has one.
    let name = steps.iter().find_map(|step| Some(step.metric.as_ref()?.0.as_str()));
    let label = printable(name.unwrap_or_default());
    let of_name = |step: &Step| match &step.metric {
        Some((metric, value)) if Some(metric.as_str()) == name => Some((step.step, *value)),
        _ => None,
    };
    let metrics = Panel {
        name: &label,
        points: steps.iter().filter_map(of_name).collect(),
        color: RGBColor(0xb8, 0x4a, 0x00),
    };
    let panels: Vec<Panel> = [losses, metrics].into_iter().filter_map(Panel::drawable).collect();
    let height = TITLE + PANEL * panels.len().max(1) as u32;
    let mut svg = String::new();
    {
        let area = SVGBackend::with_string(&mut svg, (WIDTH, height)).into_drawing_area();
        area.fill(&WHITE)?;
        let (head, body) = area.split_vertically(TITLE);
        let style = ("sans-serif", 16).into_font().color(&BLACK);
        head.draw_text(&printable(title), &style, (12, 12))?;
        if panels.is_empty() {
            let style = ("sans-serif", 14).into_font().color(&BLACK);
            body.draw_text("no steps were recorded for this version", &style, (12, 12))?;
        }
        for (panel, area) in panels.iter().zip(body.split_evenly((panels.len().max(1), 1))) {
            panel::draw(panel, &area)?;
        }
        area.present()?;
    }
    Ok(svg)
}

/// A name without what XML forbids, cut where it would leave the chart.
fn printable(name: &str) -> String {
    let forbidden =
        |c: char| c.is_control() || matches!(c, '\u{FFFE}' | '\u{FFFF}' | '\u{2028}' | '\u{2029}');
    let mut text: String = name
        .chars()
        .take(LONGEST)
        .map(|c| if forbidden(c) { char::REPLACEMENT_CHARACTER } else { c })
        .collect();
    if name.chars().nth(LONGEST).is_some() {
        text.push('…');
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    fn step(step: i32, loss: f64, metric: Option<(&str, f64)>) -> Step {
        let metric = metric.map(|(name, value)| (name.to_owned(), value));
        Step { step, loss: Some(loss), metric }
    }

    fn lines(svg: &str) -> Vec<&str> {
        svg.lines()
            .filter(|line| line.starts_with("<polyline") && line.contains("#1F5FA8"))
            .collect()
    }

    #[test]
    fn a_falling_loss_is_drawn_falling_and_the_metric_beside_it() {
        let steps: Vec<Step> = (1..=5)
            .map(|i| step(i, 1.0 / f64::from(i), Some(("accuracy", 1.0 - 0.5 / f64::from(i)))))
            .collect();
        let svg = training("public.m, version 3", &steps).unwrap();
        assert!(svg.starts_with("<svg") && svg.trim_end().ends_with("</svg>"), "{svg}");
        for text in ["public.m, version 3", "loss", "accuracy", "step"] {
            assert!(svg.contains(text), "{text} is missing");
        }
        let line = lines(&svg);
        let points = line[0].split("points=\"").nth(1).unwrap().split('"').next().unwrap();
        let points: Vec<(i32, i32)> = points
            .split_whitespace()
            .map(|point| {
                let (x, y) = point.split_once(',').unwrap();
                (x.parse().unwrap(), y.parse().unwrap())
            })
            .collect();
        assert_eq!(points.len(), 5);
        assert!(points.is_sorted_by(|a, b| a.0 < b.0 && a.1 < b.1), "{points:?}");
        assert_eq!(svg, training("public.m, version 3", &steps).unwrap());
    }

    #[test]
    fn without_steps_it_says_so() {
        let empty = training("m", &[]).unwrap();
        assert!(empty.contains("no steps were recorded"));
        let nothing = [Step { step: 1, ..Step::default() }, step(2, f64::NAN, None)];
        assert!(training("m", &nothing).unwrap().contains("no steps were recorded"));
    }

    #[test]
    fn names_cannot_break_out() {
        let name = "</text><script>x</script>\u{1}\u{0}\"&";
        let svg = training(name, &[step(1, 1.0, Some((name, 1.0)))]).unwrap();
        assert!(!svg.contains("<script") && !svg.contains('\u{1}') && !svg.contains('\0'), "{svg}");
        let long = "m".repeat(1_000_000);
        assert!(training(&long, &[]).unwrap().len() < 10_000);
    }

    #[test]
    fn forged_numbers_are_drawn_or_left_out() {
        let hostile = [
            vec![(i32::MIN, f64::MAX), (i32::MAX, f64::MIN)],
            vec![(1, 1.0), (2, 1.0 + f64::EPSILON)],
            vec![(1, 0.0), (1, 5e-324)],
            vec![(i32::MAX, f64::INFINITY), (i32::MIN, 1e29), (0, -1e29)],
            vec![(i32::MIN, 1e15), (i32::MAX, 1e15 + 0.125)],
            vec![(7, 0.5)],
        ];
        for points in hostile {
            let steps: Vec<Step> =
                points.iter().map(|&(at, y)| step(at, y, Some(("x", y)))).collect();
            let svg = training("m", &steps).unwrap();
            assert!(svg.len() < 50_000, "{} bytes for {points:?}", svg.len());
        }
        let many: Vec<Step> = (0..500_000).map(|i| step(i, f64::from(i % 97), None)).collect();
        let svg = training("m", &many).unwrap();
        assert!(svg.len() < 100_000, "{} bytes", svg.len());
    }
}
