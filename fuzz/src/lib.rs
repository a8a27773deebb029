//! Fuzz targets that run under plain `cargo test`: a parser of foreign bytes gets many inputs,
//! each a valid one with a few changes ([`mutate`]).
//!
//! A target is a unit test beside its parser, so that it can reach what is private. `./run test`
//! gives each target its seeds, the inputs in `corpus/`, and some thousand fresh ones; `./run fuzz`
//! gives it ten million, optimised and with checks for overflow. An input fails when the target
//! panics, holds more memory than its bound ([`memory`]), or does not end. It is made smaller and
//! kept in `corpus/TARGET/`, where every later run tries it first.
//!
//! ```no_run
//! fuzz::Target::new("numbers").seed(b"17").run(|input| {
//!     let Some(number) = std::str::from_utf8(input).ok().and_then(|text| text.parse::<u8>().ok()) else {
//!         return false; // refused
//!     };
//!     assert_eq!(number.to_string().parse(), Ok(number), "what is written again is read the same");
//!     true
//! });
//! ```

use std::cell::Cell;
use std::collections::hash_map::DefaultHasher;
use std::fmt::Debug;
use std::fs;
use std::hash::{BuildHasher as _, Hash as _, Hasher as _};
use std::panic::{AssertUnwindSafe, catch_unwind, resume_unwind};
use std::path::PathBuf;
use std::slice::Chunks;
use std::sync::Once;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::mpsc::{Receiver, RecvTimeoutError, channel};
use std::time::{Duration, Instant};

mod memory;
mod mutate;

pub use memory::Heap;

/// Fresh inputs of each target where `FUZZ_INPUTS` does not say how many.
const FEW: u64 = 3_000;
/// A parser that works on one input for so long hangs, also on a busy machine.
const HANGS: Duration = Duration::from_secs(60);
/// Between two lines of progress, and two looks whether it hangs.
const LOOK: Duration = Duration::from_secs(5);

/// One parser, and inputs that it accepts.
pub struct Target {
    name: &'static str,
    seeds: Vec<Vec<u8>>,
    memory: usize,
    cost: u64,
}

impl Target {
    /// A target. Its test is named `fuzz_NAME`.
    pub fn new(name: &'static str) -> Self {
        Self { name, seeds: Vec::new(), memory: 256 << 10, cost: 1 }
    }

    /// Adds an input that the parser accepts.
    pub fn seed(mut self, input: impl AsRef<[u8]>) -> Self {
        self.seeds.push(input.as_ref().to_vec());
        self
    }

    /// Adds inputs that the parser accepts.
    pub fn seeds<T: AsRef<[u8]>>(self, inputs: impl IntoIterator<Item = T>) -> Self {
        inputs.into_iter().fold(self, Self::seed)
    }

    /// Most bytes that are held for one input, beyond 64 for each byte of it. 256 KiB unless said.
    pub fn memory(mut self, bytes: usize) -> Self {
        self.memory = bytes;
        self
    }

    /// Each input takes so many times as long as a parser does: it gets as many times fewer.
    pub fn cost(mut self, times: u64) -> Self {
        self.cost = times;
        self
    }

