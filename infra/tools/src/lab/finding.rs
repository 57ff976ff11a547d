//! The result of an experiment.

use super::chart::Chart;

/// A title, figures, charts and two sentences.
pub struct Finding {
    pub title: &'static str,
    pub table: Table,
    pub charts: Vec<Chart>,
    /// One sentence with figures: the observation.
    pub seen: String,
    /// One sentence: the conclusion.
    pub said: &'static str,
    /// Why the figures contradict the expectation; `None` if they confirm it.
    pub surprise: Option<String>,
}

/// Figures, labelled by the first column.
pub struct Table {
    pub columns: Vec<&'static str>,
    pub rows: Vec<Vec<String>>,
}

impl Finding {
    /// For a terminal.
    pub fn to_text(&self) -> String {
        let surprise = self.surprise.as_ref().map(|surprise| format!("\n  NOT AS EXPECTED: {surprise}\n"));
        let Self { table, seen, said, .. } = self;
        format!("{}\n  {seen}\n\n  {said}\n{}", table.to_text(), surprise.unwrap_or_default())
    }
}

impl Table {
    fn to_text(&self) -> String {
        let header = self.columns.iter().map(ToString::to_string).collect();
        let lines: Vec<&Vec<String>> = std::iter::once(&header).chain(&self.rows).collect();
        let width = |column: usize| lines.iter().map(|line| line[column].chars().count()).max().unwrap_or_default();
        let cell = |(column, text): (usize, &String)| {
            let width = width(column);
            if column == 0 { format!("{text:<width$}") } else { format!("{text:>width$}") }
        };
        let line =
            |line: &&Vec<String>| format!("  {}\n", line.iter().enumerate().map(cell).collect::<Vec<_>>().join("  "));
        lines.iter().map(line).collect()
    }
}

/// `None` if the expectation holds, else its text.
pub fn unless(holds: bool, expectation: impl FnOnce() -> String) -> Option<String> {
    (!holds).then(expectation)
}
