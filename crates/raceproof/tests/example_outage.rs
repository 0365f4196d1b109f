//! The example is a program that checks itself; here it is run.

#[path = "../examples/outage.rs"]
mod outage;

#[test]
fn an_outage_is_met_with_probes_and_not_with_a_storm() {
    outage::main();
}
