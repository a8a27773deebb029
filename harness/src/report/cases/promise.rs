//! Whether a lab kept its promise when something was done to it: what the runs under faults in the
//! same folder of results say.

use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};

use crate::results::{BenchmarkCase, FAULTS, FaultSet, SCORED_FAULTS, Verdict};

/// What all runs of one lab under faults say together.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(crate) struct Promise {
    /// Faults under which the promise was kept.
    pub(crate) kept: usize,
    /// Their names.
    pub(crate) kept_under: Vec<String>,
    /// Faults under which it was broken, by name.
    pub(crate) broke: Vec<String>,
    /// Faults of which too little was seen to say.
    pub(crate) cannot_tell: usize,
    /// Faults that the guarantee does not cover.
    pub(crate) not_promised: usize,
    /// The folder of the runs, from that of the result set: `../2026-01-31-host-faults`.
    pub(crate) folder: String,
    guarantee: String,
}

impl Promise {
    /// `kept under 9 faults`, or what else is to be said.
    pub(crate) fn words(&self) -> String {
        let tested = self.kept + self.broke.len() + self.cannot_tell;
        match (self.broke.as_slice(), self.kept, self.cannot_tell) {
            ([], 0, 0) => "no fault that it covers was tried".to_owned(),
            ([], kept, 0) => format!("kept under {kept} of {tested} faults"),
            ([], kept, unclear) => format!("kept under {kept} of {tested} faults, {unclear} cannot tell"),
            (broke, ..) => format!("broke under {}", broke.join(", ")),
        }
    }

    /// One word: `kept`, `broke`, `cannot tell`.
    pub(crate) fn verdict(&self) -> Verdict {
        match (self.broke.len(), self.kept, self.cannot_tell) {
            (1.., ..) => Verdict::Broke,
            (0, 1.., 0) => Verdict::Kept,
            (0, 0, 0) => Verdict::NotPromised,
            _ => Verdict::CannotTell,
        }
    }
}

/// What is known of every lab.
#[derive(Debug, Default)]
pub(crate) struct Promises(BTreeMap<String, Promise>);

impl Promises {
    /// From the runs under faults in `dir` itself and in the folders beside it; of each lab the
    /// newest set by its folder's name, which begins with the date. One that cannot be read says
    /// nothing here: `lab report` names what is wrong with it.
    pub(crate) fn beside(dir: &Path) -> Self {
        let own = dir.canonicalize().unwrap_or_else(|_| dir.to_owned());
        let entries = own.parent().and_then(|above| std::fs::read_dir(above).ok()).into_iter().flatten();
        let others = entries.flatten().map(|entry| entry.path());
        let mut others: Vec<PathBuf> = others.filter(|path| *path != own && !path.is_symlink()).collect();
        others.sort();
        // Its own comes first, then the newest.
        let folders = std::iter::once(own.clone()).chain(others.into_iter().rev());
        let mut all = Self::default();
        for path in folders.filter(|path| path.join(FAULTS).is_file()) {
            let name = path.file_name().unwrap_or_default().to_string_lossy();
            let folder = if path == own { ".".to_owned() } else { format!("../{name}") };
            if let Ok(set) = FaultSet::open(&path) {
                all.add(&folder, &set);
            }
        }
        all
    }

    /// Adds the labs of a set that are not known yet.
    fn add(&mut self, folder: &str, set: &FaultSet) {
        let mut of_set: BTreeMap<&str, BTreeMap<String, Verdict>> = BTreeMap::new();
        for run in &set.runs {
            let fault = run.fault();
            if !SCORED_FAULTS.contains(&fault.as_str()) {
                continue;
            }
            let verdict = of_set.entry(&run.lab).or_default().entry(fault).or_insert(run.verdict);
            // One broken promise is enough, and one that is unclear spoils those that were kept.
            if weight(run.verdict) > weight(*verdict) {
                *verdict = run.verdict;
            }
        }
        for (lab, faults) in of_set {
            if self.0.contains_key(lab) {
                continue;
            }
            let of = |wanted: Verdict| faults.values().filter(|verdict| **verdict == wanted).count();
            let kept = faults.iter().filter(|(_, verdict)| **verdict == Verdict::Kept);
            let broke = faults.iter().filter(|(_, verdict)| **verdict == Verdict::Broke);
            let guarantee = set.runs.iter().find(|run| run.lab == lab).map(|run| run.guarantee.clone());
            self.0.insert(
                lab.to_owned(),
                Promise {
                    kept: of(Verdict::Kept),
                    kept_under: kept.map(|(fault, _)| fault.clone()).collect(),
                    broke: broke.map(|(fault, _)| fault.clone()).collect(),
                    cannot_tell: of(Verdict::CannotTell),
                    not_promised: of(Verdict::NotPromised),
                    folder: folder.to_owned(),
                    guarantee: guarantee.unwrap_or_default(),
                },
            );
        }
    }

    /// What is known of a case's lab. A broker with other settings makes another promise, of which
    /// nothing is known then.
    pub(crate) fn of(&self, cell: &BenchmarkCase) -> Option<&Promise> {
        self.0.get(&cell.lab).filter(|promise| promise.guarantee == cell.guarantee)
    }

    /// The faults under which a promise was kept or broken.
    pub(crate) fn faults(&self) -> Vec<&str> {
        let all = self.0.values().flat_map(|promise| promise.kept_under.iter().chain(&promise.broke));
        let all: BTreeSet<&str> = all.map(String::as_str).collect();
        all.into_iter().collect()
    }

    /// The folders that anything is known from.
    pub(crate) fn folders(&self) -> Vec<&str> {
        let mut folders: Vec<&str> = self.0.values().map(|promise| promise.folder.as_str()).collect();
        folders.sort_unstable();
        folders.dedup();
        folders
    }
}

fn weight(verdict: Verdict) -> u8 {
    match verdict {
        Verdict::Broke => 3,
        Verdict::CannotTell => 2,
        Verdict::Kept => 1,
        Verdict::NotPromised | Verdict::DoesNotApply => 0,
    }
}
