//! Searches for the sustainable rate and sweeps over it, in the order they are
//! shown, each with its cases.

use super::model::{guarantee_order, pattern_order};
use crate::results::{Arrivals, BenchmarkCase, Capacity, Point, Purpose, Run, Step, Subject, Summary, Sweep};

/// The search and the sweep of one lab with one setting.
pub(super) struct Limit<'a> {
    pub(super) run: &'a Run,
    pub(super) subject: &'a Subject,
    pub(super) arrivals: Arrivals,
    pub(super) capacity: Option<&'a Capacity>,
    pub(super) sweep: Option<&'a Sweep>,
    /// A case of the lab with this setting, which gives its name and colour.
    pub(super) cell: &'a BenchmarkCase,
}

impl<'a> Limit<'a> {
    /// The case of a step or a point.
    pub(super) fn cell_of(&self, id: &str) -> Option<&'a BenchmarkCase> {
        self.run.cells.iter().find(|cell| cell.id == id)
    }

    /// What the longer run says that confirmed the sustainable rate.
    pub(super) fn confirmed(&self) -> Option<&'a Summary> {
        self.confirming()?.summary.as_ref()
    }

    /// The longer run that confirmed the sustainable rate.
    pub(super) fn confirming(&self) -> Option<&'a BenchmarkCase> {
        let capacity = self.capacity?;
        let confirms = |step: &&Step| {
            step.purpose == Purpose::Confirm && step.passed && Some(step.rate) == capacity.sustainable_per_s
        };
        let step = capacity.steps.iter().rev().find(confirms)?;
        self.cell_of(&step.cell)
    }

    /// Messages a second; `None` if no rate was sustained.
    pub(super) fn sustainable(&self) -> Option<f64> {
        match self.capacity {
            Some(capacity) => capacity.sustainable_per_s,
            None => self.sweep.map(|sweep| sweep.sustainable_per_s),
        }
    }

    /// The part of its file name that distinguishes it from other arrivals.
    pub(super) fn stem(&self) -> String {
        format!("{:?}", self.arrivals).to_lowercase()
    }

    /// The points of the sweep that have a result, with it.
    pub(super) fn points(&self) -> impl Iterator<Item = (&'a Point, &'a Summary)> + '_ {
        let points = self.sweep.into_iter().flat_map(|sweep| &sweep.points);
        points.filter_map(|point| Some((point, self.cell_of(&point.cell)?.summary.as_ref()?)))
    }
}

/// All of a run's: by pattern and guarantee, and within them the most first.
pub(super) fn limits(run: &Run) -> Vec<Limit<'_>> {
    let mut limits: Vec<Limit<'_>> = Vec::new();
    for capacity in &run.capacities {
        limits.extend(limit(run, &capacity.subject, capacity.arrivals));
    }
    for sweep in &run.sweeps {
        let known = |limit: &Limit<'_>| *limit.subject == sweep.subject && limit.arrivals == sweep.arrivals;
        if !limits.iter().any(known) {
            limits.extend(limit(run, &sweep.subject, sweep.arrivals));
        }
    }
    limits.sort_by(|a, b| {
        let key = |limit: &Limit<'_>| {
            let subject = limit.subject;
            (subject.size, subject.senders, subject.receivers, subject.set.clone())
        };
        (pattern_order(&a.subject.pattern).cmp(&pattern_order(&b.subject.pattern)))
            .then_with(|| guarantee_order(&a.cell.guarantee).cmp(&guarantee_order(&b.cell.guarantee)))
            .then_with(|| key(a).cmp(&key(b)))
            .then_with(|| b.sustainable().unwrap_or(-1.0).total_cmp(&a.sustainable().unwrap_or(-1.0)))
    });
    limits
}

/// `None` if the run has no case of it, because then there are no trials to show.
fn limit<'a>(run: &'a Run, subject: &'a Subject, arrivals: Arrivals) -> Option<Limit<'a>> {
    let same = |cell: &&BenchmarkCase| {
        (&cell.lab, cell.size, cell.senders, cell.receivers, &cell.set)
            == (&subject.lab, subject.size, subject.senders, subject.receivers, &subject.set)
    };
    let is_of = |other: &Subject, spacing: Arrivals| other == subject && spacing == arrivals;
    Some(Limit {
        run,
        subject,
        arrivals,
        capacity: run.capacities.iter().find(|capacity| is_of(&capacity.subject, capacity.arrivals)),
        sweep: run.sweeps.iter().find(|sweep| is_of(&sweep.subject, sweep.arrivals)),
        cell: run.cells.iter().find(same)?,
    })
}
