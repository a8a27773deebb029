fn main() -> anyhow::Result<()> {
    tokio::runtime::Builder::new_current_thread().enable_all().build()?.block_on(async {
        harness::doctor::doctor(false, std::env::args().len() > 1, &Default::default()).await?;
        let source = harness::broker::find(labs::lab::Broker::RabbitMq, &Default::default())?;
        for _ in 0..3 {
            let t = std::time::Instant::now();
            let s = harness::broker::Server::start(labs::lab::Broker::RabbitMq, &source, &harness::broker::Options{durable:true,dir:&std::env::temp_dir()}).await?;
            println!("{:?} {:?} {:?} {:?} {:?}", t.elapsed(), s.version(), s.settings(), s.url(), harness::cost::Usage::of_tree(&s.pids().unwrap_or_default()));
            s.stop().await?;
        }
        Ok(())
    })
}
