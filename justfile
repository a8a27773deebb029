# Every command people type. Each recipe calls `./run`, which builds what the recipe needs
# and does the work: `just` is a convenience here, and nobody needs it.

set positional-arguments

export LAB_INVOKED := "just"
run := justfile_directory() / "run"

# List these recipes
[private]
default:
    @"{{ just_executable() }}" --justfile "{{ justfile() }}" --list --unsorted

# Demonstrate a lab with real messages: lab pubsub-redis
lab *ARGS:
    @"{{ run }}" lab "$@"

# Play one role by hand: play pubsub-redis subscriber
play *ARGS:
    @"{{ run }}" play "$@"

# Draw a running lab in the browser: view pubsub-redis
view *ARGS:
    @"{{ run }}" view "$@"

# Predict what a lab does, then see: predict pubsub-redis
predict *ARGS:
    @"{{ run }}" predict "$@"

# Show or return what a queue has given up: dead queue-redis --url …
dead *ARGS:
    @"{{ run }}" dead "$@"

# Run a pattern's whole program: example oneway tcp
example *ARGS:
    @"{{ run }}" example "$@"

# Show every lab, or one with its knobs
list *ARGS:
    @"{{ run }}" list "$@"

# A chat in the browser: chat redis, chat none
chat *ARGS:
    @"{{ run }}" chat "$@"

# Find the word that has a hash, with workers over a pipeline
crack *ARGS:
    @"{{ run }}" crack "$@"

# One event in three protocols: MQTT in, AMQP and STOMP out
bridge *ARGS:
    @"{{ run }}" bridge "$@"

# Match requests and replies over a child process's stdin and stdout
correlation *ARGS:
    @"{{ run }}" correlation "$@"

# Ask all workers for their status
status *ARGS:
    @"{{ run }}" status "$@"

# Send requests before the connection exists: preinit rabbitmq
preinit *ARGS:
    @"{{ run }}" preinit "$@"

# List the exercises of the course, or begin one: exercises first-message
exercises *ARGS:
    @"{{ run }}" exercises "$@"

# Check your program for an exercise
check *ARGS:
    @"{{ run }}" check "$@"

# Check your program whenever you save it
watch *ARGS:
    @"{{ run }}" watch "$@"

# Show the next hint for an exercise
hint *ARGS:
    @"{{ run }}" hint "$@"

# Begin an exercise again; your program is kept
reset *ARGS:
    @"{{ run }}" reset "$@"

# Show our solution after a pass, and measure yours beside it
solution *ARGS:
    @"{{ run }}" solution "$@"

# Grade a class: marks, and a page for each student: grade submissions --exercise rooms --roster roster.csv
grade *ARGS:
    @"{{ run }}" grade "$@"

# Measure every lab, or those named, and write a report
compare *ARGS:
    @"{{ run }}" compare "$@"

# Measure with your own settings: bench pubsub --size 1024
bench *ARGS:
    @"{{ run }}" bench "$@"

# Break a lab under load: just break queue-redis --fault broker-restart
break *ARGS:
    @"{{ run }}" break "$@"

# Draw the plots and the report of a result set again
report *ARGS:
    @"{{ run }}" report "$@"

# Compare the working tree with a commit, and give a verdict
regress *ARGS:
    @"{{ run }}" regress "$@"

# Show the result sets of this host over time
history *ARGS:
    @"{{ run }}" history "$@"

# Compare runs of the same plan: do they agree?
agree *ARGS:
    @"{{ run }}" agree "$@"

# The cases of result sets as one table: CSV, Markdown, JSON
export *ARGS:
    @"{{ run }}" export "$@"

# Two result sets side by side, also of two machines
diff *ARGS:
    @"{{ run }}" diff "$@"

# Static pages over all result sets
site *ARGS:
    @"{{ run }}" site "$@"

# A benchmark as a Job of Kubernetes: manifest k8s quick oneway-tcp
manifest *ARGS:
    @"{{ run }}" manifest "$@"

# What six common measuring methods report of one pause
wrong-views *ARGS:
    @"{{ run }}" wrong-views "$@"

# Check the harness against a simulated transport
selftest *ARGS:
    @"{{ run }}" selftest "$@"

# Show what is installed, what is missing, how noisy this machine is
doctor *ARGS:
    @"{{ run }}" doctor "$@"

# Install the brokers that are missing
brokers *ARGS:
    @"{{ run }}" brokers "$@"

# The tests; installs the brokers, clients and browser that they need
test *ARGS:
    @"{{ run }}" test "$@"

# The tests that take long or need the machine for themselves
prove *ARGS:
    @"{{ run }}" prove "$@"

# Ten million mutated inputs for each parser of foreign bytes
fuzz *ARGS:
    @"{{ run }}" fuzz "$@"

# The linter, as strict as continuous integration
clippy *ARGS:
    @"{{ run }}" clippy "$@"

# Format the code
fmt *ARGS:
    @"{{ run }}" fmt "$@"

# What continuous integration runs
ci *ARGS:
    @"{{ run }}" ci "$@"

# Measure how long builds take, from nothing and after an edit
build-times *ARGS:
    @"{{ run }}" build-times "$@"

# Time the harness's hot paths, with criterion
bench-micro *ARGS:
    @"{{ run }}" bench-micro "$@"

# Keep such times under a name
bench-save *ARGS:
    @"{{ run }}" bench-save "$@"

# Compare such times with those that were kept
bench-against *ARGS:
    @"{{ run }}" bench-against "$@"

# The labs compared with minimal programs over the same transports
ratios *ARGS:
    @"{{ run }}" ratios "$@"

# Many browsers at one instance of the chat
chat-load *ARGS:
    @"{{ run }}" chat-load "$@"

# How often `regress` errs on this machine; takes an hour
regress-proof *ARGS:
    @"{{ run }}" regress-proof "$@"

# This documentation as HTML
book *ARGS:
    @"{{ run }}" book "$@"
