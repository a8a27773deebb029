//! Histograms of times: create, encode as text, and read percentiles.

use std::io::Read as _;

use anyhow::{Context as _, Result, ensure};
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use flate2::read::ZlibDecoder;
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
    ensure!(
        text.len() as u64 <= 2 * LARGEST,
        "a histogram is refused: its text has {} bytes, and at most {} are read",
        text.len(),
        2 * LARGEST
    );
    let packed = STANDARD.decode(text).context("a histogram is not valid base64")?;
    let plain = unpack(&packed).context("a histogram is damaged")?;
    // So many zeros that their number has no opposite: the crate would panic. Nine such bytes in a
    // row are this number, and nothing that a histogram of counts holds.
    let endless = plain[HEAD.min(plain.len())..].windows(9).any(|bytes| bytes == [0xff; 9]);
    ensure!(!endless, "a histogram is damaged: it has a count that cannot be");
    Deserializer::new()
        .deserialize(&mut plain.as_slice())
        .map_err(|error| anyhow::anyhow!("a histogram is damaged: {error:?}"))
}

/// The cookies that the two formats begin with.
const PLAIN: [u8; 4] = 0x1c84_9313_u32.to_be_bytes();
const DEFLATED: [u8; 4] = 0x1c84_9314_u32.to_be_bytes();
/// Bytes before the counts: cookie, length, offset, digits, lowest, highest, ratio.
const HEAD: usize = 40;
/// The largest histogram of three digits, unpacked: 9 bytes for each of 56,000 counts.
const LARGEST: u64 = 512 << 10;

/// A histogram in the plain format, its head checked. Histograms come out of files that anybody
/// may have made, and the crate believes their heads: it would take 4 GB for a length of 4 GB.
fn unpack(packed: &[u8]) -> Result<Vec<u8>> {
    let mut plain = Vec::new();
    if let Some(rest) = packed.strip_prefix(&DEFLATED) {
        let deflated = rest.get(4..).context("it is cut short")?;
        ZlibDecoder::new(deflated).take(LARGEST + 1).read_to_end(&mut plain)?;
        ensure!(plain.len() as u64 <= LARGEST, "it unpacks to more than {LARGEST} bytes");
    } else {
        plain.extend_from_slice(packed);
    }
    let number = |at: usize| -> Option<u32> { Some(u32::from_be_bytes(*plain.get(at..)?.first_chunk()?)) };
    ensure!(plain.starts_with(&PLAIN) && plain.len() >= HEAD, "it is not in HdrHistogram's V2 format");
    ensure!(number(4).is_some_and(|length| length as usize == plain.len() - HEAD), "its length is wrong");
    ensure!(number(12).is_some_and(|digits| digits <= 3), "it has more than 3 significant digits");
    Ok(plain)
}

#[cfg(test)]
mod tests {
    use super::*;
    use hdrhistogram::serialization::V2Serializer;

    #[test]
    fn fuzz_histograms() {
        let mut histogram = new_histogram();
        [1, 17, 18, 1_000_000, LONGEST_NS].iter().for_each(|value| histogram.saturating_record(*value));
        let (mut plain, mut deflated) = (Vec::new(), Vec::new());
        V2Serializer::new().serialize(&histogram, &mut plain).expect("memory");
        V2DeflateSerializer::new().serialize(&histogram, &mut deflated).expect("memory");
        assert!(plain.starts_with(&PLAIN) && deflated.starts_with(&DEFLATED));
        // A histogram holds its counts, up to 450 kB; two are made here, and packed.
        fuzz::Target::new("histograms").seed(&plain).seed(&deflated).memory(4 << 20).run(|input| {
            let Ok(read) = decode(&STANDARD.encode(input)) else { return false };
            let figures = percentiles(&read);
            let again = decode(&encode(&read).expect("memory")).expect("a histogram");
            assert_eq!(percentiles(&again).count, figures.count);
            let mut sum = new_histogram();
            let _ = sum.add(&read);
            true
        });
    }
}
