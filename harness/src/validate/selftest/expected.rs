//! The expected results of a trial, from the transport's event log. It uses sets and
//! sorted lists only, so that a mistake of the harness cannot be repeated here.

use std::collections::{BTreeMap, HashMap, HashSet};

use anyhow::{Context as _, Result, ensure};
use labs::catalog::Pattern;

use super::event_log::{Entered, Left, Pages, State};
use super::fault::{Harm, Id};
use crate::measure::clock::SECOND;
use crate::results::{Arrivals, Counts, Load};

/// The settings of the trial that the expected result depends on.
#[derive(Debug, Clone)]
pub(super) struct Setting {
    pub(super) pattern: Pattern,
    pub(super) senders: usize,
    pub(super) receivers: usize,
    pub(super) load: Load,
    /// The common start, ns of the clock.
    pub(super) start: u64,
    /// Warm-up, ns.
    pub(super) warmup_ns: u64,
    /// Measured time, ns.
    pub(super) measured_ns: u64,
}

/// The expected result. Times are in ns, sorted, of the messages that count for latency.
#[derive(Debug, Clone, Default)]
pub(super) struct Expected {
    pub(super) counts: Counts,
    /// From due to entered.
    pub(super) lag: Vec<u64>,
    /// From entered to handed over.
    pub(super) service: Vec<u64>,
    /// From due to handed over.
    pub(super) response: Vec<u64>,
    /// From entered to confirmed.
    pub(super) confirm: Vec<u64>,
    /// Handed over in the measured time, messages a second.
    pub(super) throughput: f64,
    /// When messages were due, ns from the common start, sorted.
    due: Vec<u64>,
    /// When they came and went, the same.
    entered: Vec<u64>,
    left: Vec<u64>,
}

impl Setting {
    /// Whether messages are confirmed to the sender.
    fn confirms(&self) -> bool {
        matches!(self.pattern, Pattern::Queue | Pattern::Durable)
    }

    fn is_published(&self) -> bool {
        self.pattern.is_fan_out()
    }

    /// Who expects a message: each subscriber does; all others share it.
    fn group(&self, left: &Left) -> usize {
        if self.is_published() { left.to } else { 0 }
    }

    /// The due time of a message. It is worked out, not read off the message: a
    /// schedule that is reset when it cannot be kept would show. Only Poisson
    /// arrivals are what they are.
    fn due(&self, entered: &Entered) -> u64 {
        let Some(rate) = self.load.rate.filter(|_| self.load.is_open()) else { return entered.at };
        let (turn, senders) = (entered.id.sequence, self.senders as u64);
        let all = |own: u64| (own * senders + u64::from(entered.id.producer)) as f64;
        let gap = SECOND as f64 / rate;
        let ns = match self.load.arrivals.unwrap_or(Arrivals::Constant) {
            // The n-th of all is due n gaps after the start.
            Arrivals::Constant => all(turn) * gap,
            // A burst is due when the messages of those before it have had their time.
            Arrivals::Burst => {
                let messages = self.load.burst.unwrap_or(1);
                all(turn / messages) * messages as f64 * gap
            }
            // At t of T the rate is t/T of the last, so until then t^2 / 2T gaps are over.
            Arrivals::Ramp => (2.0 * (self.warmup_ns + self.measured_ns) as f64 * all(turn) * gap).sqrt(),
            Arrivals::Poisson => return entered.due,
        };
        self.start + ns as u64
    }
}

impl Expected {
    /// Computes the expected result. An error means that the transport itself did not do what
    /// it was told, and that nothing is known.
    pub(super) fn of(setting: &Setting, pages: &Pages) -> Result<Self> {
        ensure!(!pages.entered.is_empty(), "no message reached the simulated transport");
        let start = setting.start;
        let entries: HashMap<Id, (u64, u64)> =
            pages.entered.iter().map(|entered| (entered.id, (entered.at, setting.due(entered)))).collect();
        let whole: Vec<Left> = firsts(&pages.left);
        let mut truth = Self { counts: counts(setting, pages, &whole), ..Self::default() };
        balance(setting, pages, &truth.counts)?;
        let (from, to) = (start + setting.warmup_ns, start + setting.warmup_ns + setting.measured_ns);
        let holds = |time: u64| from <= time && time < to;
        for (at, due) in entries.values() {
            truth.entered.push(at.saturating_sub(start));
            truth.due.push(due.saturating_sub(start));
            if holds(*due) {
                truth.lag.push(at.saturating_sub(*due));
            }
        }
        let (mut received, mut counted) = (0, HashSet::new());
        for left in &whole {
            let (at, due) = *entries.get(&left.id).context("a message was delivered that was never sent")?;
            // The time on the sender's clock. Only clocks that are seconds ahead are planned,
            // so that it is never a close thing which came first.
            let [at, due] = [at, due].map(|time| time.saturating_add_signed(left.shift));
            truth.counts.negative += u64::from(left.at < at);
            // Another receiver of it has repeated the work.
            received += u64::from(holds(left.at) && counted.insert((setting.group(left), left.id)));
            truth.left.push(left.at.saturating_sub(start));
            if holds(due) {
                truth.service.push(left.at.saturating_sub(at));
                if setting.load.is_open() {
                    truth.response.push(left.at.saturating_sub(due));
                }
            }
        }
        for confirmed in pages.confirmed.iter().filter(|_| setting.confirms()) {
            let (at, _) =
                *entries.get(&confirmed.id).context("a message was confirmed that was never sent")?;
            if holds(at) {
                truth.confirm.push(confirmed.at.saturating_sub(at));
            }
        }
        truth.throughput = received as f64 / (setting.measured_ns as f64 / SECOND as f64);
        let Self { lag, service, response, confirm, due, entered, left, .. } = &mut truth;
        for times in [lag, service, response, confirm, due, entered, left] {
            times.sort_unstable();
        }
        Ok(truth)
    }

