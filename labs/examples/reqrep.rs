//! Request/reply, as a whole program: a requester asks, a responder answers.
//!
//!     ./run example reqrep tcp
//!     ./run example reqrep nats nats://127.0.0.1:4222

use std::io::Write;
use std::time::Duration;

use anyhow::{Context as _, Result};
use labs::lab::Place;
use labs::reqrep::{Command, Document, RequestReply, Requester as _, Responder as _};
use tokio::time::timeout;

const REQUESTS: usize = 3;
/// A reply may never come: the responder may have died with the request.
const PATIENCE: Duration = Duration::from_secs(10);

pub(crate) async fn program<L: RequestReply>(place: &Place, out: &mut impl Write) -> Result<()> {
    // Connect and join. Without a broker the responder binds, and requesters connect to it.
    let lab = L::open(place).await?;
    let (requester, mut responder) = tokio::try_join!(lab.requester(), lab.responder())?;

    let ask = async {
        for number in 1..=REQUESTS {
            // A request is a Command, its reply a Document. `ask` returns the reply to *this*
            // request. Several may be in flight at once; here one follows the other.
            let request = Command(format!("{number} + {number}").into());
            let reply = timeout(PATIENCE, requester.ask(request)).await.context("no reply")??;
            writeln!(out, "{number} + {number} = {}", String::from_utf8_lossy(&reply.0))?;
        }
        anyhow::Ok(())
    };
    let answer = async {
        // `to` says where the reply goes. It is used up by `reply`: one answer to each request.
        while let Some((request, to)) = responder.next().await? {
            let sum = std::str::from_utf8(&request.0)?
                .split(" + ")
                .map(str::parse::<u64>)
                .sum::<Result<u64, _>>()?;
            responder.reply(to, Document(sum.to_string().into())).await?;
        }
        anyhow::Ok(())
    };
    // The responder goes on until nobody can ask any more; here, until all is answered.
    tokio::select! {
        asked = ask => asked?,
        answered = answer => answered?,
    }

    // Leave nothing in the broker.
    drop((requester, responder));
    L::remove(place).await
}

labs::example!(request_reply, RequestReply, program);