    /// Gives inputs to `check`, which says whether the parser has accepted each.
    ///
    /// # Panics
    /// When an input fails, or a seed is not accepted.
    pub fn run(self, check: impl Fn(&[u8]) -> bool) {
        let attempt = |input: &[u8]| {
            let (accepted, held) = memory::most_of(|| catch_unwind(AssertUnwindSafe(|| check(input))));
            let most = self.memory + 64 * input.len();
            accepted.and_then(|accepted| {
                catch_unwind(|| assert!(held <= most, "{held} bytes are held, more than {most}"))?;
                Ok(accepted)
            })
        };
        for seed in &self.seeds {
            let accepted = attempt(seed).unwrap_or_else(|panic| self.fail(seed, None, panic));
            assert!(accepted, "{}: the parser refuses the seed {}", self.name, seed.escape_ascii());
        }
        let kept = self.kept();
        for (path, input) in &kept {
            attempt(input).unwrap_or_else(|panic| self.fail(input, Some(path), panic));
        }
        let corpus: Vec<Vec<u8>> =
            self.seeds.iter().cloned().chain(kept.into_iter().map(|(_, input)| input)).collect();
        let number = |name: &str| std::env::var(name).ok().and_then(|text| text.parse().ok());
        let inputs = number("FUZZ_INPUTS").unwrap_or(FEW).div_ceil(self.cost);
        let seed = number("FUZZ_SEED").unwrap_or_else(|| std::hash::RandomState::new().hash_one(self.name));
        let done = AtomicU64::new(0);
        let (alive, ended) = channel::<()>();
        let accepted = std::thread::scope(|scope| {
            scope.spawn(|| self.watch(&corpus, seed, inputs, &done, ended));
            let _alive = alive; // until here is left, also by a panic
            let (mut input, mut accepted) = (Vec::new(), 0);
            for number in 0..inputs {
                mutate::fill(&mut input, &corpus, self.seeds.len(), seed, number);
                match attempt(&input) {
                    Ok(taken) => accepted += u64::from(taken && !corpus.contains(&input)),
                    Err(panic) => {
                        eprintln!("{}: input {number} of FUZZ_SEED={seed} fails", self.name);
                        let small = smaller(input, |input| attempt(input).is_err());
                        self.fail(&small, None, panic)
                    }
                }
                done.store(number + 1, Ordering::Relaxed);
            }
            accepted
        });
        println!("{}: {inputs} inputs, {accepted} of them accepted, FUZZ_SEED={seed}", self.name);
        assert!(accepted > 0 || inputs < FEW, "{}: no changed input gets through the parser", self.name);
    }

    fn folder(&self) -> PathBuf {
        PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("corpus").join(self.name)
    }

    /// The inputs that once failed.
    fn kept(&self) -> Vec<(PathBuf, Vec<u8>)> {
        let files = fs::read_dir(self.folder()).into_iter().flatten().flatten().map(|entry| entry.path());
        let mut kept: Vec<_> = files.filter_map(|path| Some((path.clone(), fs::read(path).ok()?))).collect();
        kept.sort();
        kept
    }

    /// Keeps an input that failed, and says how to try it again.
    fn keep(&self, input: &[u8]) {
        let mut hasher = DefaultHasher::new();
        input.hash(&mut hasher);
        let path = self.folder().join(format!("{:016x}", hasher.finish()));
        match fs::create_dir_all(self.folder()).and_then(|()| fs::write(&path, input)) {
            Ok(()) => eprintln!("{}: the input is kept as {}", self.name, path.display()),
            Err(error) => eprintln!("{}: cannot keep the input as {}: {error}", self.name, path.display()),
        }
        eprintln!("{}: the input is \"{}\"", self.name, input.escape_ascii());
        eprintln!("{}: try it again with `./run fuzz {} --inputs 0`", self.name, self.name);
    }

    fn fail(&self, input: &[u8], kept: Option<&PathBuf>, panic: Box<dyn std::any::Any + Send>) -> ! {
        match kept {
            Some(path) => eprintln!("{}: {} fails: \"{}\"", self.name, path.display(), input.escape_ascii()),
            None => self.keep(input),
        }
        resume_unwind(panic)
    }

    /// Says how far it is, and ends the process when an input is not done with.
    fn watch(&self, corpus: &[Vec<u8>], seed: u64, inputs: u64, done: &AtomicU64, ended: Receiver<()>) {
        let (mut last, mut since) = (0, Instant::now());
        while ended.recv_timeout(LOOK) == Err(RecvTimeoutError::Timeout) {
            let now = done.load(Ordering::Relaxed);
            eprintln!("{}: {now} of {inputs} inputs", self.name);
            if now != last {
                (last, since) = (now, Instant::now());
            } else if since.elapsed() > HANGS && now < inputs {
                let mut input = Vec::new();
                mutate::fill(&mut input, corpus, self.seeds.len(), seed, now);
                eprintln!("{}: input {now} of FUZZ_SEED={seed} is not done with after {HANGS:?}", self.name);
                self.keep(&input);
                std::process::exit(101);
            }
        }
    }
}

