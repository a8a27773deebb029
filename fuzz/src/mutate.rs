//! Makes inputs out of valid ones: a valid input is changed in a few places, so that most of it
//! still gets past the length fields and the first checks of a parser.
//!
//! This is our own because no library does it on stable Rust. bolero's engine for plain
//! `cargo test` makes inputs of random bytes and does not mutate its corpus; it, cargo-fuzz and
//! AFL mutate only with an instrumented build. proptest and arbitrary generate values of a type.
//! mutatis mutates typed values, and knows nothing of numbers and separators in bytes.

/// Longest input, bytes.
pub(crate) const LONGEST: usize = 16 << 10;

/// Bytes that mean something to many formats.
const BYTES: &[u8] = b"\0\x01\x7f\x80\xff\n\r\t :;,.=/\\\"'{}[]*$#+-_09eE\xc3\xe2\xf0";
/// Numbers at which arithmetic goes wrong, as text.
const DIGITS: [&str; 15] = [
    "0",
    "-1",
    "00",
    "1e308",
    "1e999",
    "0.1",
    "NaN",
    "65536",
    "9999999",
    "2147483647",
    "4294967295",
    "9223372036854775807",
    "9223372036854775808",
    "18446744073709551615",
    "99999999999999999999999",
];
/// The same as bytes, in both orders.
const WORDS: [u64; 8] = [0, 1, 127, 255, 65_536, 1 << 31, i64::MAX as u64, u64::MAX];

/// A generator of numbers (SplitMix64, Steele et al. 2014): any start gives another sequence.
struct Random(u64);

impl Random {
    /// The sequence of this input of this seed.
    fn new(seed: u64, number: u64) -> Self {
        Self(seed ^ number.wrapping_mul(0xd134_2543_de82_ef95))
    }

    fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mixed = (self.0 ^ (self.0 >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        let mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        mixed ^ (mixed >> 31)
    }

    /// A number below this one; 0 below 0.
    fn below(&mut self, limit: usize) -> usize {
        ((u128::from(self.next()) * limit as u128) >> 64) as usize
    }

    fn of<T: Copy>(&mut self, list: &[T]) -> T {
        list[self.below(list.len())]
    }

    /// A part of something so long: where it begins and ends. Mostly a short one.
    fn part(&mut self, length: usize) -> std::ops::Range<usize> {
        let start = self.below(length + 1);
        let most = if self.below(4) == 0 { length } else { 8 };
        start..start + self.below((length - start).min(most) + 1)
    }
}

/// One input of so many is made of one that failed once. Most of those are long, and a parser would
/// spend its time on them.
const OF_KEPT: usize = 32;

/// Makes `input` the input of this number: the same seed, number and corpus make the same one. The
/// first `seeds` of the corpus are inputs that the parser accepts, the others have failed once.
pub(crate) fn fill(input: &mut Vec<u8>, corpus: &[Vec<u8>], seeds: usize, seed: u64, number: u64) {
    let random = &mut Random::new(seed, number);
    let kept = corpus.len() - seeds;
    let of_kept = kept > 0 && (seeds == 0 || random.below(OF_KEPT) == 0);
    let first = if of_kept { seeds + random.below(kept) } else { random.below(seeds) };
    input.clear();
    input.extend_from_slice(&corpus[first]);
    // One change half of the time, two a quarter of the time, and so on.
    for _ in 0..=random.next().trailing_zeros().min(7) {
        change(input, &corpus[random.below(corpus.len())], random);
        input.truncate(LONGEST);
    }
}

fn change(input: &mut Vec<u8>, other: &[u8], random: &mut Random) {
    let at = random.below(input.len() + 1);
    let part = random.part(input.len());
    match random.below(10) {
        0 if at < input.len() => input[at] ^= 1 << random.below(8),
        1 if at < input.len() => input[at] = random.of(BYTES),
        2 => input.insert(at, random.of(BYTES)),
        3 => input.truncate(at),
        4 => drop(input.drain(part)),
        5 => {
            let most = random.of(&[2, 2, 2, 256]);
            let again = input[part.clone()].repeat(1 + random.below(most));
            input.splice(part.end..part.end, again);
        }
        // The beginning of one input, the end of another; or a part of another inside.
        6 => {
            input.truncate(at);
            input.extend_from_slice(&other[random.below(other.len() + 1)..]);
        }
        7 => drop(input.splice(part, other[random.part(other.len())].iter().copied())),
        8 => {
            let word = random.of(&WORDS).wrapping_add(random.below(3) as u64).wrapping_sub(1);
            let (big, little) = (word.to_be_bytes(), word.to_le_bytes());
            let width = random.of(&[1, 2, 4, 8]);
            let bytes = if random.below(2) == 0 { &big[8 - width..] } else { &little[..width] };
            input.splice(at..(at + width).min(input.len()), bytes.iter().copied());
        }
        _ => {
            // The number in digits that begins here or behind, if there is one.
            let start = (at..input.len()).find(|&at| input[at].is_ascii_digit()).unwrap_or(at);
            let length = input[start..].iter().take_while(|byte| byte.is_ascii_digit()).count();
            let number = random.of(&DIGITS);
            input.splice(start..start + length, number.bytes());
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn inputs(seed: u64) -> Vec<Vec<u8>> {
        let corpus = [b"*2\r\n$4\r\nBODY\r\n:17\r\n".to_vec(), b"joined worker-1".to_vec(), Vec::new()];
        let mut input = Vec::new();
        let make = |number| {
            fill(&mut input, &corpus, 3, seed, number);
            input.clone()
        };
        (0..20_000).map(make).collect()
    }

    #[test]
    fn an_input_that_failed_once_is_changed_rarely() {
        let corpus = [b"a".to_vec(), vec![0; 100]];
        let mut input = Vec::new();
        let mut long = |seeds| {
            let is_long = |number: &u64| {
                fill(&mut input, &corpus, seeds, 1, *number);
                input.iter().filter(|byte| **byte == 0).count() > 40
            };
            (0..3_200).filter(is_long).count()
        };
        assert!(long(1) < long(2) / 3);
        assert!(long(2) > 800);
        // Where nothing is accepted, there are only those.
        assert!(long(0) > 800);
    }

    #[test]
    fn the_same_seed_makes_the_same_inputs() {
        assert_eq!(inputs(1), inputs(1));
        assert_ne!(inputs(1), inputs(2));
    }

    #[test]
    fn each_kind_of_change_is_made() {
        let inputs = inputs(3);
        for wanted in [
            &b"*2\r\n$4\r\nBODY\r\n:18446744073709551615\r\n"[..], // a number replaced
            b"*2\r\n$4\r\n",                                       // cut
            b"*2\r\nBODY\r\n:17\r\n",                              // something removed
            b"*2\r\n$4\r\nBODY\r\n:17\r\n:17\r\n",                 // repeated
            b"joined worker-1\n",                                  // a byte inserted
            b"joined worker-3",                                    // a bit flipped
            b"",
        ] {
            assert!(inputs.iter().any(|input| input == wanted), "{}", wanted.escape_ascii());
        }
        let spliced = |input: &Vec<u8>| input.starts_with(b"join") && input.ends_with(b"17\r\n");
        assert!(inputs.iter().any(spliced));
        let number =
            |input: &Vec<u8>| input.starts_with(b"join") && input.windows(4).any(|word| word == [0xff; 4]);
        assert!(inputs.iter().any(number));
        assert!(inputs.iter().all(|input| input.len() <= LONGEST));
        assert!(inputs.iter().any(|input| input.len() > 500), "some are long");
    }
}
