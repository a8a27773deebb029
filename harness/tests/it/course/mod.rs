//! The course: starters fail with the anomaly that they name, solutions pass, typical wrong
//! solutions and cheats are caught, and what is no program at all gets a sentence that helps.

mod bad;
mod folder;
mod grade;
mod proof;
mod screen;

use libtest_mimic::Trial;

/// Every trial of this folder.
pub(crate) fn trials() -> Vec<Trial> {
    [proof::trials(), bad::trials(), screen::trials(), grade::trials()].into_iter().flatten().collect()
}
