//! The key space: the words over an alphabet, and their numbers.
//!
//! Words are numbered by length, then by the alphabet's order: over `abc` 0 is
//! `a`, 2 is `c`, 3 is `aa`, 12 is `aaa`. This is bijective numeration: reading a
//! number needs no maximum length, so two numbers are enough to name a range of
//! words in a task.

use std::fmt;
use std::str::FromStr;

use anyhow::{Context as _, Result, bail, ensure};
use sha1::{Digest as _, Sha1};

/// Length of the longest word. It bounds the memory that a foreign task can make a worker use.
pub const LONGEST: u32 = 64;

/// The letters of words, each once, in their order.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Alphabet(Vec<u8>);

impl Alphabet {
    /// The alphabet of exactly these letters, as in a task. Visible ASCII, because the
    /// fields of a task are separated by spaces.
    pub fn of(letters: &str) -> Result<Self> {
        ensure!(!letters.is_empty(), "an alphabet needs at least one letter");
        let mut seen = [false; 128];
        for letter in letters.chars() {
            check(letter)?;
            let again = std::mem::replace(&mut seen[letter as usize], true);
            ensure!(!again, "`{letter}` is in the alphabet twice");
        }
        Ok(Self(letters.as_bytes().to_vec()))
    }

    /// Number of letters.
    fn size(&self) -> u64 {
        self.0.len() as u64
    }

    /// Number of words of 1 to `longest` letters; `None` if it does not fit into 64 bits.
    pub fn words(&self, longest: u32) -> Option<u64> {
        let (mut all, mut of_length) = (0_u64, 1_u64);
        for _ in 0..longest {
            of_length = of_length.checked_mul(self.size())?;
            all = all.checked_add(of_length)?;
        }
        Some(all)
    }

    /// The word with this number.
    pub fn word(&self, number: u64) -> String {
        self.digits(number).into_iter().map(|digit| char::from(self.0[digit])).collect()
    }

    fn digits(&self, number: u64) -> Vec<usize> {
        // One more than the number would not fit for the last number of all.
        let mut digits = vec![(number % self.size()) as usize];
        let mut rest = number / self.size();
        while rest > 0 {
            rest -= 1;
            digits.push((rest % self.size()) as usize);
            rest /= self.size();
        }
        digits.reverse();
        digits
    }

    /// The number of a word; `None` if it has other letters or its number does not fit.
    pub fn number(&self, word: &str) -> Option<u64> {
        let mut number: Option<u64> = None;
        for letter in word.bytes() {
            let digit = self.0.iter().position(|own| *own == letter)? as u64;
            number = Some(match number {
                None => digit,
                Some(before) => before.checked_add(1)?.checked_mul(self.size())?.checked_add(digit)?,
            });
        }
        number
    }

    /// Walks over the words from this number on.
    pub fn walk(&self, from: u64) -> Walk<'_> {
        let digits = self.digits(from);
        Walk { letters: &self.0, word: digits.iter().map(|&digit| self.0[digit]).collect(), digits }
    }
}

/// The form that users type: `a-z0-9` stands for 36 letters. A `-` at either end is a letter.
fn check(letter: char) -> Result<()> {
    ensure!(
        letter.is_ascii_graphic(),
        "`{}` cannot be in an alphabet; letters, digits and signs of ASCII can, except for the space",
        letter.escape_default()
    );
    Ok(())
}

impl FromStr for Alphabet {
    type Err = anyhow::Error;

    fn from_str(text: &str) -> Result<Self> {
        let chars: Vec<char> = text.chars().collect();
        let (mut letters, mut at) = (String::new(), 0);
        while at < chars.len() {
            let first = chars[at];
            match chars.get(at + 1..at + 3) {
                Some(&['-', last]) => {
                    ensure!(
                        first < last,
                        "the range `{first}-{last}` runs backwards; write `{last}-{first}`"
                    );
                    // Before it is written out: a range may end far outside of ASCII.
                    check(last)?;
                    letters.extend(first..=last);
                    at += 3;
                }
                _ => {
                    letters.push(first);
                    at += 1;
                }
            }
        }
        Self::of(&letters)
    }
}

impl fmt::Display for Alphabet {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.iter().try_for_each(|&letter| fmt::Write::write_char(f, char::from(letter)))
    }
}

/// A SHA-1 hash: 20 bytes, written as 40 hexadecimal digits.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Hash([u8; 20]);

impl Hash {
    /// The hash of a word.
    pub fn of(word: &str) -> Self {
        Self(Sha1::digest(word).into())
    }
}

impl FromStr for Hash {
    type Err = anyhow::Error;

    fn from_str(text: &str) -> Result<Self> {
        let bad = || {
            format!(
                "`{text}` is not a SHA-1 hash: it takes 40 hexadecimal digits, as `printf WORD | sha1sum` prints them"
            )
        };
        if text.len() != 40 || !text.bytes().all(|byte| byte.is_ascii_hexdigit()) {
            bail!(bad());
        }
        let mut hash = [0; 20];
        for (at, byte) in hash.iter_mut().enumerate() {
            *byte = u8::from_str_radix(&text[2 * at..2 * at + 2], 16).with_context(bad)?;
        }
        Ok(Self(hash))
    }
}

impl fmt::Display for Hash {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.iter().try_for_each(|byte| write!(f, "{byte:02x}"))
    }
}

/// Steps from word to word like an odometer: most steps change one letter.
pub struct Walk<'a> {
    letters: &'a [u8],
    digits: Vec<usize>,
    word: Vec<u8>,
}

