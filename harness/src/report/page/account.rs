//! The counts beside every figure: lost, duplicated, reordered, corrupt. A count that is 0 in
//! every row of a table is said once, in words; one that is not is a column.

use serde::Serialize;

use super::super::model::{pattern_order, pattern_title};
use super::super::number;
use crate::results::{BenchmarkCase, Counts};

/// A case, and what became of its messages.
pub(super) type Accounted<'a> = (&'a BenchmarkCase, &'a Counts);

/// A count that has a column where it is not 0 everywhere.
struct Kind {
    /// Its column.
    short: &'static str,
    /// Its word in a sentence.
    word: &'static str,
    value: fn(&Counts) -> u64,
}

const LOST: &str = "lost";
const REORDERED: &str = "reordered";
const KINDS: [Kind; 4] = [
    Kind { short: "lost", word: LOST, value: |counts| counts.lost },
    Kind { short: "duplic.", word: "duplicated", value: |counts| counts.duplicated },
    Kind { short: "reord.", word: REORDERED, value: |counts| counts.reordered },
    Kind { short: "corrupt", word: "corrupt", value: |counts| counts.corrupt },
];

impl Kind {
    /// Its value, where anything above 0 is a fault: what overtakes where no order is promised is not.
    fn amiss(&self, cell: &BenchmarkCase, counts: &Counts) -> u64 {
        if self.word == REORDERED && !cell.promises_order() { 0 } else { (self.value)(counts) }
    }
}

/// Which counts a table shows, and what it says of the others.
#[derive(Serialize)]
pub(super) struct Columns {
    /// The names of the columns.
    pub(super) names: Vec<&'static str>,
    /// `Nothing was lost, duplicated or corrupt.`; nothing where there is no figure.
    pub(super) sentence: String,
    #[serde(skip)]
    kinds: Vec<usize>,
}

/// A count in a row.
#[derive(Serialize)]
pub(super) struct Shown {
    text: String,
    /// The share of the expected messages, if some were lost.
    share: Option<String>,
    amiss: bool,
}

