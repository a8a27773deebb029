//! An agent behind a TCP socket, for hosts to which nothing else carries a stream: pods. One side
//! serves agents at an address, the other dials it as a launcher. Both know a token. The connection is
//! not encrypted, and the token is sent over it as it is.

use std::fmt;
use std::io::{ErrorKind, Read as _};
use std::net::{TcpListener, TcpStream};
use std::os::fd::{AsFd, OwnedFd};
use std::process::{Child, Command, Stdio};
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use anyhow::{Context as _, Result, bail, ensure};
use rustix::net::sockopt;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::time::{Instant, sleep, timeout_at};

use crate::process;

/// The environment variable with the token.
pub const TOKEN: &str = "LAB_TOKEN";
/// The most connections that are served at a time, and so the most roles on one host.
pub const CONNECTIONS: usize = 64;

/// The shortest token, bytes.
const SHORTEST: usize = 16;
/// The longest line with a token, its end included, bytes.
const LONGEST: usize = 128;
/// How long a connection may take to send its token.
const PATIENCE: Duration = Duration::from_secs(5);
/// After an error of the listener, such as too many open files.
const AFTER_ERROR: Duration = Duration::from_millis(100);
/// How long the other side may take to be there: less than the supervisor waits for its first word.
const COMING: Duration = Duration::from_secs(20);
/// Between two attempts to connect: at first, and at most.
const PAUSES: [Duration; 2] = [Duration::from_millis(100), Duration::from_secs(1)];
/// How long the other side may take to end after its input has ended.
const ENDING: Duration = Duration::from_secs(5);
/// An idle connection is probed after so long, then every [`BETWEEN`], and is lost after [`PROBES`].
const IDLE: Duration = Duration::from_secs(10);
const BETWEEN: Duration = Duration::from_secs(3);
const PROBES: u32 = 3;
/// What was sent has to arrive within so long, ms.
const GONE_MS: u32 = 20_000;
/// How long one attempt to connect may take: a port that drops packets says nothing.
const ATTEMPT: Duration = Duration::from_secs(3);

/// What both sides know.
#[derive(Clone)]
pub struct Token(String);

impl fmt::Debug for Token {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("…")
    }
}

impl Token {
    /// The token in the environment, [`TOKEN`].
    ///
    /// # Errors
    /// When there is none, or it is none: it has 16 to 127 letters, digits and signs. The message says
    /// how to make one, and does not quote it.
    pub fn from_environment() -> Result<Self> {
        Self::parse(&std::env::var(TOKEN).unwrap_or_default())
    }

    fn parse(text: &str) -> Result<Self> {
        // A file with a token ends with a line break.
        let text = text.trim();
        let make = format!("make one with `openssl rand -hex 16`, and give it to both sides as {TOKEN}");
        ensure!(!text.is_empty(), "{TOKEN} is not set; {make}");
        ensure!(
            (SHORTEST..LONGEST).contains(&text.len()) && text.bytes().all(|byte| byte.is_ascii_graphic()),
            "{TOKEN} is no token, which has {SHORTEST} to {} letters and digits; {make}",
            LONGEST - 1
        );
        Ok(Self(text.to_owned()))
    }

    /// Whether these bytes are the token. The time that it takes does not depend on where they differ.
    fn is(&self, bytes: &[u8]) -> bool {
        let own = self.0.as_bytes();
        let differ =
            own.iter().zip(bytes).fold(0_u8, |differ, (a, b)| std::hint::black_box(differ | (a ^ b)));
        own.len() == bytes.len() && differ == 0
    }
}

/// Serves agents at a TCP address, `HOST:PORT`, until the process ends. Each connection first sends the
/// token and a line break, within 5 s; then this program, started again, is an agent behind it. A
/// connection without the token is closed, and so is one more than [`CONNECTIONS`]. Children end with
/// the process.
///
/// # Errors
/// When it cannot listen there; the address is named.
pub fn serve(address: &str, token: &Token) -> Result<()> {
    let listener = TcpListener::bind(address).with_context(|| format!("cannot listen at {address}"))?;
    let own = listener.local_addr()?;
    errln!("serving agents at {own}; the connections are not encrypted: use a network that you trust");
    let open = Arc::new(AtomicUsize::new(0));
    loop {
        let (stream, peer) = match listener.accept() {
            Ok(accepted) => accepted,
            Err(error) => {
                errln!("lab: cannot accept a connection: {error}");
                std::thread::sleep(AFTER_ERROR);
                continue;
            }
        };
        let Some(slot) = Slot::take(&open) else {
            errln!("lab: {peer}: closed, for {CONNECTIONS} connections are open");
            continue;
        };
        let token = token.clone();
        // An agent ends with the thread that has started it, so each has one that waits for its end.
        let attended = std::thread::Builder::new().name("connection".to_owned()).spawn(move || {
            if let Err(error) = attend(stream, &token) {
                errln!("lab: {peer}: {error:#}");
            }
            drop(slot);
        });
        if let Err(error) = attended {
            errln!("lab: {peer}: closed, for no thread could be started: {error}");
        }
    }
}

