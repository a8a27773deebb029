//! When each message of a pipeline was where. No envelope of ours is on the
//! wire, so nobody can write a time into a message: each role keeps its own, in
//! a sparse file beside its account, and afterwards they are joined by producer
//! and sequence. It is done at a rate only, where there is a time to count from.
//!
//! ```text
//! due ── task queued ── taken ── worked ── handed on ── result queued ── received ── collected ── settled
//! ```
//!
//! Each time is taken before the act that lets the message go on, so that the
//! hops of a message are in order and the first three sum up to its response
//! exactly.

use std::path::Path;
use std::sync::atomic::Ordering;

use anyhow::Result;

use super::limits::MAX_MESSAGES;
use super::mapped::Words;
use crate::results::Hops;

/// `N` times of each message, as one role saw them, in ns of the clock; 0: not yet.
pub struct Times<const N: usize> {
    /// One file for each producer.
    files: Vec<Words>,
}

/// What a worker writes down: when it took a task, and when it handed its result on.
pub type Worked = Times<2>;
/// What a sink writes down of each result that was due in the measured time:
/// when its task was due, when it received it, and when it had settled it.
pub type Collected = Times<3>;

impl<const N: usize> Times<N> {
    /// Opens the times that `role` keeps of so many producers' messages, or makes them.
    ///
    /// # Errors
    /// When a file cannot be made or mapped; it is named.
    pub fn open(dir: &Path, role: &str, producers: usize) -> Result<Self> {
        let words = MAX_MESSAGES as usize * N;
        let file = |producer| Words::map(&dir.join(format!("{role}.times.{producer}")), words);
        Ok(Self { files: (0..producers).map(file).collect::<Result<_>>()? })
    }

    /// Writes down the `at`th time of a message. Only the role itself may.
    #[inline]
    pub fn set(&self, (producer, sequence): (usize, u64), at: usize, time: u64) {
        debug_assert!(at < N, "there are {N} times");
        // A message that this run has not made has no place here; the sink's account counts it.
        if let Some(file) = self.files.get(producer).filter(|_| sequence < MAX_MESSAGES) {
            file.at(sequence as usize * N + at).store(time, Ordering::Release);
        }
    }

    /// Whether this role has written down a time of a message already. Only the role itself may ask:
    /// it looks into its own mapping, which costs no system call.
    #[inline]
    pub fn has(&self, (producer, sequence): (usize, u64)) -> bool {
        let file = self.files.get(producer).filter(|_| sequence < MAX_MESSAGES);
        let first = sequence as usize * N;
        file.is_some_and(|file| (first..first + N).any(|at| file.at(at).load(Ordering::Relaxed) != 0))
    }

    /// All times of a message, read from the file: a reader reserves no memory.
    pub fn get(&self, (producer, sequence): (usize, u64)) -> [u64; N] {
        let file = self.files.get(producer).filter(|_| sequence < MAX_MESSAGES);
        let times = file.and_then(|file| file.read(sequence as usize * N, N).ok());
        times.and_then(|times| times.try_into().ok()).unwrap_or([0; N])
    }
}

/// One message on its way through a pipeline; times are ns of the clock.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Journey {
    /// Which worker did it.
    pub worker: usize,
    /// When its task was due at the ventilator.
    pub due: u64,
    /// When the worker took the task.
    pub taken: u64,
    /// When the worker handed the result on.
    pub handed_on: u64,
    /// When the sink received it.
    pub received: u64,
    /// When the sink had settled it; `None` where it had not when it was stopped.
    pub settled: Option<u64>,
}

impl Journey {
    /// From due to received, ns.
    pub fn response(&self) -> u64 {
        self.received.saturating_sub(self.due)
    }

    /// How long each hop took, ns.
    pub fn hops(&self) -> Hops<u64> {
        Hops {
            task_queued: self.taken.saturating_sub(self.due),
            worked: self.handed_on.saturating_sub(self.taken),
            result_queued: self.received.saturating_sub(self.handed_on),
            collected: self.settled.unwrap_or(self.received).saturating_sub(self.received),
        }
    }

    /// Whether no time lies before the one it has to follow.
    pub fn in_order(&self) -> bool {
        let times =
            [self.due, self.taken, self.handed_on, self.received, self.settled.unwrap_or(self.received)];
        times.is_sorted()
    }
}

