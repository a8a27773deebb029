use crate::report::tests::fixture::plan;

#[test]
fn the_command_can_be_pasted_into_a_shell() {
    let mut plan = plan();
    plan.labs = vec!["pubsub-*".to_owned(), "it's".to_owned()];
    plan.window = None;
    plan.knobs.insert("batch".to_owned(), 64);
    plan.cpus = Some("0,1".to_owned());
    assert_eq!(
        crate::report::page::command(&plan),
        "lab bench 'pubsub-*' 'it'\\''s' --plan standard --load max --load 1000 --size 64 --trials 3 --seconds 2 \
         --drain 5 --senders 1 --receivers 1 --window none --set batch=64 --cpus 0,1"
    );
}