/// Asserts that a parser of a stream gives the same for all bytes at once and byte by byte.
pub fn same_in_pieces<T: PartialEq + Debug>(input: &[u8], read: impl Fn(Chunks<'_, u8>) -> T) -> T {
    let at_once = read(input.chunks(input.len().max(1)));
    assert_eq!(at_once, read(input.chunks(1)), "at once, and byte by byte");
    at_once
}

thread_local! {
    static QUIET: Cell<bool> = const { Cell::new(false) };
}

/// The input without whatever it fails without, too.
fn smaller(mut input: Vec<u8>, fails: impl Fn(&[u8]) -> bool) -> Vec<u8> {
    static HOOK: Once = Once::new();
    HOOK.call_once(|| {
        let usual = std::panic::take_hook();
        std::panic::set_hook(Box::new(move |panic| {
            if !QUIET.get() {
                usual(panic);
            }
        }));
    });
    QUIET.set(true);
    let mut width = input.len() / 2;
    while width > 0 {
        let mut at = 0;
        while at < input.len() {
            let end = (at + width).min(input.len());
            let less = [&input[..at], &input[end..]].concat();
            if fails(&less) { input = less } else { at = end }
        }
        width /= 2;
    }
    QUIET.set(false);
    input
}

#[cfg(test)]
mod tests {
    use std::alloc::System;

    use super::*;

    #[global_allocator]
    static HEAP: Heap<System> = Heap(System);

    /// What a target says that fails; what it kept is removed.
    fn failure(name: &'static str, check: impl Fn(&[u8]) -> bool) -> (String, Vec<Vec<u8>>) {
        let target = || Target::new(name).seed(b"length=17;").memory(1 << 10);
        let _ = fs::remove_dir_all(target().folder());
        let panic = catch_unwind(AssertUnwindSafe(|| target().run(check))).expect_err("it fails");
        let kept = target().kept().into_iter().map(|(_, input)| input).collect();
        let _ = fs::remove_dir_all(target().folder());
        let text = panic.downcast_ref::<String>().cloned();
        (text.or_else(|| panic.downcast_ref::<&str>().map(|text| (*text).to_owned())).expect("a text"), kept)
    }

    /// The number of a valid input.
    fn length(input: &[u8]) -> Option<usize> {
        std::str::from_utf8(input).ok()?.strip_prefix("length=")?.strip_suffix(';')?.parse().ok()
    }

    #[test]
    fn a_sound_parser_passes() {
        Target::new("sound").seed(b"length=17;").run(|input| length(input).is_some());
        assert!(!Target::new("sound").folder().exists(), "nothing is kept");
    }

    #[test]
    fn a_panic_is_found_and_its_input_made_small() {
        let (said, kept) = failure("panics", |input| {
            assert!(!input.contains(&b'e') || input.len() < 30, "a long one");
            true
        });
        assert_eq!((said.as_str(), kept.len(), kept[0].len()), ("a long one", 1, 30));
    }

    #[test]
    fn too_much_memory_is_found() {
        let (said, kept) = failure("memory", |input| {
            let length = length(input).unwrap_or_default();
            Vec::<u8>::with_capacity(length.min(1 << 20)).is_empty()
        });
        assert!(said.contains("bytes are held"), "{said}");
        assert!(length(&kept[0]).is_some_and(|length| length > 1 << 10), "{:?}", kept[0].escape_ascii());
    }

    #[test]
    fn a_parser_that_refuses_everything_is_found() {
        let (said, _) = failure("refuses", |input| input == b"length=17;");
        assert!(said.contains("no changed input"), "{said}");
        let (said, _) = failure("seed", |_| false);
        assert!(said.contains("refuses the seed"), "{said}");
    }

    #[test]
    fn a_stream_parser_that_needs_all_at_once_is_found() {
        let read = |mut pieces: Chunks<'_, u8>| pieces.any(|piece| piece.ends_with(b"17"));
        assert!(!same_in_pieces(b"7", read));
        assert!(catch_unwind(|| same_in_pieces(b"17", read)).is_err());
    }
}
