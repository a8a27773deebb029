//! What is done to a broker while a trial runs. For now one thing: it stands
//! still for a while, as a broker does that writes a snapshot, collects garbage
//! or waits for its disk.

use anyhow::{Context as _, Result, ensure};
use rustix::process::Signal;

use crate::measure::clock::{self, Pacer};
use crate::process;
use crate::results::{Pause, Paused};
use crate::units;

/// Reads `AT:FOR`, both in seconds, as in `1:0.3`.
///
/// # Errors
/// When it is something else; the text is named.
pub fn parse(text: &str) -> Result<Pause> {
    let parts = text.split_once(':');
    let parsed =
        parts.and_then(|(at, length)| Some((units::seconds(at).ok()?, units::seconds(length).ok()?)));
    let (at_s, for_s) =
        parsed.with_context(|| format!("`{text}` is not AT:FOR in seconds, as in `--pause-broker 1:0.3`"))?;
    Ok(Pause { at_s, for_s })
}

/// A pause must lie within the measured time, so that all it did is measured.
///
/// # Errors
/// When it does not; the values are named.
pub fn check(pause: &Pause, seconds: f64) -> Result<()> {
    let Pause { at_s, for_s } = *pause;
    ensure!(
        at_s >= 0.0 && for_s > 0.0 && at_s + for_s <= seconds,
        "the broker cannot stand still for {for_s} s from {at_s} s on: that must lie within the {seconds} s measured"
    );
    Ok(())
}

/// When a trial began, ns of the clock.
#[derive(Debug, Clone, Copy)]
pub struct Begin {
    /// The common start.
    pub start: u64,
    /// The measured time.
    pub from: u64,
}

/// Stops the process trees of `roots` when it is time, lets them go on when it
/// is over, and tells when both happened. Without a pause it waits for ever.
/// Dropped in between, for whatever reason, it lets them go on at once.
///
/// # Errors
/// When there are no processes of our own to stop.
pub async fn pause(pause: Option<Pause>, roots: Option<Vec<u32>>, begin: Begin) -> Result<Paused> {
    let Some(pause) = pause else { return std::future::pending().await };
    let roots =
        roots.context("there is no private broker that could stand still; leave out --url and --pause-broker, or take a lab over a broker")?;
    let pacer = Pacer::new()?;
    let at = begin.from + clock::seconds(pause.at_s);
    pacer.sleep_until(at).await?;
    let still = Still::new(roots);
    let began = clock::now();
    pacer.sleep_until(began + clock::seconds(pause.for_s)).await?;
    // Read before the signals are sent: in between, nothing can have moved.
    let ended = clock::now();
    drop(still);
    let since = |time: u64| time.saturating_sub(begin.start);
    Ok(Paused { asked_ns: since(at), began_ns: since(began), ended_ns: since(ended) })
}

/// Process trees that stand still for as long as this lives.
struct Still(Vec<u32>);

impl Still {
    fn new(roots: Vec<u32>) -> Self {
        let still = Self(roots);
        still.signal(Signal::STOP);
        still
    }

    fn signal(&self, signal: Signal) {
        for pid in process::tree(&self.0) {
            process::signal(pid, signal);
        }
    }
}

impl Drop for Still {
    fn drop(&mut self) {
        self.signal(Signal::CONT);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::process::{Child, Command};

    fn state(child: &Child) -> char {
        let process = procfs::process::Process::new(child.id() as i32).expect("it is there");
        process.stat().expect("it has a state").state
    }

    fn until(child: &Child, wanted: impl Fn(char) -> bool) {
        let deadline = std::time::Instant::now() + std::time::Duration::from_secs(60);
        while !wanted(state(child)) {
            assert!(std::time::Instant::now() < deadline, "it stays in state {}", state(child));
            std::thread::yield_now();
        }
    }

    #[tokio::test(flavor = "current_thread")]
    async fn what_stands_still_goes_on_in_the_end_and_when_nobody_waits_any_more() {
        let mut child = Command::new("sleep").arg("600").spawn().expect("a process");
        let roots = || Some(vec![child.id()]);
        let now = clock::now();
        let begin = Begin { start: now, from: now };
        let short = Pause { at_s: 0.0, for_s: 0.02 };
        let paused = pause(Some(short), roots(), begin).await.expect("it can be stopped");
        assert!(paused.began_ns >= paused.asked_ns && paused.ended_ns >= paused.began_ns + 10_000_000);
        until(&child, |state| state != 'T');
        // An hour, which ends when the future is dropped.
        {
            let mut long = std::pin::pin!(pause(Some(Pause { at_s: 0.0, for_s: 3600.0 }), roots(), begin));
            let early = tokio::time::timeout(std::time::Duration::from_millis(20), &mut long).await;
            assert!(early.is_err());
            until(&child, |state| state == 'T');
        }
        until(&child, |state| state != 'T');
        child.kill().expect("it can be ended");
        child.wait().expect("it has ended");
    }

    #[tokio::test(flavor = "current_thread")]
    async fn what_is_not_ours_is_not_stopped() {
        let begin = Begin { start: 0, from: 0 };
        let refused = pause(Some(Pause { at_s: 0.0, for_s: 1.0 }), None, begin).await;
        assert!(refused.expect_err("refused").to_string().contains("no private broker"));
    }

    #[test]
    fn a_pause_is_read_or_refused_by_value() {
        assert_eq!(parse("7:1").expect("a pause"), Pause { at_s: 7.0, for_s: 1.0 });
        for bad in ["7", "a:1", "", "1:2:3"] {
            assert!(parse(bad).expect_err("refused").to_string().contains(&format!("`{bad}`")));
        }
        assert!(check(&Pause { at_s: 1.0, for_s: 1.0 }, 2.0).is_ok());
        for (at_s, for_s) in [(-1.0, 1.0), (1.0, 0.0), (1.5, 1.0), (f64::NAN, 1.0)] {
            assert!(check(&Pause { at_s, for_s }, 2.0).is_err(), "{at_s}:{for_s}");
        }
    }
}
