//! Histograms of times: create, encode as text, and read percentiles.

use anyhow::{Context as _, Result};
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use hdrhistogram::Histogram;
use hdrhistogram::serialization::{Deserializer, Serializer as _, V2DeflateSerializer};

use crate::results::Percentiles;

/// The longest time that a histogram can record, ns: one hour.
pub const LONGEST_NS: u64 = 3_600_000_000_000;

/// A histogram of times from 1 ns to [`LONGEST_NS`], to 3 significant digits.
///
/// Its size is fixed (about 270 kB), so that recording never allocates; record
/// with `saturating_record`, which counts a longer time as the longest one.
#[expect(clippy::expect_used, reason = "the bounds are constants, and a test makes one")]
pub fn new_histogram() -> Histogram<u64> {
    Histogram::new_with_bounds(1, LONGEST_NS, 3).expect("constant bounds are valid")
}

/// The percentiles of a histogram of nanoseconds, each within 0.1 %.
///
/// pX is withheld (`None`) with fewer than 10/(1-X) samples, which leaves at
/// least ten beyond it: 20 for the median, 100, 1,000 and 10,000 for the 90th,
/// 99th and 99.9th. The maximum needs one.
pub fn percentiles(histogram: &Histogram<u64>) -> Percentiles {
    let count = histogram.len();
    let at = |quantile: f64, needed: u64| (count >= needed).then(|| histogram.value_at_quantile(quantile));
    Percentiles {
        p50: at(0.5, 20),
        p90: at(0.9, 100),
        p99: at(0.99, 1_000),
        p999: at(0.999, 10_000),
        max: (count > 0).then(|| histogram.max()),
        mean: (count > 0).then(|| histogram.mean().round() as u64),
        count,
    }
}

/// A histogram as text: HdrHistogram's V2 format, deflated, base64, as its
/// tools in other languages read it. No samples: empty text.
///
/// # Errors
/// When the histogram cannot be serialized, which only memory can cause.
pub fn encode(histogram: &Histogram<u64>) -> Result<String> {
    if histogram.is_empty() {
        return Ok(String::new());
    }
    let mut packed = Vec::new();
    V2DeflateSerializer::new().serialize(histogram, &mut packed).context("cannot pack a histogram")?;
    Ok(STANDARD.encode(packed))
}

/// The histogram in a text that [`encode`] or another HdrHistogram wrote.
///
/// # Errors
/// When the text is not base64 of a V2 histogram.
pub fn decode(text: &str) -> Result<Histogram<u64>> {
    if text.is_empty() {
        return Ok(new_histogram());
    }
    let packed = STANDARD.decode(text).context("a histogram is not valid base64")?;
    Deserializer::new()
        .deserialize(&mut packed.as_slice())
        .map_err(|error| anyhow::anyhow!("a histogram is damaged: {error:?}"))
}
