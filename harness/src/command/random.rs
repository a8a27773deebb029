//! Random text that nobody can guess.

use std::fs::File;
use std::hash::{BuildHasher as _, RandomState};
use std::io::Read as _;

/// Eight random hexadecimal digits, out of the system's own generator: the seed of a check says
/// nothing about them.
pub(crate) fn nonce() -> String {
    format!("{:08x}", random())
}

/// A random number.
pub(crate) fn random() -> u32 {
    let mut bytes = [0; 4];
    match File::open("/dev/urandom").and_then(|mut file| file.read_exact(&mut bytes)) {
        Ok(()) => u32::from_ne_bytes(bytes),
        // A system without it: the keys of hash tables are random, too.
        Err(_) => RandomState::new().hash_one(0) as u32,
    }
}