impl Columns {
    /// For a table with these figures.
    pub(super) fn of(all: &[Accounted<'_>]) -> Self {
        let is_zero = |kind: &Kind| all.iter().all(|(cell, counts)| kind.amiss(cell, counts) == 0);
        let kinds: Vec<usize> = (0..KINDS.len()).filter(|at| !is_zero(&KINDS[*at])).collect();
        Self { names: kinds.iter().map(|at| KINDS[*at].short).collect(), sentence: sentence(all), kinds }
    }

    /// Every count, for tables of evidence.
    pub(super) fn every() -> Self {
        let names = KINDS.iter().map(|kind| kind.short).collect();
        Self { names, sentence: String::new(), kinds: (0..KINDS.len()).collect() }
    }

    /// The counts of one row.
    pub(super) fn row(&self, cell: &BenchmarkCase, counts: &Counts) -> Vec<Shown> {
        let shown = |at: &usize| {
            let kind = &KINDS[*at];
            let value = (kind.value)(counts);
            let expected = counts.lost.saturating_add(counts.received);
            let share = kind.word == LOST && value > 0;
            Shown {
                text: number::count(value),
                share: share.then(|| number::share(value as f64 / expected as f64)),
                amiss: kind.amiss(cell, counts) > 0,
            }
        };
        self.kinds.iter().map(shown).collect()
    }
}

/// What became of all these messages, in words.
pub(super) fn sentence(all: &[Accounted<'_>]) -> String {
    if all.is_empty() {
        return String::new();
    }
    let count = |kind: &Kind| number::total(all.iter().map(|(cell, counts)| kind.amiss(cell, counts)));
    // Order is mentioned only where a case promises it.
    let ordered = all.iter().any(|(cell, _)| cell.promises_order());
    let zeros: Vec<&str> = KINDS
        .iter()
        .filter(|kind| count(kind) == 0 && (ordered || kind.word != REORDERED))
        .map(|kind| kind.word)
        .collect();
    let mut parts = Vec::new();
    if !zeros.is_empty() {
        parts.push(format!("Nothing was {}.", listed(&zeros, "or")));
    }
    parts.extend(amiss(all));
    parts.extend(overtaken(all));
    parts.join(" ")
}

/// `Lost 3 (pubsub-redis).`; nothing where all went well.
pub(super) fn amiss(all: &[Accounted<'_>]) -> Option<String> {
    let sentence = |kind: &Kind| {
        let with = || all.iter().filter(|(cell, counts)| kind.amiss(cell, counts) > 0);
        let count = number::total(with().map(|(cell, counts)| kind.amiss(cell, counts)));
        (count > 0).then(|| format!("{} {} ({}).", capital(kind.word), number::count(count), labs(with())))
    };
    let sentences: Vec<String> = KINDS.iter().filter_map(sentence).collect();
    (!sentences.is_empty()).then(|| sentences.join(" "))
}

/// For each pattern that promises no order: in how many labs messages overtook each other.
fn overtaken(all: &[Accounted<'_>]) -> Vec<String> {
    let free = || all.iter().filter(|(cell, counts)| !cell.promises_order() && counts.reordered > 0);
    let mut patterns: Vec<&str> = free().map(|(cell, _)| cell.pattern.as_str()).collect();
    patterns.sort_by_key(|pattern| pattern_order(pattern));
    patterns.dedup();
    let sentence = |pattern: &str| {
        let mut labs: Vec<&str> =
            free().filter(|(cell, _)| cell.pattern == pattern).map(|(cell, _)| cell.lab.as_str()).collect();
        labs.sort_unstable();
        labs.dedup();
        let labs = number::plural(labs.len(), "lab", "labs");
        match pattern {
            "reqrep" => {
                format!("Replies overtook each other in {labs}, which request/reply does not forbid.")
            }
            "pipeline" => format!("Results overtook each other in {labs}, which a pipeline does not forbid."),
            "queue" => format!(
                "Messages overtook each other in {labs} with several consumers, which a queue does not forbid."
            ),
            other => format!(
                "{}: messages overtook each other in {labs}, where no order is promised.",
                pattern_title(other)
            ),
        }
    };
    patterns.into_iter().map(sentence).collect()
}

/// The names of labs, each once; of many only the number.
fn labs<'a>(cases: impl Iterator<Item = &'a Accounted<'a>>) -> String {
    let mut labs: Vec<&str> = cases.map(|(cell, _)| cell.lab.as_str()).collect();
    labs.sort_unstable();
    labs.dedup();
    if labs.len() <= 3 { listed(&labs, "and") } else { number::plural(labs.len(), "lab", "labs") }
}

/// `a, b or c`.
pub(super) fn listed(words: &[&str], last: &str) -> String {
    match words {
        [] => String::new(),
        [one] => (*one).to_owned(),
        [before @ .., end] => format!("{} {last} {end}", before.join(", ")),
    }
}

fn capital(word: &str) -> String {
    let mut letters = word.chars();
    letters.next().map(|first| first.to_uppercase().chain(letters).collect()).unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use super::super::super::tests::build;
    use super::*;

    fn said(of: &[(&str, Counts)]) -> (Vec<&'static str>, String) {
        let cells: Vec<BenchmarkCase> = of.iter().map(|(lab, _)| build::plain(lab)).collect();
        let all: Vec<Accounted<'_>> = cells.iter().zip(of.iter().map(|(_, counts)| counts)).collect();
        let columns = Columns::of(&all);
        (columns.names, columns.sentence)
    }

    #[test]
    fn what_is_zero_everywhere_is_a_sentence_and_no_column() {
        let fine = Counts { sent: 10, received: 10, ..Counts::default() };
        let check = |of: &[(&str, Counts)], names: &[&str], sentence: &str| {
            assert_eq!(said(of), (names.to_vec(), sentence.to_owned()));
        };
        check(&[], &[], "");
        check(&[("oneway-tcp", fine)], &[], "Nothing was lost, duplicated, reordered or corrupt.");
        check(&[("reqrep-tcp", fine)], &[], "Nothing was lost, duplicated or corrupt.");
        let overtook = Counts { reordered: 7, ..fine };
        check(
            &[("reqrep-tcp", overtook), ("reqrep-tcp", overtook), ("reqrep-redis", overtook)],
            &[],
            "Nothing was lost, duplicated or corrupt. Replies overtook each other in 2 labs, which \
             request/reply does not forbid.",
        );
        // One that promises order is a fault, and has a column.
        check(
            &[("oneway-tcp", overtook), ("oneway-redis", Counts { lost: 1, received: 9, ..fine })],
            &["lost", "reord."],
            "Nothing was duplicated or corrupt. Lost 1 (oneway-redis). Reordered 7 (oneway-tcp).",
        );
    }
}
