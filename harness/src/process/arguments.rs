//! The arguments of this program as its own child processes get them: without a login, since all
//! users of the machine can read arguments.

use std::ffi::OsString;
use std::fs::OpenOptions;
use std::io::Write as _;
use std::os::unix::fs::OpenOptionsExt as _;
use std::path::Path;

use anyhow::{Context as _, Result};

/// The arguments with a broker's address that has a login replaced by `@FILE`, a file in `dir` that
/// only this user can read.
pub(super) fn without_logins(arguments: impl Iterator<Item = OsString>, dir: &Path) -> Result<Vec<OsString>> {
    let replaced = |(number, argument): (usize, OsString)| {
        let Some((before, address)) = argument.to_str().and_then(split) else { return Ok(argument) };
        let path = dir.join(format!("argument-{number}.address"));
        let about = || format!("cannot write {}", path.display());
        let file = OpenOptions::new().write(true).create(true).truncate(true).mode(0o600).open(&path);
        file.with_context(about)?.write_all(address.as_bytes()).with_context(about)?;
        Ok(format!("{before}@{}", path.display()).into())
    };
    arguments.enumerate().map(replaced).collect()
}

/// `--url=redis=` and `redis://:password@host`, if the argument ends in an address with a login.
fn split(argument: &str) -> Option<(&str, &str)> {
    let at = argument.find("://")?;
    let scheme = |c: char| c.is_ascii_alphanumeric() || "+-.".contains(c);
    let start = at - argument[..at].chars().rev().take_while(|c| scheme(*c)).count();
    let (before, address) = argument.split_at(start);
    (address.contains('@') || address.contains("pass=")).then_some((before, address))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_addresses_with_a_login_are_replaced() {
        for (argument, expected) in [
            ("redis=redis://:pw@h", Some(("redis=", "redis://:pw@h"))),
            ("--url=redis=redis+unix:///s?pass=pw", Some(("--url=redis=", "redis+unix:///s?pass=pw"))),
            ("nats://token@h", Some(("", "nats://token@h"))),
            ("redis=redis://h", None),
            ("redis=@/tmp/file", None),
            ("me@host", None),
        ] {
            assert_eq!(split(argument), expected, "{argument}");
        }
    }
}
