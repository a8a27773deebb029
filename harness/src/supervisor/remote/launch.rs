//! Which roles are started elsewhere, and how.

use std::collections::BTreeMap;
use std::net::IpAddr;

use anyhow::{Context as _, Result, bail, ensure};
use labs::catalog::Pattern;

use crate::roles::protocol::{HOST, Kind, kinds};

/// Where roles are started: commands that carry a stream to another host.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Launch {
    /// The words in front of a role's own command.
    prefixes: BTreeMap<Kind, Vec<String>>,
    /// The program on the other side.
    program: Option<String>,
    /// Where binding roles listen; loopback where nothing was given.
    listen: Option<Listen>,
}

/// Where binding roles listen.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Listen {
    /// At this address.
    Address(IpAddr),
    /// At the address that the name of each role's own host stands for.
    Host,
}

impl Launch {
    /// From `ROLE=PREFIX`, each once; the program on the other side, and the address to listen at. A
    /// prefix is split into words as a shell would do it, and is run without a shell.
    ///
    /// # Errors
    /// When a role does not exist or is given twice, a prefix has no words, or an address is none
    /// that others can reach; it is named.
    pub fn parse<'a>(
        prefixes: impl IntoIterator<Item = &'a str>,
        program: Option<&str>,
        listen: Option<&str>,
    ) -> Result<Self> {
        let mut launch = Self { program: program.map(str::to_owned), ..Self::default() };
        for text in prefixes {
            let (role, prefix) = text.split_once('=').with_context(|| {
                format!("`--launch {text}`: give ROLE=\"PREFIX\", as in receiver=\"ssh host-b\"")
            })?;
            let kind = Kind::ALL.into_iter().find(|kind| kind.as_str() == role).with_context(|| {
                let known: Vec<&str> = Kind::ALL.iter().map(|kind| kind.as_str()).collect();
                format!("`--launch {text}`: there is no role `{role}`; roles are {}", known.join(", "))
            })?;
            let words = shlex::split(prefix)
                .with_context(|| format!("`--launch {text}`: a quotation mark has no other half"))?;
            ensure!(!words.is_empty(), "`--launch {text}`: the prefix is empty; leave it out for this host");
            ensure!(
                launch.prefixes.insert(kind, words).is_none(),
                "`--launch {role}` was given twice; a role is started in one way"
            );
        }
        launch.listen = listen.map(parse_listen).transpose()?;
        Ok(launch)
    }

    /// The words in front of a role's command, where it is started elsewhere.
    pub(super) fn prefix(&self, kind: Kind) -> Option<&[String]> {
        self.prefixes.get(&kind).map(Vec::as_slice)
    }

    /// The program on the other side; the path of this one where none was named.
    pub(super) fn program(&self) -> String {
        self.program.clone().unwrap_or_else(|| crate::process::this_program().display().to_string())
    }

    /// Whether any role is started elsewhere.
    pub fn is_remote(&self) -> bool {
        !self.prefixes.is_empty()
    }

    /// Whether roles of this kind are.
    pub fn has(&self, kind: Kind) -> bool {
        self.prefixes.contains_key(&kind)
    }

    /// The kinds of roles that are.
    pub fn kinds(&self) -> impl Iterator<Item = Kind> + '_ {
        self.prefixes.keys().copied()
    }

    /// The same hosts for another pattern. Peer to peer, who binds is where a role of `of` binds, because
    /// that is where others are known to reach it; over a broker, who sends is where one sends.
    pub fn between(&self, of: Pattern, to: Pattern, direct: bool) -> Self {
        let side = |kind: &Kind| if direct { !kind.binds(true).is_empty() } else { kind.sends() };
        let prefix = |kind: &Kind| {
            let there = kinds(of).iter().find(|other| side(other) == side(kind))?;
            Some((*kind, self.prefixes.get(there)?.clone()))
        };
        let prefixes = kinds(to).iter().filter_map(prefix).collect();
        Self { prefixes, program: self.program.clone(), listen: self.listen }
    }

    /// The address that binding roles listen at: `10.0.0.2:0`, or `host:0`, which each role looks up
    /// on its own host; `None`: a port on loopback.
    pub fn listen(&self) -> Option<String> {
        self.listen.map(|listen| match listen {
            Listen::Address(IpAddr::V4(address)) => format!("{address}:0"),
            Listen::Address(IpAddr::V6(address)) => format!("[{address}]:0"),
            Listen::Host => format!("{HOST}:0"),
        })
    }
}