impl Walk<'_> {
    /// Tries the next `count` words; returns the word that has this hash, if it is one of them.
    pub fn search(&mut self, hash: &Hash, count: u64) -> Option<String> {
        for _ in 0..count {
            if Sha1::digest(&self.word)[..] == hash.0 {
                return String::from_utf8(self.word.clone()).ok();
            }
            self.step();
        }
        None
    }

    fn step(&mut self) {
        for (digit, letter) in self.digits.iter_mut().zip(&mut self.word).rev() {
            if *digit + 1 < self.letters.len() {
                *digit += 1;
                *letter = self.letters[*digit];
                return;
            }
            (*digit, *letter) = (0, self.letters[0]);
        }
        // All were at the last letter: one letter more, all the first one.
        self.digits.push(0);
        self.word.push(self.letters[0]);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn words_are_numbered_by_length_then_by_the_alphabet() {
        let abc = Alphabet::of("abc").expect("an alphabet");
        for (number, word) in [(0, "a"), (2, "c"), (3, "aa"), (11, "cc"), (12, "aaa"), (38, "ccc")] {
            assert_eq!(abc.word(number), word);
            assert_eq!(abc.number(word), Some(number));
        }
        assert_eq!(abc.words(3), Some(39));
        assert_eq!(abc.number(""), None);
        assert_eq!(abc.number("abd"), None);
        assert_eq!(Alphabet::of("a").expect("an alphabet").word(4), "aaaaa");
    }

    #[test]
    fn numbers_beyond_64_bits_are_refused() {
        let letters = Alphabet::of("abcdefghijklmnopqrstuvwxyz").expect("an alphabet");
        assert!(letters.words(13).is_some());
        assert_eq!(letters.words(14), None);
        assert_eq!(letters.number(&"z".repeat(14)), None);
    }

    #[test]
    fn alphabets_as_users_type_them() {
        for (text, letters) in
            [("a-e", "abcde"), ("a-c0-2", "abc012"), ("-a", "-a"), ("a-", "a-"), ("+-.", "+,-.")]
        {
            assert_eq!(text.parse::<Alphabet>().expect(text).to_string(), letters);
        }
        for bad in ["", "aa", "a-cb", "c-a", "a b", "ä", "a\u{7}"] {
            assert!(bad.parse::<Alphabet>().is_err(), "`{bad}` was taken");
        }
    }

    #[test]
    fn hashes_are_those_of_sha1sum() {
        let hello = "aaf4c61ddcc5e8a2dabede0f3b482cd9aea9434d";
        assert_eq!(Hash::of("hello").to_string(), hello);
        assert_eq!(hello.to_uppercase().parse::<Hash>().expect("a hash"), Hash::of("hello"));
        for bad in ["", "aaf4", &hello[1..], &hello.replace('a', "g"), "ääääääääääääääääääää"]
        {
            assert!(bad.parse::<Hash>().is_err(), "`{bad}` was taken");
        }
    }

    fn an_alphabet() -> impl Strategy<Value = Alphabet> {
        proptest::sample::subsequence(('!'..='~').collect::<Vec<_>>(), 1..=94)
            .prop_shuffle()
            .prop_map(|letters| Alphabet::of(&letters.into_iter().collect::<String>()).expect("an alphabet"))
    }

    proptest! {
        #[test]
        fn every_number_has_one_word(alphabet in an_alphabet(), number: u64) {
            // One letter makes words as long as their number.
            let number = number % alphabet.words(LONGEST).unwrap_or(u64::MAX);
            prop_assert_eq!(alphabet.number(&alphabet.word(number)), Some(number));
        }

        #[test]
        fn walking_is_counting(alphabet in an_alphabet(), from in 0_u64..100_000, steps in 1_u64..300) {
            let from = from % alphabet.words(LONGEST).unwrap_or(u64::MAX);
            let mut walk = alphabet.walk(from);
            (0..steps).for_each(|_| walk.step());
            let there = String::from_utf8(walk.word.clone()).expect("text");
            prop_assert_eq!(alphabet.number(&there), Some(from + steps));
        }

        #[test]
        fn a_search_finds_the_word_in_its_range(from in 0_u64..5000, count in 1_u64..300, at in 0_u64..400) {
            let alphabet = Alphabet::of("qwerty").expect("an alphabet");
            let word = alphabet.word(from + at);
            let found = alphabet.walk(from).search(&Hash::of(&word), count);
            prop_assert_eq!(found, (at < count).then_some(word));
        }
    }

    #[test]
    fn fuzz_alphabets() {
        let seeds = ["a-z0-9", "-abc", "!-~", "a9993e364706816aba3e25717850c26c9cd0d89d"];
        fuzz::Target::new("alphabets").seeds(seeds).run(|input| {
            let text = String::from_utf8_lossy(input);
            let hash = text.parse::<Hash>();
            if let Ok(hash) = &hash {
                assert_eq!(hash.to_string(), text.to_lowercase());
            }
            let Ok(alphabet) = text.parse::<Alphabet>() else { return hash.is_ok() };
            assert_eq!(Alphabet::of(&alphabet.to_string()).expect("an alphabet"), alphabet);
            let words = alphabet.words(LONGEST).unwrap_or(u64::MAX);
            for number in [0, 63, 1_000_000, u64::MAX - 1].into_iter().filter(|number| *number < words) {
                assert_eq!(alphabet.number(&alphabet.word(number)), Some(number));
            }
            true
        });
    }
}
