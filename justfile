# Every command people type. `./run` runs this file, and installs `just` if need be.
# What measures is built with --release; tests assert no speed, and are built in a tenth of the time.

set positional-arguments

lab := env("CARGO_TARGET_DIR", "target") / "release/lab"
tools := "PATH=\"$PATH:" + justfile_directory() + "/.tools/bin\""

# List these recipes
[private]
default:
    @"{{ just_executable() }}" --justfile "{{ justfile() }}" --list --unsorted

# Tell a lab's story with real messages: `lab pubsub-redis`
lab NAME *ARGS: build
    @{{ lab }} run "$@"

# Measure all labs, or those of a pattern, and write a report: `compare pubsub`
compare *LABS: build
    @{{ lab }} doctor --install || echo "Going on: labs that cannot run here are skipped, with the reason." >&2
    @{{ lab }} bench --plan quick "$@"

# Measure with your own settings: `bench pubsub --size 1024 --load 5000`
bench *ARGS: build
    @{{ lab }} bench "$@"

# Play one role by hand: `play pubsub-redis subscriber`
play LAB ROLE *ARGS: build
    @{{ lab }} play "$@"

# One event in three protocols: MQTT in, AMQP and STOMP out
bridge *ARGS: build
    @{{ lab }} bridge "$@"

# A chat in the browser: `chat redis`, `chat none`, `chat rabbitmq --instances 3 --break`
chat OVER *ARGS: build
    @{{ lab }} chat --instances 2 --over "$@"

# Many browsers at one instance of the chat: `chat-load --clients 500 --rate 200`
chat-load *ARGS:
    @cargo bench -p harness --bench chat -- "$@"

# A child process is asked over its stdin and stdout: `correlation -- python3 child.py`
correlation *ARGS: build
    @{{ lab }} correlation "$@"

# All workers are asked for their status: `status --over nats --slow 1 --watch`
status *ARGS: build
    @{{ lab }} status "$@"

# Requests before the connection is there: `preinit rabbitmq`
preinit TRANSPORT="redis" *ARGS: build
    @{{ lab }} preinit --over "$@"

# Find the word that has a SHA-1 hash: `crack $(printf lemon | sha1sum | cut -c1-40) --over rabbitmq`
crack *ARGS: build
    @{{ lab }} crack "$@"

# The catalog: `list`, `list 'queue*'`
list *ARGS: build
    @{{ lab }} list "$@"

# Draw the plots and reports of bundles again
report +DIRS: build
    @{{ lab }} report "$@"

# Is the working tree slower than a commit? `regress --base main`
regress *ARGS: build
    @{{ lab }} regress "$@"

# How often `regress` errs on this machine, and what it finds; takes an hour
regress-proof OUT *ARGS: build
    @harness/tests/regress-proof "$@"

# The bundles of this host over time
history *ARGS: build
    @{{ lab }} history "$@"

# Does the harness find what is known to be there? `selftest`, `selftest loss`
selftest *ARGS: build
    @{{ lab }} selftest "$@"

# Whether runs of the same plan agree, and how much wider their intervals have to be
agree *ARGS: build
    @{{ lab }} agree "$@"

# What is here, what is missing, how noisy this machine is
doctor *ARGS: build
    @{{ lab }} doctor "$@"

# Install the brokers that are missing
brokers: build
    @{{ lab }} doctor --install

# Every test, or those whose names hold a word: `test queue`
test *ARGS:
    @cargo test --workspace "$@"

# The clients that the interoperability tests talk to, in .tools/interop
interop:
    #!/usr/bin/env bash
    set -euo pipefail
    venv="{{ justfile_directory() }}/.tools/interop"
    wanted="{{ justfile_directory() }}/harness/tests/it/interop/requirements.txt"
    if ! cmp -s "$wanted" "$venv/requirements.txt"; then
        python3 -m venv --clear "$venv" || {
            echo "On Debian and Ubuntu, python3 makes no environments without the package python3-venv." >&2
            exit 1
        }
        "$venv/bin/python" -m pip install --quiet --requirement "$wanted"
        cp "$wanted" "$venv/requirements.txt"
    fi
    for program in redis-cli mosquitto_pub mosquitto_sub; do
        command -v "$program" >/dev/null || echo "$program is missing; its tests will be left out" >&2
    done

# What continuous integration runs
ci:
    @bash .ci/run

# The linter, as strict as continuous integration
clippy *ARGS:
    @cargo clippy --workspace --all-targets "$@" -- -D warnings

# Format the code
fmt:
    @cargo fmt --all

# Micro-benchmarks of the harness's hot paths, with criterion
bench-micro *ARGS:
    @cargo bench -p harness --bench hot_path -- "$@"

# The same, kept under a name to compare with later: `bench-save main`
bench-save NAME *ARGS:
    @cargo bench -p harness --bench hot_path -- --save-baseline "$@"

# The same, against what was kept: `bench-against main`
bench-against NAME *ARGS:
    @cargo bench -p harness --bench hot_path -- --baseline "$@"

# The labs beside bare loops over the same transports: `ratios`, `ratios oneway-tcp --json`
ratios *ARGS:
    @cargo bench -p harness --bench ratios -- "$@"

# This book, as HTML
book:
    @{{ tools }} command -v mdbook >/dev/null || cargo install mdbook --root .tools --locked
    @{{ tools }} mdbook build docs
    @echo "{{ justfile_directory() }}/target/book/index.html"

# Builds `lab` without a word when there is nothing to build.
[private]
build:
    @cargo build --release -p harness --bin lab