/// One of the connections that may be open.
struct Slot(Arc<AtomicUsize>);

impl Slot {
    /// Only one thread takes any.
    fn take(open: &Arc<AtomicUsize>) -> Option<Self> {
        if open.load(Ordering::Relaxed) >= CONNECTIONS {
            return None;
        }
        open.fetch_add(1, Ordering::Relaxed);
        Some(Self(Arc::clone(open)))
    }
}

impl Drop for Slot {
    fn drop(&mut self) {
        self.0.fetch_sub(1, Ordering::Relaxed);
    }
}

/// Serves one connection to its end.
fn attend(stream: TcpStream, token: &Token) -> Result<()> {
    admit(&stream, token, PATIENCE)?;
    // How it ended, it has said itself.
    start(stream)?.wait().context("cannot wait for the agent").map(drop)
}

/// Reads the first line and nothing behind it, which is for the agent.
fn admit(mut stream: &TcpStream, token: &Token, patience: Duration) -> Result<()> {
    let deadline = std::time::Instant::now() + patience;
    let late = || format!("closed, for it sent no token within {} s", patience.as_secs_f64());
    let mut line = Vec::with_capacity(LONGEST);
    loop {
        let left = deadline.saturating_duration_since(std::time::Instant::now());
        ensure!(!left.is_zero(), late());
        stream.set_read_timeout(Some(left))?;
        let mut byte = [0];
        match stream.read(&mut byte) {
            Ok(0) => bail!("it ended before its token"),
            Ok(_) if byte[0] == b'\n' => break,
            Ok(_) => {
                line.push(byte[0]);
                ensure!(line.len() < LONGEST, "closed, for its first line is longer than {LONGEST} bytes");
            }
            Err(error) if matches!(error.kind(), ErrorKind::WouldBlock | ErrorKind::TimedOut) => {
                bail!(late())
            }
            Err(error) if error.kind() == ErrorKind::Interrupted => {}
            Err(error) => return Err(error).context("it ended before its token"),
        }
    }
    ensure!(token.is(&line), "closed, for its token is another; is {TOKEN} the same on both sides?");
    Ok(stream.set_read_timeout(None)?)
}

/// This program as an agent, with the connection as its stdin and stdout. Nothing here holds the
/// connection any longer, so that it ends with the agent.
fn start(stream: TcpStream) -> Result<Child> {
    lively(&stream);
    stream.set_nodelay(true)?;
    let input = OwnedFd::from(stream.try_clone().context("cannot hand over the connection")?);
    let mut command = Command::new(process::this_program());
    command.arg("agent").env_remove(TOKEN).stdin(Stdio::from(input)).stdout(OwnedFd::from(stream));
    process::die_with_parent(&mut command);
    command.spawn().context("cannot start an agent")
}

/// Has the kernel probe an idle connection: a host that is gone says nothing. A socket that cannot do
/// it works without.
fn lively(socket: &impl AsFd) {
    let set = || {
        sockopt::set_socket_keepalive(socket, true)?;
        sockopt::set_tcp_keepidle(socket, IDLE)?;
        sockopt::set_tcp_keepintvl(socket, BETWEEN)?;
        sockopt::set_tcp_keepcnt(socket, PROBES)?;
        // The probes wait while something that was sent has not arrived.
        sockopt::set_tcp_user_timeout(socket, GONE_MS)
    };
    let _ = set();
}

/// Carries stdin and stdout to an agent that is served at `HOST:PORT`, until one side ends. The other
/// host may take 20 s to be there.
///
/// # Errors
/// When nobody is there, the token is refused or the connection breaks; the address is named.
pub fn dial(address: &str, token: &Token) -> Result<()> {
    let runtime = crate::roles::runtime(0)?;
    let carried = runtime.block_on(carry(address, token));
    // A read of stdin that still waits ends with the process.
    runtime.shutdown_background();
    carried
}

async fn carry(address: &str, token: &Token) -> Result<()> {
    let stream = reach(address, COMING).await?;
    lively(&stream);
    stream.set_nodelay(true)?;
    let (mut from, mut to) = stream.into_split();
    let refused = || {
        format!(
            "{address} closed the connection before it answered; is {TOKEN} the same on both sides, and are \
             fewer than {CONNECTIONS} connections open there?"
        )
    };
    to.write_all(format!("{}\n", token.0).as_bytes()).await.with_context(refused)?;
    let up = async {
        // Where this way breaks, the other one breaks, too, and says it.
        let _ = tokio::io::copy(&mut tokio::io::stdin(), &mut to).await;
        let _ = to.shutdown().await;
        sleep(ENDING).await;
    };
    let down = async {
        let mut out = tokio::io::stdout();
        let mut first = vec![0; 8 << 10];
        let read = from.read(&mut first).await.with_context(refused)?;
        ensure!(read > 0, refused());
        out.write_all(&first[..read]).await?;
        out.flush().await?;
        let rest = tokio::io::copy(&mut from, &mut out).await;
        rest.with_context(|| format!("the connection to {address} broke"))?;
        out.flush().await?;
        anyhow::Ok(())
    };
    tokio::select! {
        done = down => done,
        () = up => Ok(()),
    }
}

