/// Prints figures as they come, each beside its goal and beside what it is compared to.
pub(crate) struct Report;

/// A figure with its unit.
#[derive(Clone, Copy)]
pub(crate) struct Figure {
    /// The number; of times the median.
    pub(crate) value: f64,
    /// The least of them, of times.
    pub(crate) fastest: Option<f64>,
    /// Its unit.
    pub(crate) unit: &'static str,
}

/// Another figure of the same run, and its name.
pub(crate) type Base<'a> = (&'a str, Figure);

impl Report {
    /// Begins a subject.
    pub(crate) fn subject(&self, title: &str) {
        println!("\n{title:<52} {:>12} {:>10}", "", "fastest");
    }

    /// A figure, and how many times it is another.
    pub(crate) fn figure(&self, what: &str, figure: Figure, base: Option<Base<'_>>) {
        line(what, figure, base, "");
    }

    /// A figure that is to be `most` at most, in its own unit.
    pub(crate) fn goal(&self, what: &str, figure: Figure, most: f64, base: Option<Base<'_>>) {
        let verdict = if figure.value <= most { "met" } else { "MISSED" };
        let most = format!("{most} {}", figure.unit);
        line(what, figure, base, &format!("at most {}: {verdict}", most.trim_end()));
    }

    /// Why something is not measured here.
    pub(crate) fn skipped(&self, what: &str, why: &str) {
        println!("  {what}: not measured, {why}");
    }
}

fn line(what: &str, figure: Figure, base: Option<Base<'_>>, goal: &str) {
    let Figure { value, unit, .. } = figure;
    let fastest = figure.fastest.map(shown).unwrap_or_default();
    let base = base.map(|(name, base)| format!("{:.1} x {name}", value / base.value));
    let base = base.unwrap_or_default();
    let line = format!("  {what:<50} {:>9} {unit} {fastest:>10}  {base:<24} {goal}", shown(value));
    println!("{}", line.trim_end());
}

fn shown(number: f64) -> String {
    let digits = if number >= 100.0 { 0 } else { 2 };
    format!("{number:.digits$}")
}