fn parse_listen(text: &str) -> Result<Listen> {
    if text == HOST {
        return Ok(Listen::Host);
    }
    let address: IpAddr = text.parse().with_context(|| {
        format!(
            "`--listen {text}` is no IP address; give that of this host's network card, as in 10.0.0.2, or \
             `{HOST}` for the one that the name of each role's host stands for"
        )
    })?;
    if address.is_unspecified() {
        bail!(
            "`--listen {text}` stands for every address, and others could not be told where to connect; give \
             one address"
        );
    }
    Ok(Listen::Address(address))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parse(prefixes: &[&str], listen: Option<&str>) -> Result<Launch, String> {
        Launch::parse(prefixes.iter().copied(), None, listen).map_err(|error| format!("{error:#}"))
    }

    #[test]
    fn prefixes_are_words_and_no_shell() {
        let launch = parse(&["receiver=ssh -p 2222 'host b' $HOME;rm"], Some("10.0.0.2")).expect("parsed");
        let words = launch.prefix(Kind::Receiver).expect("a prefix");
        assert_eq!(words, ["ssh", "-p", "2222", "host b", "$HOME;rm"]);
        assert_eq!(launch.prefix(Kind::Sender), None);
        assert_eq!(launch.listen().as_deref(), Some("10.0.0.2:0"));
        assert_eq!(parse(&[], Some("fd00::2")).expect("parsed").listen().as_deref(), Some("[fd00::2]:0"));
        assert_eq!(parse(&[], Some("host")).expect("parsed").listen().as_deref(), Some("host:0"));
        assert!(!parse(&[], None).expect("parsed").is_remote());
    }

    #[test]
    fn another_pattern_runs_between_the_same_hosts() {
        let launch = parse(&["producer=ssh a", "consumer=ssh b"], Some("10.0.0.2")).expect("parsed");
        // The producer binds, and so does the responder.
        let echo = launch.between(Pattern::Queue, Pattern::RequestReply, true);
        assert_eq!(echo.prefix(Kind::Responder).expect("there"), ["ssh", "a"]);
        assert_eq!(echo.prefix(Kind::Requester).expect("there"), ["ssh", "b"]);
        assert_eq!(echo.listen(), launch.listen());
        // Over a broker nobody binds.
        let one = launch.between(Pattern::Queue, Pattern::OneWay, false);
        assert_eq!(one.prefix(Kind::Sender).expect("there"), ["ssh", "a"]);
        // Who is here stays here.
        let here = parse(&["consumer=ssh b"], None).expect("parsed");
        let here = here.between(Pattern::Queue, Pattern::RequestReply, true);
        assert!(!here.has(Kind::Responder) && here.has(Kind::Requester));
    }

    #[test]
    fn what_cannot_be_is_named_with_what_can() {
        for (prefixes, listen, said) in [
            (&["ssh host-b"][..], None, "give ROLE="),
            (&["reciever=ssh b"], None, "no role `reciever`"),
            (&["receiver="], None, "prefix is empty"),
            (&["receiver=ssh 'b"], None, "no other half"),
            (&["receiver=ssh b", "receiver=ssh c"], None, "given twice"),
            (&[], Some("host-b"), "no IP address"),
            (&[], Some("0.0.0.0"), "every address"),
        ] {
            let error = parse(prefixes, listen).expect_err("refused");
            assert!(error.contains(said), "{error}");
        }
    }
}