/// Connects to `HOST:PORT`, and tries again until this time is over: the other host may still be
/// starting.
///
/// # Errors
/// When nobody is there at the end; the address is named.
pub async fn reach(address: &str, patience: Duration) -> Result<tokio::net::TcpStream> {
    let deadline = Instant::now() + patience;
    let [mut pause, longest] = PAUSES;
    let mut told = false;
    loop {
        let until = deadline.min(Instant::now() + ATTEMPT);
        let why = match timeout_at(until, tokio::net::TcpStream::connect(address)).await {
            Ok(Ok(stream)) => return Ok(stream),
            Ok(Err(error)) if error.kind() == ErrorKind::InvalidInput => {
                return Err(error).with_context(|| format!("`{address}` is no HOST:PORT"));
            }
            Ok(Err(error)) => error.to_string(),
            Err(_) => "it does not answer".to_owned(),
        };
        ensure!(
            Instant::now() + pause < deadline,
            "cannot connect to {address} within {} s: {why}",
            patience.as_secs()
        );
        if !told {
            // The supervisor may give up first; it shows what this program has printed.
            errln!("waiting for {address}: {why}");
            told = true;
        }
        sleep(pause).await;
        pause = (pause * 2).min(longest);
    }
}

#[cfg(test)]
mod tests {
    use std::io::Write as _;

    use super::*;

    #[test]
    fn a_token_is_long_enough_and_is_never_quoted() {
        let good = "0123456789abcdef";
        for (text, holds) in [
            (good, true),
            ("0123456789abcdef\n", true),
            ("x".repeat(LONGEST - 1).as_str(), true),
            ("", false),
            ("0123456789abcde", false),
            ("0123456789 abcdef", false),
            ("0123456789abcdéf", false),
            ("x".repeat(LONGEST).as_str(), false),
        ] {
            let error = Token::parse(text).err().map(|error| error.to_string());
            assert_eq!(error.is_none(), holds, "{text}");
            let quoted = |error: &str| !text.is_empty() && error.contains(text);
            assert!(error.is_none_or(|error| error.contains("openssl rand") && !quoted(&error)), "{text}");
        }
        let token = Token::parse(good).expect("a token");
        for (bytes, holds) in
            [(good, true), ("0123456789abcdeg", false), ("0123456789abcde", false), ("", false)]
        {
            assert_eq!(token.is(bytes.as_bytes()), holds, "{bytes}");
        }
        assert!(!token.is(format!("{good}x").as_bytes()));
        assert_eq!(format!("{token:?}"), "…");
    }

    /// Sends this over a connection. What the agent would read after the token, or why it is refused.
    fn admitted(sent: &str, ends: bool) -> Result<String, String> {
        let listener = TcpListener::bind("127.0.0.1:0").expect("a port");
        let mut client = TcpStream::connect(listener.local_addr().expect("an address")).expect("connected");
        let (server, _) = listener.accept().expect("accepted");
        client.write_all(sent.as_bytes()).expect("sent");
        if ends {
            client.shutdown(std::net::Shutdown::Write).expect("ended");
        }
        let token = Token::parse("0123456789abcdef").expect("a token");
        let waits = !ends && !sent.contains('\n') && sent.len() < LONGEST;
        let patience = if waits { Duration::from_millis(50) } else { PATIENCE };
        admit(&server, &token, patience).map_err(|error| format!("{error:#}"))?;
        client.shutdown(std::net::Shutdown::Write).expect("ended");
        let mut rest = String::new();
        (&server).read_to_string(&mut rest).expect("read");
        Ok(rest)
    }

    #[test]
    fn only_the_token_is_read_and_nothing_behind_it() {
        assert_eq!(admitted("0123456789abcdef\n{\"hello\":1}\n", false), Ok("{\"hello\":1}\n".to_owned()));
        for (sent, ends, said) in [
            ("0123456789abcdeg\n", false, "its token is another"),
            ("\n", false, "its token is another"),
            ("0123456789abcdef", false, "no token within"),
            ("0123456789abcdef", true, "ended before its token"),
            ("", true, "ended before its token"),
            ("x".repeat(500).as_str(), false, "longer than"),
        ] {
            let error = admitted(sent, ends).expect_err("refused");
            assert!(error.contains(said) && !error.contains("0123456789"), "{error}");
        }
    }
}
