//! Commands of the documentation that are not run exactly as they stand: what is done instead, and why.

/// How a command is run. Without an entry in [`WAYS`] it is run as it stands, and ends with 0.
#[derive(Debug, Clone, Copy)]
pub(super) enum Way {
    /// It ends with this code, as its page says.
    Exits(i32),
    /// With these words too: a measurement of minutes becomes one of seconds. An option that the command
    /// has already gets the value given here. The code it ends with.
    Shorter(&'static str, i32),
    /// It goes on until Ctrl-C, and says this when it is ready. With these words, too.
    Until(&'static str, &'static str),
    /// Not at all, for this reason.
    Not(&'static str),
}

use Way::{Exits, Not, Shorter, Until};

/// What `lab play` says when the other side may come.
const READY: &str = "in another terminal";
/// A pause of which all six views have enough messages.
const PAUSE: Way = Shorter("--load 3500 --seconds 3 --pause 0.5 --runs 2", 0);
const BUILDS_TWO: &str =
    "it builds two commits with optimisation; tests of `regress` do that in a repository of their own";
const OF_THE_PROJECT: &str = "it is the usual tests of the project, which continuous integration runs";
const ELSEWHERE: &str = "it needs another host; the tests `remote` start roles elsewhere on this one";
const BY_HAND: &str = "it builds optimised benches and measures for minutes, and takes no shorter time";

/// The words that a command has, its recipe first, and how it is run. The first entry counts.
pub(super) const WAYS: &[(&[&str], Way)] = &[
    // The project itself.
    (&["test"], Not(OF_THE_PROJECT)),
    (&["prove"], Not("it runs the long tests, of which this is one")),
    (&["bench-micro"], Not(BY_HAND)),
    (&["ratios"], Not(BY_HAND)),
    (
        &["doctor", "--install"],
        Not("it installs programs; continuous integration does that in a cache of its own"),
    ),
    (&["bench", "receiver=ssh host-b"], Not(ELSEWHERE)),
    (&["bench", "consumer=ssh host-b"], Not(ELSEWHERE)),
    (&["bench", "responder=ip netns exec b"], Not(ELSEWHERE)),
    (&["example"], Not("cargo builds it; the tests `examples` run every program over every lab")),
    // Go on until Ctrl-C.
    (&["chat", "zeromq"], Until("Ctrl-C ends the chat", "")),
    (&["chat"], Until("Ctrl-C ends the chat", "--port 0")),
    (&["view", "--save"], Exits(0)),
    (&["view"], Until("Ctrl-C ends it", "")),
    (&["watch"], Until("watching ", "")),
    (&["status", "--watch"], Until("known workers answered", "")),
    (&["play", "publisher"], Exits(0)),
    (&["play"], Until(READY, "")),
    // Measure for minutes.
    // Searches for a rate: where a slow build on a busy machine would find none, nothing is measured.
    (&["bench", "capacity"], Shorter("--out searched --seconds 0.4 --warmup 0.1 --objective 1000", 0)),
    (&["bench", "sweep"], Shorter("--out swept --seconds 0.2 --warmup 0.05 --objective 1000", 0)),
    (&["bench", "oneway-*"], Shorter("--trials 1 --seconds 0.2 --load max --no-floor", 0)),
    (&["bench", "quick"], Shorter("oneway-inproc oneway-tcp --trials 1 --seconds 0.2", 0)),
    // A set of 24 figures: `lab agree --save` takes no fewer than 19.
    (
        &["bench", "standard", "--out"],
        Shorter(
            "oneway-inproc oneway-tcp oneway-unix oneway-websocket oneway-zeromq pubsub-inproc pubsub-tcp \
             pubsub-unix pubsub-websocket reqrep-inproc reqrep-tcp reqrep-unix --no-floor --trials 2 \
             --seconds 0.3 --warmup 0.1",
            0,
        ),
    ),
    (&["bench", "standard", "--no-floor"], Shorter("--trials 1 --seconds 0.2 --warmup 0.1", 0)),
    (&["bench", "standard"], Shorter("oneway-inproc oneway-tcp --trials 1 --seconds 0.2", 0)),
    (&["bench", "1,16,64"], Shorter("--senders 1,4 --trials 1 --seconds 0.3", 0)),
    (&["bench", "1,64,128"], Shorter("--senders 1,4 --trials 1 --seconds 0.3", 0)),
    (&["bench"], Shorter("--trials 1 --seconds 0.3 --no-floor", 0)),
    (&["crack", "--batches"], Shorter("--rounds 1 --max-length 4 --batches 10000,100000", 0)),
    (&["crack", "--compare"], Shorter("--rounds 1 --max-length 4", 0)),
    // The whole list is run once.
    (&["selftest", "7"], Shorter("loss duplicates", 0)),
    (&["wrong-views", "--redraw"], Exits(0)),
    (&["wrong-views"], PAUSE),
    (&["regress", "main"], Not(BUILDS_TWO)),
    (&["regress", "v1"], Not(BUILDS_TWO)),
    // Too few rounds for a verdict, and the code says so.
    (&["regress"], Shorter("oneway-tcp --rounds 1 --seconds 0.3 --peak-every 0", 3)),
    (&["break", "run", "--all"], Not("each scenario is run with the command on its own page")),
    // One node of RabbitMQ instead of seven: the link to it can be cut as well.
    (&["break", "--all", "queue"], Shorter("--fault link-cut --url rabbitmq=HOST", 0)),
    // Wrong on purpose: the page says what comes of it.
    (
        &["check", "java -cp /home/me/classes Main"],
        Not("it is an example of a program that the reader has written"),
    ),
    (&["check"], Exits(1)),
];

/// How a command is run.
pub(super) fn way(command: &[String]) -> Option<(usize, Way)> {
    let has = |word: &&str| command.iter().any(|other| other == word);
    let fits = |(words, _): &(&[&str], Way)| {
        command.first().is_some_and(|recipe| words[0] == recipe) && words[1..].iter().all(has)
    };
    WAYS.iter().position(fits).map(|at| (at, WAYS[at].1))
}
