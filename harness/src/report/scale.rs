//! Scales: map values to pixels, and choose the ticks.

/// A linear or logarithmic axis.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Scale {
    values: (f64, f64),
    pixels: (f64, f64),
    log: bool,
}

impl Scale {
    /// From zero to a round number above `most`.
    pub(crate) fn linear(most: f64, pixels: (f64, f64)) -> Self {
        let most = if most > 0.0 { most } else { 1.0 };
        let step = step(most);
        Self { values: (0.0, (most / step).ceil() * step), pixels, log: false }
    }

    /// A plain linear axis between two values.
    pub(crate) fn between(values: (f64, f64), pixels: (f64, f64)) -> Self {
        let end = if values.1 > values.0 { values.1 } else { values.0 + 1.0 };
        Self { values: (values.0, end), pixels, log: false }
    }

    /// Logarithmic, over whole thirds of decades (1, 2, 5 …), around the positive `values`.
    pub(crate) fn log(values: impl Iterator<Item = f64>, pixels: (f64, f64)) -> Self {
        let (mut least, mut most) = (f64::MAX, f64::MIN);
        for value in values.filter(|value| *value > 0.0) {
            (least, most) = (least.min(value), most.max(value));
        }
        if least > most {
            (least, most) = (1.1, 10.0);
        }
        // A little room, so that the least does not lie on the edge.
        let least = least / 1.1;
        let low = marks(least).filter(|mark| *mark <= least * 1.000_1).last().unwrap_or(least);
        let high = marks(most).find(|mark| *mark >= most * 0.999_9).unwrap_or(most);
        // Less than a decade would exaggerate differences.
        let high = if high / low < 10.0 { low * 10.0 } else { high };
        Self { values: (low, high), pixels, log: true }
    }

    /// Whether it is logarithmic.
    pub(crate) const fn is_log(&self) -> bool {
        self.log
    }

    /// The pixel of a value; a value outside is drawn at the edge.
    pub(crate) fn at(&self, value: f64) -> f64 {
        let (low, high) = self.values;
        let value = value.clamp(low, high);
        let share =
            if self.log { (value / low).ln() / (high / low).ln() } else { (value - low) / (high - low) };
        self.pixels.0 + share * (self.pixels.1 - self.pixels.0)
    }

    /// The values that get a line and a label: round ones, at most about ten.
    pub(crate) fn ticks(&self) -> Vec<f64> {
        let (low, high) = self.values;
        if !self.log {
            let step = step(high - low);
            let first = (low / step).ceil() as u64;
            return (first..).map(|n| n as f64 * step).take_while(|tick| *tick <= high * 1.000_1).collect();
        }
        let mut ticks: Vec<f64> = (0..)
            .flat_map(|n| marks(low * 10_f64.powi(n)).take(3)) // the next decade brings its own first
            .take_while(|tick| *tick <= high * 1.000_1)
            .filter(|tick| *tick >= low * 0.999_9)
            .collect();
        if ticks.len() > 7 {
            ticks.retain(|tick| (tick.log10() - tick.log10().round()).abs() < 1e-6);
        }
        ticks
    }
}

/// 1, 2, 5 and 10 times the power of ten at or below `value`.
fn marks(value: f64) -> impl Iterator<Item = f64> {
    let decade = 10_f64.powf((value.log10() + 1e-9).floor());
    [1.0, 2.0, 5.0, 10.0].into_iter().map(move |factor| factor * decade)
}

/// A round step that divides `span` into four to eight.
fn step(span: f64) -> f64 {
    let rough = span / 5.0;
    let decade = 10_f64.powf(rough.log10().floor());
    match rough / decade {
        f if f < 1.5 => decade,
        f if f < 3.5 => 2.0 * decade,
        f if f < 7.5 => 5.0 * decade,
        _ => 10.0 * decade,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ticks_are_round_and_not_repeated() {
        assert_eq!(Scale::linear(9.1e6, (0.0, 1.0)).ticks(), [0.0, 2e6, 4e6, 6e6, 8e6, 1e7]);
        assert_eq!(Scale::linear(0.0, (0.0, 1.0)).ticks().first(), Some(&0.0));
        let wide = Scale::log([4e4, 9e6].into_iter(), (0.0, 1.0));
        let rounded =
            |scale: &Scale| -> Vec<u64> { scale.ticks().iter().map(|t| t.round() as u64).collect() };
        assert_eq!(rounded(&wide), [100_000, 1_000_000, 10_000_000]);
        let narrow = Scale::log([12.0, 60.0].into_iter(), (0.0, 1.0));
        assert_eq!(rounded(&narrow), [10, 20, 50, 100]);
        assert_eq!(rounded(&Scale::log(std::iter::empty(), (0.0, 1.0))), [1, 2, 5, 10]);
    }

    #[test]
    fn values_map_to_pixels_and_stay_inside() {
        let scale = Scale::log([1.2, 100.0].into_iter(), (0.0, 200.0));
        assert!((scale.at(10.0) - 100.0).abs() < 1e-6);
        assert_eq!((scale.at(0.0), scale.at(1e9)), (0.0, 200.0));
    }
}
