//! The example programs of the rooms, run as they are. Each checks itself.

#[path = "../examples/background_tasks.rs"]
mod background_tasks;
#[path = "../examples/database_once.rs"]
mod database_once;
#[path = "../examples/dev_server_once.rs"]
mod dev_server_once;
#[cfg(feature = "cache")]
#[path = "../examples/engine_list.rs"]
mod engine_list;
#[cfg(all(unix, feature = "signal"))]
#[path = "../examples/guarded_shutdown.rs"]
mod guarded_shutdown;
#[path = "../examples/model_manager.rs"]
mod model_manager;
#[cfg(feature = "config")]
#[path = "../examples/named_instances.rs"]
mod named_instances;
#[path = "../examples/outage.rs"]
mod outage;
#[path = "../examples/preference_store.rs"]
mod preference_store;
#[path = "../examples/transfers.rs"]
mod transfers;
#[cfg(feature = "client")]
#[path = "../examples/websocket_once.rs"]
mod websocket_once;

#[test]
fn v1_v2_two_hundred_requests_set_one_database_up() {
    database_once::main().unwrap();
}

#[test]
fn v1_v2_a_development_server_is_one_at_a_time_whoever_restarts_and_stops_it() {
    dev_server_once::main().unwrap();
}

#[cfg(feature = "client")]
#[test]
fn v1_a_websocket_service_is_set_up_once() {
    websocket_once::main().unwrap();
}

#[cfg(feature = "cache")]
#[test]
fn k1_k2_five_hundred_readers_ask_for_the_engines_once_per_two_seconds() {
    engine_list::main().unwrap();
}

#[cfg(all(unix, feature = "signal"))]
#[test]
fn v4_y4_a_signal_shuts_down_in_order_and_names_who_is_stuck() {
    guarded_shutdown::main().unwrap();
}

#[test]
fn b1_preferences_keep_the_last_change_and_tell_of_all_in_order() {
    preference_store::main().unwrap();
}

#[test]
fn t1_t2_background_tasks_run_once_come_back_and_leave_nothing() {
    background_tasks::main().unwrap();
}

#[test]
fn t1_t3_a_model_answers_only_those_who_wait() {
    model_manager::main().unwrap();
}

#[cfg(feature = "config")]
#[test]
fn p1_p3_p4_parts_of_a_program_share_instances_by_name() {
    named_instances::main().unwrap();
}

#[test]
fn l1_l4_l6_transfers_lose_no_money_and_nobody_waits_for_ever() {
    transfers::main().unwrap();
}

#[test]
fn p1_p2_an_outage_is_met_with_probes_and_not_with_a_storm() {
    outage::main();
}
