//! A listener whose process can open no more files.

use anyhow::{Result, ensure};

use super::hostile::framed;
use crate::program::Live;
use crate::wait_until;

/// When no more files can be opened, a receiver goes on, and those who say nothing make room.
pub(super) fn few_files() -> Result<()> {
    let address = std::net::TcpListener::bind("127.0.0.1:0")?.local_addr()?;
    let mut shell = std::process::Command::new("sh");
    shell.args(["-c", r#"ulimit -n 64; exec "$0" "$@""#, env!("CARGO_BIN_EXE_lab")]);
    shell.args(["play", "oneway-tcp", "receiver", "--at", &address.to_string()]);
    shell.stdin(std::process::Stdio::piped());
    let mut receiver = Live::spawn(shell)?;
    let (mut lines, mut silent) = (receiver.lines()?, Vec::new());
    wait_until("it listens", || {
        silent.extend(std::net::TcpStream::connect(address).ok());
        Ok(!silent.is_empty())
    })?;
    while silent.len() < 100 {
        silent.push(std::net::TcpStream::connect(address)?);
    }
    let mut good = std::net::TcpStream::connect(address)?;
    std::io::Write::write_all(&mut good, &framed(b"it goes on"))?;
    let heard = lines.by_ref().map_while(std::result::Result::ok).any(|line| line.contains("it goes on"));
    ensure!(heard, "the receiver has ended and said:\n{}", receiver.said());
    Ok(())
}
