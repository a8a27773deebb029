//! The cells of the scorecard: which runs there are for each lab and fault, and what they say together.

use super::super::model::{guarantee_order, pattern_order};
use crate::results::{FaultRun, FaultSet, SCORED_FAULTS, Verdict};

/// Labs × faults, grouped by guarantee.
pub(super) struct Grid<'a> {
    /// The faults, in the order of columns.
    pub(super) faults: Vec<String>,
    pub(super) groups: Vec<Group<'a>>,
}

/// The labs of one guarantee.
pub(super) struct Group<'a> {
    pub(super) guarantee: &'a str,
    pub(super) rows: Vec<Row<'a>>,
}

/// One lab.
pub(super) struct Row<'a> {
    pub(super) lab: &'a str,
    pub(super) pattern: &'a str,
    /// A cell for each fault; `None`: it was not run.
    pub(super) cells: Vec<Option<Cell<'a>>>,
}

/// One lab under one fault, over all seeds.
pub(super) struct Cell<'a> {
    /// What all runs say together: one broken promise is enough.
    pub(super) verdict: Verdict,
    /// The first run with this verdict.
    pub(super) evidence: &'a FaultRun,
    /// How many runs have this verdict.
    pub(super) agree: usize,
    /// All runs.
    pub(super) runs: usize,
}

impl Cell<'_> {
    /// `kept`; of several seeds `broke 2/20`.
    pub(super) fn words(&self) -> String {
        match self.runs {
            1 => self.verdict.to_string(),
            runs => format!("{} {}/{runs}", self.verdict, self.agree),
        }
    }
}

/// What decides a cell: the first of these that any of its runs has.
const DECIDES: [Verdict; 5] =
    [Verdict::Broke, Verdict::CannotTell, Verdict::Kept, Verdict::NotPromised, Verdict::DoesNotApply];

/// The grid of a set. Columns are the scored faults, then others that were run, in their order; a
/// column that has no run is left out.
pub(super) fn grid(set: &FaultSet) -> Grid<'_> {
    let mut faults: Vec<String> = SCORED_FAULTS.map(str::to_owned).into();
    for run in &set.runs {
        if !faults.contains(&run.fault()) {
            faults.push(run.fault());
        }
    }
    faults.retain(|fault| set.runs.iter().any(|run| run.fault() == *fault));

    let mut labs: Vec<&FaultRun> = Vec::new();
    for run in &set.runs {
        if labs.iter().all(|known| known.lab != run.lab) {
            labs.push(run);
        }
    }
    labs.sort_by_key(|run| (guarantee_order(&run.guarantee), pattern_order(&run.pattern)));
    let mut groups: Vec<Group<'_>> = Vec::new();
    for first in labs {
        let cells = faults.iter().map(|fault| cell(set, &first.lab, fault)).collect();
        let row = Row { lab: &first.lab, pattern: &first.pattern, cells };
        match groups.last_mut().filter(|group| group.guarantee == first.guarantee) {
            Some(group) => group.rows.push(row),
            None => groups.push(Group { guarantee: &first.guarantee, rows: vec![row] }),
        }
    }
    Grid { faults, groups }
}

fn cell<'a>(set: &'a FaultSet, lab: &str, fault: &str) -> Option<Cell<'a>> {
    let runs: Vec<&FaultRun> = set.runs.iter().filter(|run| run.lab == lab && run.fault() == fault).collect();
    let verdict = DECIDES.into_iter().find(|verdict| runs.iter().any(|run| run.verdict == *verdict))?;
    let agree = runs.iter().filter(|run| run.verdict == verdict).count();
    let evidence = *runs.iter().find(|run| run.verdict == verdict)?;
    Some(Cell { verdict, evidence, agree, runs: runs.len() })
}

/// The anchor of a run in the page, of letters, digits, `.`, `-` and `_` alone.
pub(super) fn anchor(run: &FaultRun) -> String {
    let plain = |c: char| if c.is_ascii_alphanumeric() || matches!(c, '.' | '-' | '_') { c } else { '-' };
    run.id().chars().map(plain).collect()
}
