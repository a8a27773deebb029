//! Shared code of the programs in `labs/examples`, which run over the transport
//! that the command line names.

use std::io::Write as _;
use std::process::ExitCode;

use anyhow::{Context as _, Result, anyhow, ensure};

use crate::lab::{Broker, BrokerAddress, Lab, Place};
use crate::printable::causes;

/// Makes `main` of a program that is written for any lab of a pattern:
/// `example!(one_way, OneWay, program)`, where `program` takes a place and an output.
#[macro_export]
macro_rules! example {
    ($visit:ident, $contract:ident, $program:ident) => {
        fn main() -> std::process::ExitCode {
            struct Named($crate::example::Named);
            impl $crate::catalog::Visitor for Named {
                fn $visit<L: $contract>(&mut self) {
                    self.0.run::<L>(|place| {
                        Box::pin(async move { $program::<L>(&place, &mut std::io::stdout()).await })
                    });
                }
            }
            $crate::example::told($crate::example::Named::from_args().and_then(|named| {
                let mut named = Named(named);
                $crate::catalog::visit(&mut named);
                named.0.end()
            }))
        }
    };
}

/// The lab that the command line names: `TRANSPORT [URL]`.
pub struct Named {
    transport: String,
    url: Option<String>,
    /// Labs of the program's pattern that this build has.
    seen: Vec<String>,
    ended: Option<Result<()>>,
}

type Program = std::pin::Pin<Box<dyn Future<Output = Result<()>>>>;

impl Named {
    /// Reads the command line.
    pub fn from_args() -> Result<Self> {
        let mut args = std::env::args().skip(1);
        let (transport, url) = (args.next().context("name a transport, as in `tcp`")?, args.next());
        ensure!(args.next().is_none(), "too many arguments; TRANSPORT and, over a broker, its URL");
        Ok(Self { transport, url, seen: Vec::new(), ended: None })
    }

    /// Runs the program if `L` is the lab that was named.
    pub fn run<L: Lab>(&mut self, program: impl FnOnce(Place) -> Program) {
        let label = [Some(L::TRANSPORT), L::VARIANT].into_iter().flatten().collect::<Vec<_>>().join("-");
        if label == self.transport {
            // No other run has this name.
            let name = format!("example-{}", std::process::id());
            let ended = self.address(L::BROKER).and_then(|address| {
                let place = Place::new(&name, address.as_ref());
                block_on(ended::<L>(&place, program(place.clone())))
            });
            self.ended = Some(ended.with_context(|| match L::BROKER {
                Some(_) => format!(
                    "the example over {label} failed; is its broker running? Its address can follow the transport"
                ),
                None => format!("the example over {label} failed"),
            }));
        }
        self.seen.push(label);
    }

    /// The broker's address: the one that was given, or the usual one.
    fn address(&self, broker: Option<Broker>) -> Result<Option<BrokerAddress>> {
        let parse =
            |broker| BrokerAddress::parse(broker, self.url.as_deref().unwrap_or_else(|| usual_url(broker)));
        broker.map(parse).transpose()
    }

    /// The result of the program; an error if there is no such lab.
    pub fn end(self) -> Result<()> {
        self.ended.with_context(|| {
            format!(
                "this build has no `{}` for this pattern, only {}; `./run list` shows all transports, and \
                 `./run example` builds what it needs",
                self.transport,
                self.seen.join(", ")
            )
        })?
    }
}

/// The exit code of a program; an error goes to stderr in one line, with its causes.
pub fn told(ended: Result<()>) -> ExitCode {
    let Err(error) = ended else { return ExitCode::SUCCESS };
    let _ = writeln!(std::io::stderr(), "example: {}", causes(&error));
    ExitCode::FAILURE
}

/// Runs the program to its end or to Ctrl-C. A program that did not end well has not removed
/// what it made in the broker, so this does.
async fn ended<L: Lab>(place: &Place, program: Program) -> Result<()> {
    let ended = tokio::select! {
        ended = program => ended,
        pressed = tokio::signal::ctrl_c() => pressed.map_err(Into::into).and(Err(anyhow!("interrupted"))),
    };
    if ended.is_err() {
        // The first error says more than that this one failed, too.
        let _ = L::remove(place).await;
    }
    ended
}

fn block_on(program: impl Future<Output = Result<()>>) -> Result<()> {
    tokio::runtime::Builder::new_current_thread().enable_all().build()?.block_on(program)
}

/// Where a broker usually listens on this machine.
fn usual_url(broker: Broker) -> &'static str {
    match broker {
        Broker::Redis => "redis://127.0.0.1:6379",
        Broker::RabbitMq => "amqp://guest:guest@127.0.0.1:5672",
        Broker::Mqtt => "mqtt://127.0.0.1:1883",
        Broker::Nats => "nats://127.0.0.1:4222",
    }
}
