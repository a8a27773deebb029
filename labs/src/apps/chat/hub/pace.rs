//! How fast a browser may send, whatever it sends.

/// Frames that a browser may send between two ticks.
const PER_TICK: usize = 20;
/// A browser that sends so many between two ticks is disconnected, and so is one that is too
/// fast in so many ticks, one after the other.
const TOO_MANY: usize = 200;
const TICKS_TOO_FAST: usize = 10;

/// What happens to a frame.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(in crate::apps::chat) enum Verdict {
    /// It is handled.
    Fine,
    /// It is refused: there were too many before it.
    TooFast,
    /// The browser was told so, and goes on: it is disconnected.
    Leave,
}

/// What a browser has sent lately.
#[derive(Default)]
pub(super) struct Pace {
    /// Frames since the last tick.
    frames: usize,
    /// Ticks without a break in which there were too many.
    ticks_too_fast: usize,
}

impl Pace {
    pub(super) fn frame(&mut self) -> Verdict {
        self.frames += 1;
        match self.frames {
            0..=PER_TICK => Verdict::Fine,
            TOO_MANY.. => Verdict::Leave,
            _ if self.ticks_too_fast >= TICKS_TOO_FAST => Verdict::Leave,
            _ => Verdict::TooFast,
        }
    }

    /// Twice a second.
    pub(super) fn tick(&mut self) {
        let too_fast = std::mem::take(&mut self.frames) > PER_TICK;
        self.ticks_too_fast = if too_fast { self.ticks_too_fast + 1 } else { 0 };
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_browser_that_goes_on_is_disconnected() {
        let mut pace = Pace::default();
        let sent = |pace: &mut Pace, count: usize| (0..count).map(|_| pace.frame()).last();
        assert_eq!(sent(&mut pace, PER_TICK), Some(Verdict::Fine));
        assert_eq!(sent(&mut pace, 1), Some(Verdict::TooFast));
        assert_eq!(sent(&mut pace, TOO_MANY), Some(Verdict::Leave), "too many at once");
        let mut pace = Pace::default();
        for _ in 0..TICKS_TOO_FAST {
            assert_eq!(sent(&mut pace, PER_TICK + 1), Some(Verdict::TooFast));
            pace.tick();
        }
        assert_eq!(sent(&mut pace, PER_TICK + 1), Some(Verdict::Leave), "for too long");
        pace.tick();
        pace.tick();
        assert_eq!(sent(&mut pace, PER_TICK + 1), Some(Verdict::TooFast), "a pause makes it good");
    }
}