    /// The share of gaps between due times that are longer than `mean`, ns.
    pub(super) fn gaps_beyond(&self, mean: f64) -> Option<f64> {
        let longer = self.due.windows(2).filter(|pair| (pair[1] - pair[0]) as f64 > mean).count();
        (self.due.len() > 1).then(|| longer as f64 / (self.due.len() - 1) as f64)
    }

    /// Messages that had come and not gone, `at` ns after the common start.
    pub(super) fn backlog(&self, at: u64) -> u64 {
        let until = |times: &[u64]| times.partition_point(|time| *time <= at) as u64;
        until(&self.entered).saturating_sub(until(&self.left))
    }
}

/// The messages that each receiver got undamaged and for the first time.
fn firsts(left: &[Left]) -> Vec<Left> {
    let mut seen = HashSet::new();
    left.iter()
        .filter(|left| left.state == State::Whole && seen.insert((left.to, left.id)))
        .copied()
        .collect()
}

fn counts(setting: &Setting, pages: &Pages, whole: &[Left]) -> Counts {
    let count = |test: &dyn Fn(&Left) -> bool| pages.left.iter().filter(|left| test(left)).count() as u64;
    let mut counts = Counts {
        sent: pages.entered.len() as u64,
        refused: pages.entered.iter().filter(|entered| entered.refused).count() as u64,
        redelivered: count(&|left| left.state == State::Whole && left.attempt > 1),
        corrupt: count(&|left| left.state == State::Damaged),
        misrouted: count(&|left| left.state == State::Stray),
        ..Counts::default()
    };
    let groups = if setting.is_published() { setting.receivers } else { 1 };
    let got: HashSet<(usize, Id)> = whole.iter().map(|left| (setting.group(left), left.id)).collect();
    counts.received = got.len() as u64;
    counts.duplicated = count(&|left| left.state == State::Whole) - counts.received;
    // The publisher of plain and of durable subscribers is the same here, and notes
    // the events it flushed; to plain subscribers it promises nothing.
    let confirmed: HashSet<Id> =
        pages.confirmed.iter().filter(|_| setting.confirms()).map(|confirmed| confirmed.id).collect();
    for entered in pages.entered.iter().filter(|entered| !entered.refused) {
        let lost = (0..groups).filter(|group| !got.contains(&(*group, entered.id))).count() as u64;
        counts.lost += lost;
        if confirmed.contains(&entered.id) {
            counts.confirmed_lost += lost;
        } else {
            counts.unconfirmed_lost += lost;
        }
    }
    let mut furthest: BTreeMap<(usize, u32), u64> = BTreeMap::new();
    for left in whole {
        let furthest = furthest.entry((left.to, left.id.producer)).or_default();
        if left.id.sequence < *furthest {
            counts.reordered += 1;
            counts.reorder_distance = counts.reorder_distance.max(*furthest - left.id.sequence);
        }
        *furthest = left.id.sequence.max(*furthest);
    }
    counts
}

/// The effects at the far end must be those of the faults.
fn balance(setting: &Setting, pages: &Pages, counts: &Counts) -> Result<()> {
    let done = |harms: &[Harm]| harms.iter().filter_map(|harm| pages.harms.get(harm)).sum::<u64>();
    let rows = [
        ("refused", counts.refused, done(&[Harm::Refused])),
        ("lost", counts.lost, done(&[Harm::Dropped, Harm::Swallowed, Harm::Damaged, Harm::Misanswered])),
        ("duplicated", counts.duplicated, done(&[Harm::Repeated, Harm::RepeatedMarked])),
        ("redelivered", counts.redelivered, done(&[Harm::RepeatedMarked, Harm::Marked])),
        ("corrupt", counts.corrupt, done(&[Harm::Damaged])),
        ("misrouted", counts.misrouted, done(&[Harm::Strayed, Harm::Misanswered])),
    ];
    for (what, shows, was_done) in rows {
        ensure!(
            shows == was_done,
            "the simulated {} transport did not apply its faults: {was_done} {what}, {shows} of them visible",
            setting.pattern
        );
    }
    Ok(())
}

