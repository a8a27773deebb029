//! Stand-in for brokers whose client library is not in this build: they can be found and
//! installed, but not started or queried.

macro_rules! without {
    ($($broker:ident: $feature:literal),*) => {$(
        #[cfg(not(feature = $feature))]
        pub(super) mod $broker {
            use std::path::Path;

            use anyhow::{Result, bail};

            use crate::broker::private::Private;
            use crate::broker::private_options::{About, Options};

            const WHY: &str = concat!(
                "this build of `lab` has no client library for it; build it with `--features ", $feature, "`, or run ",
                "`./run` with the command, which builds what is needed"
            );

            pub(in crate::broker) fn launch(_: &Path, _: &Options<'_>) -> Result<Private> {
                bail!(WHY)
            }

            pub(in crate::broker) async fn ask(_: &str, _: Option<&Private>) -> Result<About> {
                bail!(WHY)
            }
        }
    )*};
}
without!(redis: "redis", rabbitmq: "rabbitmq");