/// The journeys of a producer's first `sent` messages, as far as they were due
/// in the measured time and received. Where a task was done by several workers
/// before its result came (one of them was taken for dead), nobody can say whose
/// result it was: it has no journey. The same for one whose worker has not
/// written down its times.
pub fn journeys<'a>(
    collected: &'a Collected,
    workers: &'a [Worked],
    producer: usize,
    sent: u64,
) -> impl Iterator<Item = Journey> + 'a {
    (0..sent).filter_map(move |sequence| {
        let message = (producer, sequence);
        let [due, received, settled] = collected.get(message);
        if received == 0 {
            return None;
        }
        let mut done = workers.iter().enumerate().filter_map(|(worker, times)| {
            let [taken, handed_on] = times.get(message);
            (handed_on != 0 && handed_on <= received).then_some((worker, taken, handed_on))
        });
        let (worker, taken, handed_on) = done.next()?;
        if done.next().is_some() {
            return None;
        }
        let settled = (settled != 0).then_some(settled);
        Some(Journey { worker, due, taken, handed_on, received, settled })
    })
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::measure::account::new_dir;

    struct Plant {
        collected: Collected,
        workers: Vec<Worked>,
        _dir: tempfile::TempDir,
    }

    fn plant() -> Plant {
        let dir = new_dir().expect("a folder");
        let workers = ["worker-0", "worker-1"];
        let workers = workers.map(|role| Worked::open(dir.path(), role, 1).expect("times")).into();
        Plant { collected: Collected::open(dir.path(), "sink-0", 1).expect("times"), workers, _dir: dir }
    }

    impl Plant {
        fn work(&self, worker: usize, sequence: u64, times: [u64; 2]) {
            times.into_iter().enumerate().for_each(|(at, time)| {
                self.workers[worker].set((0, sequence), at, time);
            });
        }
        fn collect(&self, sequence: u64, times: [u64; 3]) {
            times.into_iter().enumerate().for_each(|(at, time)| self.collected.set((0, sequence), at, time));
        }
        fn journeys(&self, sent: u64) -> Vec<Journey> {
            journeys(&self.collected, &self.workers, 0, sent).collect()
        }
    }

    #[test]
    fn a_message_is_followed_from_due_to_settled() {
        let plant = plant();
        plant.work(1, 7, [130, 150]);
        plant.collect(7, [100, 190, 200]);
        let journey =
            Journey { worker: 1, due: 100, taken: 130, handed_on: 150, received: 190, settled: Some(200) };
        assert_eq!(plant.journeys(8), [journey]);
        assert_eq!(journey.hops(), Hops { task_queued: 30, worked: 20, result_queued: 40, collected: 10 });
        assert!(journey.in_order() && !Journey { taken: 151, ..journey }.in_order());
        assert_eq!(plant.journeys(7), [], "only messages that were sent are looked at");
    }

    #[test]
    fn what_nobody_can_say_is_not_said() {
        let plant = plant();
        // Done by both before the result came; by one, and by the other only after it.
        for (sequence, second) in [(0, 160), (1, 999)] {
            plant.work(0, sequence, [130, 150]);
            plant.work(1, sequence, [140, second]);
            plant.collect(sequence, [100, 190, 200]);
        }
        // Taken and never handed on; never taken; handed on and never received.
        plant.work(0, 2, [130, 0]);
        plant.collect(2, [100, 190, 200]);
        plant.collect(3, [100, 190, 200]);
        plant.work(0, 4, [130, 150]);
        let journeys = plant.journeys(5);
        assert_eq!(journeys.iter().map(|journey| journey.handed_on).collect::<Vec<_>>(), [150]);
    }

    #[test]
    fn a_stranger_has_no_place() {
        let plant = plant();
        for message in [(1, 0), (0, MAX_MESSAGES), (usize::MAX, u64::MAX)] {
            plant.collected.set(message, 0, 1);
            assert_eq!(plant.collected.get(message), [0; 3]);
        }
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(64))]
        #[test]
        fn the_hops_of_a_message_sum_up_to_its_response(
            due in 1u64..1 << 60,
            steps in prop::array::uniform4(0u64..1 << 40),
        ) {
            let [taken, handed_on, received, settled] = {
                let mut time = due;
                steps.map(|step| { time += step; time })
            };
            let journey = Journey { worker: 0, due, taken, handed_on, received, settled: Some(settled) };
            let hops = journey.hops();
            prop_assert!(journey.in_order());
            prop_assert_eq!(hops.task_queued + hops.worked + hops.result_queued, journey.response());
            prop_assert_eq!(hops.collected, settled - received);
        }
    }
}
