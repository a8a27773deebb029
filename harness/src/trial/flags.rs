//! Why a trial's figures are not to be believed: one pure function, and its limits.

use labs::lab::Guarantee;

use crate::measure::clock;
use crate::results::{Arrivals, Flag, Load, LoadKind, Noise, Raw, Trial};

/// Two halves of a measurement may differ by this share of the whole.
const STEADY: f64 = 0.2;
/// Lag may be this share of the response at the 99th percentile, or one gap between messages, before
/// the generator, not the lab, is what was measured. A generator that sleeps until a message is due
/// wakes up some microseconds late, which is as long as a fast transport takes: the report shows how
/// much of the response that is. One that is late by more than a gap does not offer the load it was
/// asked for.
const LAG_SHARE: f64 = 0.5;
/// Flat out, the harness may take this share of the CPU time.
const HARNESS_CPU: f64 = 0.2;
/// Shares of CPU time that others, or the hypervisor, may take.
pub(crate) const FOREIGN: f64 = 0.1;
pub(crate) const STEAL: f64 = 0.02;
/// An idle thread may oversleep by this much at the 99th percentile, ns, where
/// the load itself does not keep the CPUs busy.
pub(crate) const OVERSLEEP: u64 = 2_000_000;

/// What is not to be believed about a trial. `null_rate` is what the generator
/// can offer to a transport that does nothing, messages a second: it must be
/// twice the load. `guarantee` is what the lab promises. `accounts` is false for baselines and for labs
/// that only count. Pure, so that each rule can be shown to hold.
pub fn flags(
    trial: &Trial,
    raw: &Raw,
    load: &Load,
    seconds: f64,
    null_rate: f64,
    guarantee: Guarantee,
    accounts: bool,
) -> Vec<Flag> {
    let mut flags = Vec::new();
    if guarantee != Guarantee::AtMostOnce && trial.counts.confirmed_lost > 0 {
        flags.push(Flag::BrokenPromise);
    }
    // At a rate that leaves CPU time over, nobody waits for the harness.
    if !load.is_open() && trial.harness_cpu.is_some_and(|share| share > HARNESS_CPU) {
        flags.push(Flag::HarnessCpu);
    }
    // What only counts does not note when it sends.
    if accounts && trial.is_sent_before(load) {
        flags.push(Flag::SentBefore);
    }
    let open_loop = load.is_open();
    if open_loop {
        let limited = match (trial.lag_ns.p99, trial.response_ns.p99) {
            (Some(lag), Some(response)) => {
                let gap = load.gap_ns().unwrap_or_default();
                lag as f64 > gap.max(LAG_SHARE * response as f64)
            }
            _ => false,
        };
        let slow = load.rate.is_some_and(|rate| null_rate < 2.0 * rate);
        if limited || slow {
            flags.push(Flag::GeneratorLimited);
        }
        if trial.response_ns.p99.is_none() {
            flags.push(Flag::TooFewSamples);
        }
    }
    // A ramp is not meant to be steady, and a backlog has no window.
    let uneven = load.arrivals == Some(Arrivals::Ramp) || load.kind == LoadKind::Drain;
    if !uneven && !steady(raw, seconds) {
        flags.push(Flag::Unsteady);
    }
    if trial.counts.negative > 0 {
        flags.push(Flag::NegativeLatency);
    }
    // An agent takes what others do on its host for foreign, and some of them may be ours.
    let foreign = trial.noise.foreign_cpu > FOREIGN;
    let all = || std::iter::once(&trial.noise).chain(trial.hosts.iter().map(|host| &host.noise));
    let late = |noise: &Noise| open_loop && noise.oversleep_p99_ns > OVERSLEEP;
    if foreign || all().any(|noise| noise.steal > STEAL || late(noise)) {
        flags.push(Flag::NoisyMachine);
    }
    flags.sort_unstable();
    flags
}

