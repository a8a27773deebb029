# Every command people type. `./run` runs this file, and installs `just` if need be.
# Everything is built once, with --release: the tests run the program that users measure with.

set positional-arguments

lab := "target/release/lab"

# List these recipes
[private]
default:
    @just --justfile "{{ justfile() }}" --list --unsorted

# Tell a lab's story with real messages: `just lab pubsub-redis`
lab NAME *ARGS: build
    @{{ lab }} run "$@"

# Compare all labs, or those of a pattern: `just compare pubsub`
compare *LABS: build && (bench "--plan" "quick" LABS)
    @-{{ lab }} doctor --install

# Measure with your own settings: `just bench pubsub --size 1024 --load 5000`
bench *ARGS: build
    @{{ lab }} bench {{ ARGS }}

# Play one role by hand: `just play pubsub-redis subscriber`
play LAB ROLE *ARGS: build
    @{{ lab }} play "$@"

# The catalog: `just list`, `just list 'queue*'`
list *ARGS: build
    @{{ lab }} list "$@"

# Draw the plots and reports of bundles again
report +DIRS: build
    @{{ lab }} report "$@"

# What is here, what is missing, how noisy this machine is
doctor *ARGS: build
    @{{ lab }} doctor "$@"

# Install the brokers that are missing
brokers: build
    @{{ lab }} doctor --install

# Every test
test *ARGS:
    @cargo test --release --workspace --locked "$@"

# What continuous integration runs
ci:
    @bash .ci/run

# The linter, as strict as continuous integration
clippy:
    @cargo clippy --release --workspace --all-targets --locked -- -D warnings

# Format the code
fmt:
    @cargo fmt --all

# Micro-benchmarks of the harness's hot paths
bench-micro *ARGS:
    @cargo bench --locked -p harness "$@"

# The book: docs/ as HTML, in target/book
book: mdbook
    @PATH="$PATH:{{ justfile_directory() }}/.tools/bin" mdbook build docs
    @echo "{{ justfile_directory() }}/target/book/index.html"

[private]
build:
    @cargo build --release --locked --quiet -p harness --bin lab

[private]
mdbook:
    @PATH="$PATH:{{ justfile_directory() }}/.tools/bin" command -v mdbook >/dev/null || cargo install mdbook --root .tools --locked
