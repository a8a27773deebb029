//! Tables that fit the terminal. A column without room moves to a line below its row, or
//! is left out; no word is broken.

use rustix::termios::tcgetwinsize;

/// Width when the output is not a terminal.
const PIPED: usize = 100;
/// Spaces between two columns, and before a line below a row.
const GAP: usize = 2;
/// Fewest columns for text that wraps.
const TEXT: usize = 20;

/// The width of the terminal: what `COLUMNS` says, what stdout is, else 100.
pub(super) fn width() -> usize {
    let said = std::env::var("COLUMNS").ok().and_then(|columns| columns.parse().ok());
    let asked = || tcgetwinsize(std::io::stdout()).ok().map(|size| usize::from(size.ws_col));
    said.or_else(asked).filter(|width| *width > 0).unwrap_or(PIPED)
}

/// What happens to a column that does not fit.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) enum Fate {
    /// It stays, and the table is too wide.
    Stays,
    /// Its values move below their rows, after this word. A smaller number moves first.
    Below(u8, &'static str),
    /// It is not shown. It is the last column, whose text wraps.
    Wraps,
}

/// A column: its title, and what happens to it when it does not fit.
pub(super) struct Column(pub(super) &'static str, pub(super) Fate);

/// A row: one text for each column, and notes below it.
pub(super) struct Row {
    pub(super) cells: Vec<String>,
    pub(super) below: Vec<String>,
}

/// The table within `width` columns, each line with its end.
pub(super) fn render(columns: &[Column], rows: &[Row], width: usize) -> String {
    let natural = |at: usize| {
        let cells = rows.iter().filter_map(|row| row.cells.get(at)).map(|cell| len(cell));
        cells.chain([len(columns[at].0)]).max().unwrap_or(0)
    };
    let mut widths: Vec<Option<usize>> = (0..columns.len()).map(|at| Some(natural(at))).collect();
    let total = |widths: &[Option<usize>]| {
        let shown: Vec<usize> = widths.iter().flatten().copied().collect();
        shown.iter().sum::<usize>() + GAP * shown.len().saturating_sub(1)
    };
    if let Some(last) = columns.iter().position(|column| column.1 == Fate::Wraps) {
        let rest = width.saturating_sub(total(&widths) - widths[last].unwrap_or(0));
        let longest = rows.iter().filter_map(|row| row.cells.get(last)).flat_map(|cell| cell.split(' '));
        let least = longest.map(len).max().unwrap_or(0).max(TEXT.min(widths[last].unwrap_or(0)));
        widths[last] = widths[last].map(|natural| natural.min(rest)).filter(|width| *width >= least);
    }
    while total(&widths) > width {
        let movable = columns.iter().enumerate().filter(|(at, _)| widths[*at].is_some());
        let first = movable.filter_map(|(at, column)| match column.1 {
            Fate::Below(order, _) => Some((order, at)),
            Fate::Stays | Fate::Wraps => None,
        });
        let Some((_, at)) = first.min() else { break };
        widths[at] = None;
    }
    let titles: Vec<String> = columns.iter().map(|column| column.0.to_owned()).collect();
    let mut text = String::new();
    put(&mut text, &titles, &widths);
    for row in rows {
        put(&mut text, &row.cells, &widths);
        let moved =
            columns.iter().zip(&row.cells).zip(&widths).filter_map(|((column, cell), width)| {
                match (column.1, width) {
                    (Fate::Below(_, word), None) if cell != NOTHING => Some(format!("{word} {cell}")),
                    _ => None,
                }
            });
        let below: Vec<String> = moved.chain(row.below.iter().cloned()).collect();
        for line in wrap(&below.join(", "), width.saturating_sub(GAP)) {
            text += &format!("{:GAP$}{line}\n", "");
        }
    }
    text
}

/// Shown for a missing value.
pub(super) const NOTHING: &str = "–";

/// One row; text that is wider than its column continues in the next line.
fn put(text: &mut String, cells: &[String], widths: &[Option<usize>]) {
    let shown: Vec<(Vec<String>, usize)> = cells
        .iter()
        .zip(widths)
        .filter_map(|(cell, width)| width.map(|width| (wrap(cell, width), width)))
        .collect();
    let lines = shown.iter().map(|(lines, _)| lines.len()).max().unwrap_or(0);
    for at in 0..lines {
        let mut line = String::new();
        for (cell, width) in &shown {
            let part = cell.get(at).map_or("", String::as_str);
            line += part;
            line += &" ".repeat(width.saturating_sub(len(part)) + GAP);
        }
        *text += line.trim_end();
        text.push('\n');
    }
}

/// The text in lines of at most `width`, broken between words. A longer word has
/// a line of its own.
pub(super) fn wrap(text: &str, width: usize) -> Vec<String> {
    if len(text) <= width {
        return if text.is_empty() { Vec::new() } else { vec![text.to_owned()] };
    }
    let mut lines: Vec<String> = Vec::new();
    for word in text.split(' ') {
        match lines.last_mut() {
            Some(line) if len(line) + 1 + len(word) <= width => {
                line.push(' ');
                line.push_str(word);
            }
            _ => lines.push(word.to_owned()),
        }
    }
    lines
}

fn len(text: &str) -> usize {
    text.chars().count()
}

#[cfg(test)]
mod tests {
    use super::*;

    const COLUMNS: [Column; 4] = [
        Column("LAB", Fate::Stays),
        Column("LOAD", Fate::Below(1, "load")),
        Column("P99", Fate::Below(2, "p99")),
        Column("NOTE", Fate::Wraps),
    ];

    fn table(width: usize) -> String {
        let row = |cells: [&str; 4], below: &[&str]| Row {
            cells: cells.map(str::to_owned).to_vec(),
            below: below.iter().map(|text| (*text).to_owned()).collect(),
        };
        let rows = [
            row(["queue-redis-stream", "0.61", "108 ms", "filters: all, exact, prefix, words"], &["12 lost"]),
            row(["oneway-tcp", NOTHING, NOTHING, ""], &[]),
        ];
        render(&COLUMNS, &rows, width)
    }

    #[test]
    fn a_table_fits_and_breaks_no_word() {
        let words = |text: &str| -> Vec<String> {
            let mut words: Vec<String> = text.split_whitespace().map(|word| word.replace(',', "")).collect();
            words.sort();
            words
        };
        for width in 24..90 {
            let text = table(width);
            assert!(text.lines().all(|line| len(line) <= width), "{width}:\n{text}");
            let all = words(&table(90));
            let unknown: Vec<String> = words(&text)
                .into_iter()
                .filter(|word| !all.contains(word) && word != "load" && word != "p99")
                .collect();
            assert!(unknown.is_empty(), "{unknown:?} at {width}:\n{text}");
        }
    }

    #[test]
    fn what_finds_no_room_moves_below() {
        for (width, has, has_not) in [
            (90, "LAB                 LOAD  P99     NOTE", "load 0.61"),
            (60, "exact,", "load 0.61"),
            (33, "LAB                 LOAD  P99", "NOTE"),
            (30, "load 0.61, 12 lost", "LOAD"),
            (24, "p99 108 ms,", "P99"),
        ] {
            let text = table(width);
            assert!(text.contains(has) && !text.contains(has_not), "{width}: {has}, not {has_not}\n{text}");
        }
    }
}