/// The exact percentile by nearest rank, and those around it: the values `slack`
/// (a share of all) of the ranks below and above. `None` without values.
pub(super) fn around(sorted: &[u64], quantile: f64, slack: f64) -> Option<[u64; 3]> {
    let last = sorted.len().checked_sub(1)?;
    let rank = ((quantile * sorted.len() as f64).ceil() as usize).clamp(1, last + 1) - 1;
    let far = (slack * sorted.len() as f64).ceil() as usize;
    Some([sorted[rank.saturating_sub(far)], sorted[rank], sorted[(rank + far).min(last)]])
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::validate::selftest::event_log::Confirmed;

    fn left(sequence: u64, to: usize, attempt: u32, state: State) -> Left {
        Left { id: Id { producer: 0, sequence }, to, at: 1_000 + sequence, attempt, state, shift: 0 }
    }

    /// Six messages, of which the last is refused; 0 and 2 are confirmed.
    fn pages(left: Vec<Left>, harms: &[(Harm, u64)]) -> Pages {
        let id = |sequence| Id { producer: 0, sequence };
        let entered = |sequence| Entered { id: id(sequence), at: sequence, due: 0, refused: sequence == 5 };
        let confirmed = [0, 2].map(|sequence| Confirmed { id: id(sequence), at: 10 });
        let harms = harms.iter().copied().chain([(Harm::Refused, 1)]).collect();
        Pages { entered: (0..6).map(entered).collect(), left, confirmed: confirmed.to_vec(), harms }
    }

    fn setting(pattern: Pattern) -> Setting {
        let load = Load::max();
        Setting { pattern, senders: 1, receivers: 2, load, start: 0, warmup_ns: 0, measured_ns: SECOND }
    }

    #[test]
    fn counts_of_competing_consumers_are_those_of_the_notes() {
        use State::{Damaged, Stray, Whole};
        // 2 arrives damaged and is therefore lost, 1 is overtaken by 3 and 4, and 4 arrives at
        // both.
        let notes = [
            left(0, 0, 1, Whole),
            left(2, 0, 1, Damaged),
            left(3, 0, 1, Whole),
            left(4, 0, 1, Whole),
            left(4, 1, 2, Whole),
            left(1, 0, 1, Whole),
            left(9, 1, 1, Stray),
        ];
        let harms = [(Harm::Damaged, 1), (Harm::RepeatedMarked, 1), (Harm::Strayed, 1)];
        let truth = Expected::of(&setting(Pattern::Queue), &pages(notes.to_vec(), &harms)).expect("a truth");
        let expected = Counts {
            sent: 6,
            received: 4,
            refused: 1,
            lost: 1,
            confirmed_lost: 1,
            duplicated: 1,
            redelivered: 1,
            reordered: 1,
            reorder_distance: 3,
            corrupt: 1,
            misrouted: 1,
            ..Counts::default()
        };
        assert_eq!(truth.counts, expected);
        assert_eq!([truth.backlog(3), truth.backlog(2_000)], [4, 1]);
    }

    #[test]
    fn subscribers_each_expect_everything_and_books_must_balance() {
        let notes: Vec<Left> = (0..5)
            .flat_map(|at| [left(at, 0, 1, State::Whole), left(at, 1, 1, State::Whole)])
            .skip(1)
            .collect();
        let all = pages(notes.clone(), &[(Harm::Dropped, 1)]);
        let counts = Expected::of(&setting(Pattern::PubSub), &all).expect("a truth").counts;
        assert_eq!((counts.received, counts.lost, counts.unconfirmed_lost), (9, 1, 1));
        let error = Expected::of(&setting(Pattern::PubSub), &pages(notes, &[])).expect_err("one too few");
        assert!(error.to_string().contains("0 lost, 1 of them visible"), "{error}");
    }

    #[test]
    fn percentiles_are_those_by_nearest_rank() {
        let values: Vec<u64> = (1..=1000).collect();
        assert_eq!(around(&values, 0.5, 0.005), Some([495, 500, 505]));
        assert_eq!(around(&values, 0.99, 0.0), Some([990; 3]));
        assert_eq!(around(&values, 1.0, 0.005), Some([995, 1000, 1000]));
        assert_eq!(around(&[7], 0.5, 0.0), Some([7; 3]));
        assert_eq!(around(&[], 0.5, 0.0), None);
    }
}