/// Whether both halves of the measured window moved about as much.
fn steady(raw: &Raw, seconds: f64) -> bool {
    if raw.interval_ns == 0 {
        return true;
    }
    let first = raw.measure_from_ns.div_ceil(raw.interval_ns) as usize;
    let count = (clock::seconds(seconds) / raw.interval_ns) as usize;
    let received = |range: std::ops::Range<usize>| -> f64 {
        range.map(|at| raw.series.get(at).map_or(0, |interval| interval.received) as f64).sum()
    };
    let half = count / 2;
    if half == 0 {
        return true;
    }
    let (early, late) = (received(first..first + half), received(first + half..first + 2 * half));
    (early - late).abs() <= STEADY * (early + late) / 2.0
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::measure::recorder::INTERVAL;
    use crate::results::{Counts, Interval, Percentiles};

    /// One second at 1,000 a second, with nothing wrong.
    fn fine() -> (Trial, Raw, Load) {
        let latency =
            |p99| Percentiles { p50: Some(p99 / 2), p99: Some(p99), count: 1000, ..Percentiles::default() };
        let trial = Trial {
            index: 0,
            position: 0,
            seed: 0,
            failed: None,
            seconds: 1.0,
            throughput_per_s: 1000.0,
            due: 1000,
            counts: Counts { sent: 1200, received: 1200, ..Counts::default() },
            response_ns: latency(200_000),
            service_ns: latency(150_000),
            lag_ns: latency(50_000),
            ..Trial::default()
        };
        let interval = Interval { received: 50, max_ns: 200_000, sum_ns: 5_000_000, offered: 50 };
        let raw = Raw {
            interval_ns: INTERVAL,
            measure_from_ns: 200_000_000,
            series: vec![interval; 24],
            ..Raw::default()
        };
        (trial, raw, Load::rate(1000.0, Arrivals::Constant))
    }

    #[track_caller]
    fn check(change: impl FnOnce(&mut Trial, &mut Raw, &mut Load), expected: &[Flag]) {
        let (mut trial, mut raw, mut load) = fine();
        change(&mut trial, &mut raw, &mut load);
        assert_eq!(flags(&trial, &raw, &load, 1.0, 1e7, Guarantee::AtLeastOnce, true), expected);
    }

    #[test]
    fn a_good_trial_has_no_flag() {
        check(|_, _, _| {}, &[]);
    }

    #[test]
    fn a_generator_that_is_late_is_what_was_measured() {
        let late = |lag, response| {
            move |trial: &mut Trial, _: &mut Raw, _: &mut Load| {
                (trial.lag_ns.p99, trial.response_ns.p99) = (Some(lag), Some(response));
            }
        };
        // At 1,000 a second a message is due every millisecond.
        check(late(2_000_001, 4_000_000), &[Flag::GeneratorLimited]);
        check(late(2_000_000, 4_000_000), &[]);
        check(late(1_000_001, 1_500_000), &[Flag::GeneratorLimited]);
        // A wake-up as long as the transport takes is shown, not flagged.
        check(late(1_000_000, 1_500_000), &[]);
        check(late(150_000, 200_000), &[]);
    }

    #[test]
    fn a_generator_must_be_able_to_do_twice_the_load() {
        let (trial, raw, load) = fine();
        assert_eq!(
            flags(&trial, &raw, &load, 1.0, 1999.0, Guarantee::Durable, true),
            [Flag::GeneratorLimited]
        );
        assert_eq!(flags(&trial, &raw, &load, 1.0, 2000.0, Guarantee::Durable, true), []);
    }

    #[test]
    fn halves_that_differ_are_unsteady() {
        // The first half is cut until it differs by more than a fifth of the mean.
        let cut = |to: u64| {
            move |_: &mut Trial, raw: &mut Raw, _: &mut Load| {
                raw.series[4..14].iter_mut().for_each(|interval| interval.received = to);
            }
        };
        check(cut(41), &[]);
        check(cut(40), &[Flag::Unsteady]);
        // Warm-up does not count.
        check(|_, raw, _| raw.series[0].received = 0, &[]);
    }

    #[test]
    fn a_lost_confirmed_message_breaks_the_promise_of_those_who_made_it() {
        check(|trial, _, _| trial.counts.confirmed_lost = 1, &[Flag::BrokenPromise]);
        check(|trial, _, _| trial.counts.unaccounted = 1, &[]);
        // It comes first, whatever else is wrong.
        let noisy = |trial: &mut Trial, _: &mut Raw, _: &mut Load| {
            (trial.counts.confirmed_lost, trial.noise.foreign_cpu) = (1, 0.5);
        };
        check(noisy, &[Flag::BrokenPromise, Flag::NoisyMachine]);
        let (mut trial, raw, load) = fine();
        trial.counts.confirmed_lost = 1;
        assert_eq!(flags(&trial, &raw, &load, 1.0, 1e7, Guarantee::AtMostOnce, true), []);
    }

    #[test]
    fn a_harness_that_takes_the_cpu_is_what_was_measured() {
        let flat_out = |share| {
            move |trial: &mut Trial, _: &mut Raw, load: &mut Load| {
                (trial.harness_cpu, *load) = (Some(share), Load::max());
            }
        };
        check(flat_out(0.21), &[Flag::HarnessCpu]);
        check(flat_out(0.2), &[]);
        check(|trial, _, _| trial.harness_cpu = Some(0.9), &[]);
    }

    #[test]
    fn messages_that_were_sent_before_the_measured_time_are_said() {
        let flat_out = |sent: u64, received: u64| {
            move |trial: &mut Trial, _: &mut Raw, load: &mut Load| {
                trial.lag_ns.count = sent;
                // Of 1,200 messages as many were received, or each by two.
                trial.counts.received = received;
                trial.throughput_per_s = 1000.0 * received as f64 / 1200.0;
                *load = Load::max();
            }
        };
        check(flat_out(500, 1200), &[]);
        check(flat_out(499, 1200), &[Flag::SentBefore]);
        check(flat_out(0, 1200), &[Flag::SentBefore]);
        check(flat_out(500, 2400), &[]);
        check(flat_out(499, 2400), &[Flag::SentBefore]);
        // At a rate, what is late is said by the lag.
        check(|trial, _, _| trial.lag_ns.count = 0, &[]);
        // A baseline notes no times of its own.
        let (mut trial, mut raw, mut load) = fine();
        flat_out(0, 1200)(&mut trial, &mut raw, &mut load);
        assert_eq!(flags(&trial, &raw, &load, 1.0, 1e7, Guarantee::AtMostOnce, false), []);
    }

    #[test]
    fn too_few_samples_and_negative_latencies_are_said() {
        check(|trial, _, _| trial.response_ns.p99 = None, &[Flag::TooFewSamples]);
        check(|trial, _, _| trial.counts.negative = 1, &[Flag::NegativeLatency]);
    }

    #[test]
    fn noise_counts_where_it_can_matter() {
        check(|trial, _, _| trial.noise.foreign_cpu = 0.11, &[Flag::NoisyMachine]);
        check(|trial, _, _| trial.noise.steal = 0.03, &[Flag::NoisyMachine]);
        check(|trial, _, _| trial.noise.oversleep_p99_ns = OVERSLEEP + 1, &[Flag::NoisyMachine]);
        // Flat out, the load itself keeps the CPUs from an idle thread.
        let busy = |trial: &mut Trial, _: &mut Raw, load: &mut Load| {
            trial.noise.oversleep_p99_ns = OVERSLEEP + 1;
            *load = Load::max();
        };
        check(busy, &[]);
    }
}
