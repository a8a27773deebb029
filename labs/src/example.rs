//! What the whole programs in `labs/examples` have in common: they run over the transport
//! that the command line names.

use anyhow::{Context as _, Result, ensure};

use crate::lab::{Broker, Lab, Place};

/// Makes `main` of a program that is written for any lab of a pattern:
/// `example!(one_way, OneWay, program)`, where `program` takes a place and an output.
#[macro_export]
macro_rules! example {
    ($visit:ident, $contract:ident, $program:ident) => {
        fn main() -> anyhow::Result<()> {
            struct Named($crate::example::Named);
            impl $crate::catalog::Visitor for Named {
                fn $visit<L: $contract>(&mut self) {
                    self.0.run::<L>(|place| {
                        Box::pin(async move { $program::<L>(&place, &mut std::io::stdout()).await })
                    });
                }
            }
            let mut named = Named($crate::example::Named::from_args()?);
            $crate::catalog::visit(&mut named);
            named.0.end()
        }
    };
}

/// The lab that the command line names: `TRANSPORT [URL]`.
pub struct Named {
    transport: String,
    url: Option<String>,
    /// What is there of the program's pattern.
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
            let usual = L::BROKER.map(usual_url);
            // No other run has this name.
            let name = format!("example-{}", std::process::id());
            let place = Place::new(&name, self.url.as_deref().or(usual));
            self.ended = Some(block_on(program(place)).with_context(|| match usual {
                Some(_) => format!("the example over {label} failed; is its broker there? Its address can follow the transport"),
                None => format!("the example over {label} failed"),
            }));
        }
        self.seen.push(label);
    }

    /// How the program ended; an error where there is no such lab.
    pub fn end(self) -> Result<()> {
        self.ended.with_context(|| {
            format!(
                "`{}` is no transport of this pattern; there are {}",
                self.transport,
                self.seen.join(", ")
            )
        })?
    }
}

fn block_on(program: Program) -> Result<()> {
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
